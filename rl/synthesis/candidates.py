"""A program on its way to becoming a problem."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """A program before it was executed."""

    id: str
    code: str
    call: str
    output: str | None
    """What its source says the call returns, if it says so."""
    source: str
    cell: str = ""
    """Its cell of the grid, where it was written for one."""
    fault: str = ""
    """Why its source could give no program: `reason` or `reason | detail`; `code` is then what came instead, if anything."""


class Rejected(Exception):
    """A candidate that is no problem: a reason, the same for all of its kind, and perhaps what is special about it."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
