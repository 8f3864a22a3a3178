"""Programs by number: the built-in generators, and rows that are there already.

Every worker process imports this, so it imports nothing that takes long.
"""

from dataclasses import dataclass
from random import Random
from typing import Protocol

from rl.seeds import derived_seed
from rl.synthesis.candidates import Candidate
from rl.synthesis.generator import GENERATOR, Grammar, generate
from rl.synthesis.grid import inputs, mixed_cells, mutate, write_program


class Source(Protocol):
    """Numbered programs; the same number gives the same program in every process."""

    @property
    def size(self) -> int | None:
        """How many there are; None if there is no end."""

    @property
    def calls(self) -> int:
        """Calls that one program has, at most."""

    @property
    def ours(self) -> bool:
        """Whether we wrote the programs, so that none of them changes what the next one finds in its process."""

    def candidates(self, begin: int, end: int) -> list[Candidate]:
        """Those from number `begin` up to `end`."""


@dataclass(frozen=True, slots=True)
class Generated:
    """Programs of the built-in generator."""

    split: str
    seed: int
    grammar: Grammar
    size: None = None
    calls: int = 1
    ours: bool = True

    def candidates(self, begin: int, end: int) -> list[Candidate]:
        """Those from number `begin` up to `end`."""
        found = []
        for index in range(begin, end):
            code, call = generate(derived_seed(self.seed, self.split), index, self.grammar)
            found.append(Candidate(f"{self.split}-{index}", code, call, None, GENERATOR))
        return found


@dataclass(frozen=True, slots=True)
class Gridded:
    """Programs over CodeReasoner's grid, cell after cell, each with a few calls."""

    split: str
    seed: int
    calls: int
    size: None = None
    ours: bool = True

    def candidates(self, begin: int, end: int) -> list[Candidate]:
        """Those from number `begin` up to `end`; all calls of a program follow one another."""
        found: list[Candidate] = []
        for program in range(begin // self.calls, (end - 1) // self.calls + 1):
            first = program * self.calls
            found += self._calls(program)[max(begin - first, 0) : end - first]
        return found

    def _calls(self, number: int) -> list[Candidate]:
        cell = mixed_cells()[number % len(mixed_cells())]
        rng = Random(derived_seed(self.seed, f"{self.split}/{number}"))
        program = write_program(cell, rng)
        arguments = inputs(program.parameters, rng, 1)[0]
        found = []
        for call in range(self.calls):
            name = f"{self.split}-{number}" + (f".{call}" if call else "")
            found.append(Candidate(name, program.source, program.call(arguments), None, "grid", str(cell)))
            arguments = mutate(arguments, rng)
        return found


@dataclass(frozen=True, slots=True)
class Listed:
    """Programs of a file or a dataset, or what a teacher gave."""

    rows: tuple[Candidate, ...]
    calls: int
    first: int = 0
    """The number of the first row."""
    ours: bool = False

    @property
    def size(self) -> int:
        """How many there are."""
        return self.first + len(self.rows)

    def candidates(self, begin: int, end: int) -> list[Candidate]:
        """Those from number `begin` up to `end`."""
        return list(self.rows[begin - self.first : end - self.first])
