"""CodeReasoner's grid: (type, method) pairs times six difficulty configurations.

The paper names the axes; the lists and the configurations are those of its open successor (ExecVerify,
`data/code_synthesis.py` and `methods/*.txt`), with more built-in functions and a few more operators.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from random import Random

from rl.synthesis.grid.forms import TABLES


@dataclass(frozen=True, slots=True)
class Configuration:
    """How difficult a program is to be.

    In all of them the method is used at least twice, in a program with operations nested in operations.
    """

    number: int
    """1 to 6, as in the source."""
    others: bool
    """At least one other method or built-in function is called; otherwise none but plain conversions."""
    chain: bool
    """Two functions, the entry calls the other; otherwise exactly one."""
    depth: int
    """How deep `if`, `for` and `while` are nested; 0 forbids them."""


CONFIGURATIONS = (
    Configuration(1, others=False, chain=False, depth=0),
    Configuration(2, others=True, chain=False, depth=0),
    Configuration(3, others=True, chain=False, depth=1),
    Configuration(4, others=True, chain=False, depth=2),
    Configuration(5, others=True, chain=False, depth=3),
    Configuration(6, others=True, chain=True, depth=3),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One field of the grid: a method or operator of a type, in one configuration."""

    unit: str
    """The type, `str`, `list`, `tuple`, `set`, `dict`, `float`, or `built-in` for functions."""
    method: str
    """A method's or function's name, or an operator: `+`, `not in`, `[a:b]`, `d[k]=v`."""
    configuration: Configuration

    def __str__(self) -> str:
        return f"{self.unit} {self.method} /{self.configuration.number}"


def _enumerated() -> Iterator[Cell]:
    for configuration in CONFIGURATIONS:
        for unit, methods in TABLES.items():
            for method in methods:
                yield Cell(unit, method, configuration)


_CELLS = tuple(_enumerated())


def cells() -> tuple[Cell, ...]:
    """All cells in a fixed order: by configuration, type, and the method's place in its type's table."""
    return _CELLS


@cache
def mixed_cells() -> tuple[Cell, ...]:
    """The cells in an order that mixes types and configurations, so that any stretch of it holds some of each."""
    return tuple(Random(0).sample(_CELLS, len(_CELLS)))
