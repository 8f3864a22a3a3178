"""What a function being written knows: its variables, its lines, and what it has used so far."""

import re
from dataclasses import dataclass, field
from random import Random

from rl.synthesis.grid.cells import Cell
from rl.synthesis.grid.forms import COMPANIONS
from rl.synthesis.grid.names import COLLECTIONS, SINGLES

Line = str | list["Line"]
"""A line of source, or the lines of an indented block."""


_NAME = re.compile(r"[a-z_]\w*")
_CALLED = re.compile(r"(\w+)\(")
_CHANGED = re.compile(r"((?:\w+, )*\w+)(?:\[.*\])? (?:[-+*/%|&^]|//|\*\*)?= |(\w+)\.\w+\(")


def names_in(text: str) -> list[str]:
    """The names in a piece of source, in order; also those of attributes and keywords."""
    return _NAME.findall(text)


class DeadEnd(Exception):
    """The choices made so far cannot be completed; the writer starts anew."""


@dataclass(slots=True)
class Variable:
    """A variable in scope."""

    name: str
    kind: str
    filled: bool = False
    """Surely not empty."""
    spare: int = 0
    """How many items may be taken out of it for sure."""
    made_by: str = ""
    """The method whose value it holds."""
    member: str = ""
    """The collection of which its value is a member."""
    copy_of: str = ""
    own: bool = False
    """Made here, so that it may be changed in place."""
    pending: bool = False
    """Its value has not gone into anything yet."""
    frozen: bool = False
    """A loop goes over it: it must not change."""
    singular: tuple[str, ...] = ()
    """What a loop over it binds."""
    parameter: bool = False
    level: int = 0
    """How many blocks it is inside."""


@dataclass(slots=True)
class Scope:
    """A function being written."""

    rng: Random
    cell: Cell
    most_parameters: int = 3
    variables: list[Variable] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    parameters: list[Variable] = field(default_factory=list)
    tested: set[str] = field(default_factory=set)
    """Variables that a condition was about."""
    inits: list[str] = field(default_factory=list)
    """Lines that prepare what grows in loops, written before the first control structure."""
    block: list[Line] = field(default_factory=list)
    level: int = 0
    loops: int = 0
    uses: int = 0
    """How often the cell's method was used."""
    others: int = 0
    """How often another method was called."""
    guarded: bool = False
    """The innermost structure is a condition."""
    returns: str = ""
    """The kind of what an early `return` gives back."""
    changing: str = ""
    """The variable that the present statement changes."""
    texts: set[str] = field(default_factory=set)
    """Uses of methods as written so far."""
    assigned: set[tuple[int, str]] = field(default_factory=set)
    """The blocks in which a result was assigned, by identity, with its name."""
    exempt: frozenset[str] = frozenset()
    """Names whose call is not one of another method."""
    locals: set[str] = field(default_factory=set)
    """Names inside comprehensions."""
    depth: int = 0
    """How deep operations are nested, at most."""
    made_of: dict[str, set[str]] = field(default_factory=dict)
    """For each name that a line binds or changes, the names in those lines."""

    def __post_init__(self) -> None:
        method = self.cell.method
        self.exempt = frozenset({method.removeprefix("math."), *COMPANIONS.get(method, ())})

    def note(self, *called: str) -> None:
        """Takes down calls of methods and functions."""
        self.others += sum(name not in self.exempt for name in called)

    def note_calls(self, text: str) -> None:
        """Takes down the calls in a piece of source."""
        self.note(*_CALLED.findall(text))

    def fresh(self, names: tuple[str, ...]) -> str:
        """A name not taken in this function, of these if one is left."""
        free = [name for name in names if name not in self.taken]
        name = (
            self.rng.choice(free)
            if free
            else next(f"{names[0]}_{number}" for number in range(2, 99) if f"{names[0]}_{number}" not in self.taken)
        )
        self.taken.add(name)
        return name

    def first(self, names: tuple[str, ...]) -> str:
        """The first of these names that is not taken, or a general one."""
        names = (*names, "item", "element", "current", "other")
        return self.fresh(tuple(name for name in names if name not in self.taken)[:1] or names)

    def add(self, variable: Variable) -> Variable:
        """Brings a variable into scope at the present level."""
        variable.level = self.level
        self.taken.add(variable.name)
        self.variables.append(variable)
        return variable

    def parameter(self, kind: str, member: str = "") -> Variable:
        """A new parameter of this kind.

        Raises:
            DeadEnd: there are as many as there may be.
        """
        if len(self.parameters) >= self.most_parameters or kind not in (*COLLECTIONS, *SINGLES):
            raise DeadEnd
        if member:
            root = self.named(member)
            one = root.singular[0] if root and root.singular else "item"
            name, singular = self.first((one, f"other_{one}")), []
        elif kind in COLLECTIONS:
            themes = [theme for theme in COLLECTIONS[kind] if self.taken.isdisjoint(theme)]
            name, *singular = self.rng.choice(themes or COLLECTIONS[kind])
            if name in self.taken:
                raise DeadEnd
        else:
            name, singular = self.fresh(SINGLES[kind]), ["letter"] if kind == "str" else []
        variable = Variable(name, kind, filled=True, member=member, singular=tuple(singular), parameter=True)
        self.taken.add(name)
        self.parameters.append(variable)
        self.variables.insert(0, variable)
        return variable

    def named(self, name: str) -> Variable | None:
        """The variable in scope of that name."""
        return next((variable for variable in self.variables if variable.name == name), None)

    def choose(self, kind: str, avoid: set[str], *, filled: bool = False) -> Variable | None:
        """A variable of this kind, mostly one whose value is still pending or that is near; None if there is none."""
        found = [
            variable
            for variable in self.variables
            if variable.kind == kind
            and variable.name not in avoid
            and variable.name != self.changing
            and (variable.filled or not filled)
            and not self._grows(variable)
        ]
        if not found:
            return None
        waiting = [variable for variable in found if variable.pending and not variable.own]
        if waiting and self.rng.random() < 0.75:
            return self.rng.choice(waiting)
        deepest = max(variable.level for variable in found)
        near = [variable for variable in found if variable.level == deepest]
        if self.rng.random() < (0.85 if deepest else 0.5):
            return self.rng.choice(near)
        return self.rng.choice(found)

    def _grows(self, variable: Variable) -> bool:
        """Whether it is a collector, which is seldom a good operand."""
        if not variable.own or variable.copy_of:
            return False
        return variable.kind not in ("set", "dict", "ints", "words") or self.rng.random() < 0.75

    def ended(self) -> bool:
        """Whether the present block has come to a `return`."""
        last = self.block[-1] if self.block else ""
        return isinstance(last, str) and last.startswith("return ")

    def emit(self, line: str) -> None:
        """Writes a line."""
        if self.ended():
            raise DeadEnd
        self.block.append(line)
        changed = _CHANGED.match(line)
        for name in (changed[1] or changed[2]).split(", ") if changed else ():
            self.made_of.setdefault(name, set()).update(names_in(line))

    def holds(self, text: str, name: str) -> bool:
        """Whether the value of an expression may be made of what a name stands for, itself or by way of others."""
        seen, waiting = set[str](), set(names_in(text))
        while waiting:
            seen |= waiting
            waiting = set().union(*(self.made_of.get(found, ()) for found in waiting)) - seen
        return name in seen

    def open(self, header: str) -> list[Line]:
        """Starts a block; `close` takes what this returns."""
        outer = self.block
        outer.append(header)
        self.block = []
        outer.append(self.block)
        self.level += 1
        return outer

    def close(self, outer: list[Line]) -> None:
        """Ends a block: its variables go out of scope."""
        if not self.block:
            raise DeadEnd
        self.block = outer
        self.level -= 1
        self.variables = [variable for variable in self.variables if variable.level <= self.level]


def rendered(lines: list[Line], indent: str = "") -> list[str]:
    """The lines with their indentation."""
    text: list[str] = []
    for line in lines:
        text += rendered(line, indent + "    ") if isinstance(line, list) else [indent + line]
    return text
