"""Programs over CodeReasoner's grid of methods and difficulties, written by a grammar.

- `methods_text`, `methods_collections`: how each method is used, one form a line; `forms`: the notation;
- `cells`: the grid; `names`: names by role, and literals;
- `scope`, `expressions`, `collecting`, `statements`, `control`: how a function grows; `programs`: whole programs;
- `values`: arguments, and mutations of them; `measures`: what a program's source shows of its cell.
"""

from rl.synthesis.grid.cells import CONFIGURATIONS, Cell, Configuration, cells, mixed_cells
from rl.synthesis.grid.programs import GridProgram, write_program
from rl.synthesis.grid.values import Parameter, Pool, inputs, mutate

__all__ = [
    "CONFIGURATIONS",
    "Cell",
    "Configuration",
    "GridProgram",
    "Parameter",
    "Pool",
    "cells",
    "inputs",
    "mixed_cells",
    "mutate",
    "write_program",
]
