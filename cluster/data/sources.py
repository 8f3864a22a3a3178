"""Where programs come from: a built-in generator, or a file. Every source gives its programs by number."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Protocol

from cluster.config import BadInput, DataSettings, SplitSettings
from cluster.data.splits import SPLITS
from cluster.user_rows import read_rows, text
from rl.seeds import derived_seed
from rl.synthesis.candidates import Candidate
from rl.synthesis.generator import GENERATOR, Grammar, generate
from rl.synthesis.grid import Cell, cells, inputs, mutate, write_program


class Source(Protocol):
    """Numbered programs; the same number gives the same program in every process."""

    @property
    def size(self) -> int | None:
        """How many there are; None if there is no end."""

    def candidates(self, begin: int, end: int) -> list[Candidate]:
        """Those from number `begin` up to `end`."""


@dataclass(frozen=True, slots=True)
class Generated:
    """Programs of the built-in generator."""

    split: str
    seed: int
    grammar: Grammar
    size: None = None

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

    def candidates(self, begin: int, end: int) -> list[Candidate]:
        """Those from number `begin` up to `end`; all calls of a program follow one another."""
        found: list[Candidate] = []
        for program in range(begin // self.calls, (end - 1) // self.calls + 1):
            first = program * self.calls
            found += self._calls(program)[max(begin - first, 0) : end - first]
        return found

    def _calls(self, number: int) -> list[Candidate]:
        cell = _round()[number % len(_round())]
        rng = Random(derived_seed(self.seed, f"{self.split}/{number}"))
        program = write_program(cell, rng)
        arguments = inputs(program.parameters, rng, 1)[0]
        found = []
        for call in range(self.calls):
            name = f"{self.split}-{number}" + (f".{call}" if call else "")
            found.append(Candidate(name, program.source, program.call(arguments), None, "grid", str(cell)))
            arguments = mutate(arguments, rng)
        return found


@cache
def _round() -> tuple[Cell, ...]:
    """The cells in an order that mixes types and configurations, so that any stretch of it holds some of each."""
    return tuple(Random(0).sample(cells(), len(cells())))


@dataclass(frozen=True, slots=True)
class Listed:
    """Programs of a file."""

    rows: tuple[Candidate, ...]

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.rows)

    def candidates(self, begin: int, end: int) -> list[Candidate]:
        """Those from number `begin` up to `end`."""
        return list(self.rows[begin:end])


def open_sources(settings: DataSettings, seed: int) -> dict[str, Source]:
    """The source of each split.

    Raises:
        BadInput: a file cannot be read, or a row of it is no program with its input and output.
    """
    return {
        name: _open(name, getattr(settings, name), settings.heldout_seed if name == "heldout" else seed) for name in SPLITS
    }


def _open(name: str, split: SplitSettings, seed: int) -> Source:
    if split.file is not None:
        return Listed(tuple(read_programs(split.file)))
    if split.grid is not None:
        return Gridded(name, seed, 1 + split.grid.mutations)
    return Generated(name, seed, Grammar(**split.grammar.model_dump()))


def read_programs(path: Path) -> list[Candidate]:
    """Rows of a CRUXEval-shaped JSONL file.

    Raises:
        BadInput: the file or a row is not that; the message names the row.
    """
    candidates: dict[str, Candidate] = {}
    for number, row in read_rows(path):
        code, arguments, output = (text(path, number, row, field) for field in ("code", "input", "output"))
        name = str(row.get("id", f"{path.stem}-{number}"))
        if name in candidates:
            raise BadInput(f"{path}:{number}: id {name} is another row's already")
        candidates[name] = Candidate(name, code, f"{row.get('entry', 'f')}({arguments})", output, path.stem)
    return list(candidates.values())
