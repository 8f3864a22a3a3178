"""The executed anchors, each with the line it stands on and the exact `repr` of what it showed.

A state, `NAME: value`, tells neither: two branches may print the same name, and `x: 1` may be an int or a string. So the
program is executed once more with anchors that say both.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rl.anchors import Instrumented

_ANCHOR = re.compile(r"print\(f'(?P<label>\w+): \{(?P<name>\w+)\}'\)$")
_LOCATED = re.compile(r"(?P<line>\d+) (?P<name>\w+): (?P<value>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Visit:
    """One execution of one anchor."""

    line: int
    """The anchor's line in the instrumented program, counted from 1."""
    name: str
    """What it shows: a variable's name, or `return_val`."""
    value: str
    """`repr` of what it showed."""


def located(program: Instrumented) -> Instrumented:
    """The same program with anchors whose states say their line and the `repr` of the value.

    Raises:
        ValueError: an anchor's line holds no anchor.
    """
    lines = program.code.split("\n")
    for anchor in program.anchors:
        text = lines[anchor.line - 1]
        found = _ANCHOR.search(text)
        if found is None:
            raise ValueError(f"line {anchor.line}: no anchor, but {text.strip()!r}")
        shown = f"print(f'{anchor.line} {found['label']}: {{{found['name']}!r}}')"
        lines[anchor.line - 1] = text[: found.start()] + shown
    return Instrumented("\n".join(lines), program.call, program.anchors)


def visits_of(located_states: Sequence[str]) -> list[Visit]:
    """The visits that the states of a `located` program tell.

    Raises:
        ValueError: a state is not of such a program.
    """
    visits = []
    for number, state in enumerate(located_states):
        found = _LOCATED.fullmatch(state)
        if found is None:
            raise ValueError(f"state {number}: must be 'LINE NAME: value', not {state!r:.80}")
        visits.append(Visit(int(found["line"]), found["name"], found["value"]))
    return visits
