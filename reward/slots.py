"""Several sandboxes side by side. Any thread may ask for a run; it takes a sandbox that is free."""

import queue
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from reward.layers import Layers
from reward.programs import Execution, Limits, Program
from reward.sandbox import Level, Sandbox
from rl.verdicts import Verdict


class AllBusy(Exception):
    """No sandbox became free in time."""


class Slots:
    """`count` sandboxes of one level."""

    def __init__(
        self, count: int, limits: Limits = Limits(), mode: Level | None = None, packages: Sequence[str] = ()
    ) -> None:
        """Starts them.

        Raises:
            SandboxUnavailable: the level cannot be had; see `Sandbox`.
        """
        self._sandboxes: list[Sandbox] = []
        # First in, first out: who failed is asked again last.
        self._free: queue.SimpleQueue[Sandbox] = queue.SimpleQueue()
        try:
            for _ in range(count):
                # The first one finds the level; a weaker one beside it would be a silent downgrade.
                sandbox = Sandbox(limits, mode if not self._sandboxes else self._sandboxes[0].level, packages)
                self._sandboxes.append(sandbox)
                self._free.put(sandbox)
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self._sandboxes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def level(self) -> Level:
        """The level of isolation of every slot."""
        return self._sandboxes[0].level

    @property
    def layers(self) -> Layers:
        """What holds in a slot and what does not: of the slot that lacks most, should they differ."""
        weakest = max((sandbox.layers for sandbox in self._sandboxes), key=lambda layers: len(layers.missing))
        return weakest._replace(refusals=self._sandboxes[0].layers.refusals)

    @property
    def free(self) -> int:
        """How many slots are free at this moment."""
        return self._free.qsize()

    @property
    def restarts(self) -> int:
        """How often a zygote had to be replaced."""
        return sum(sandbox.restarts for sandbox in self._sandboxes)

    def run(self, program: Program, limits: Limits | None = None, patience_s: float = 300.0) -> Execution:
        """Runs a program in a free slot. One whose machinery fails on it gets a second try, in the slot that is free next.

        Raises:
            AllBusy: no slot became free within `patience_s` seconds.
            ValueError: see `Sandbox.run`.
        """
        for _ in range(2):
            sandbox = self._take(patience_s)
            try:
                execution = sandbox.run(program, limits)
            finally:
                self._free.put(sandbox)
            if execution.verdict is not Verdict.SANDBOX_ERROR:
                break
        return execution

    def close(self) -> None:
        """Ends every zygote. Nothing may run any more."""
        for sandbox in self._sandboxes:
            sandbox.close()

    def _take(self, patience_s: float) -> Sandbox:
        try:
            return self._free.get(timeout=patience_s)
        except queue.Empty:
            raise AllBusy(f"none of {len(self)} sandboxes became free within {patience_s:g} s") from None
