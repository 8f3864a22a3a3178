"""Truths remembered: what a program was seen to do, by a hash of everything that decides it.

Programs are deterministic (the sandbox fixes seeds, clock zone and environment), so a trace that was made once need not be
made again. What the machine's mood can decide is not remembered.
"""

import hashlib
import json
import sys
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import astuple
from threading import Lock

from reward.programs import Limits
from reward.tracing import Trace
from rl.anchors import Instrumented
from rl.verdicts import Verdict

TRACER_VERSION = 3
"""To be raised with every change of what the tracer or the sandbox makes of the same program."""

BY_CHANCE = frozenset({Verdict.SANDBOX_ERROR, Verdict.TIMEOUT, Verdict.MEMORY, Verdict.CRASHED, Verdict.NO_RESULT})
"""What a busy machine can make of a good program: asked again rather than remembered as a truth."""

_MOST_TRACES = 10_000
_MOST_CHARACTERS = 1 << 26


def truth_key(instrumented: Instrumented, limits: Limits, packages: Sequence[str] = ()) -> bytes:
    """SHA-256 over all that decides a trace: program, call, anchors, limits, packages, interpreter and tracer version."""
    decisive = [
        TRACER_VERSION,
        sys.implementation.cache_tag,
        sys.version,
        astuple(limits),
        list(packages),
        instrumented.code,
        instrumented.call,
        [(anchor.line, anchor.name) for anchor in instrumented.anchors],
    ]
    # JSON keeps the parts apart, and escapes the surrogates that UTF-8 has no bytes for.
    return hashlib.sha256(json.dumps(decisive).encode("ascii")).digest()


class Truths:
    """A tracer that remembers: the traces asked for last, up to a number and a size. For use by several threads."""

    def __init__(
        self,
        tracer: Callable[[Instrumented], Trace],
        limits: Limits,
        packages: Sequence[str] = (),
        most_traces: int = _MOST_TRACES,
        most_characters: int = _MOST_CHARACTERS,
    ) -> None:
        """Starts empty. `limits` and `packages` must be those that `tracer` runs programs with."""
        self._tracer = tracer
        self._limits = limits
        self._packages = tuple(packages)
        self._most_traces = most_traces
        self._most_characters = most_characters
        self._traces: OrderedDict[bytes, Trace] = OrderedDict()
        self._characters = 0
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._traces)

    def __call__(self, instrumented: Instrumented) -> Trace:
        """The program's trace, remembered or made now; two threads that ask at once may both make it."""
        key = truth_key(instrumented, self._limits, self._packages)
        with self._lock:
            if key in self._traces:
                self._traces.move_to_end(key)
                return self._traces[key]
        found = self._tracer(instrumented)
        if found.verdict not in BY_CHANCE:
            self._remember(key, found)
        return found

    def _remember(self, key: bytes, found: Trace) -> None:
        with self._lock:
            if key in self._traces:
                return
            self._traces[key] = found
            self._characters += _size(found)
            while len(self._traces) > self._most_traces or self._characters > self._most_characters:
                _, oldest = self._traces.popitem(last=False)
                self._characters -= _size(oldest)


def _size(trace: Trace) -> int:
    """Characters that a trace holds."""
    texts = (trace.output, trace.type_name, trace.exception, trace.stdout, *trace.states)
    return sum(len(text) for text in texts if text is not None)
