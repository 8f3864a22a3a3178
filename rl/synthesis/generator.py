"""Programs out of a seed: small plain functions over ints and lists, one call each.

`generate(seed, index, grammar)` is pure: the same three give the same program on every machine. Statements are proposed
at random and kept only if the values they make stay small (`Grammar.largest`, `Grammar.longest`), so every program
terminates, raises nothing, and has an output that can be written down in a few tokens.
"""

import ast
import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from textwrap import indent

from rl.synthesis.interpreter import Env
from rl.synthesis.replay import Step, replay

GENERATOR = "generator"
"""The `source` of its problems."""

CALLABLE = ("append", "len", "max", "min", "sorted")
"""The functions and methods that its programs call."""

_INT_NAMES = ("n", "k", "a", "b", "c", "x", "y", "total", "count", "best", "last")
_LIST_NAMES = ("nums", "items", "out", "rest", "part", "row")


@dataclass(frozen=True, slots=True)
class Grammar:
    """How large the programs are: inclusive (least, most) ranges and bounds."""

    statements: tuple[int, int] = (2, 4)
    """Statements before the `return`; an `if` counts as one, a loop and its accumulator count as one."""
    list_length: tuple[int, int] = (2, 4)
    """Length of the list argument."""
    argument: tuple[int, int] = (1, 9)
    """Range of the int argument and of the elements of the list argument."""
    largest: int = 40
    """No int that a program ever holds is larger, or smaller than zero."""
    longest: int = 5
    """No list that a program ever holds is longer."""
    fresh: float = 0.85
    """How often an assignment makes a new name where it could also reuse one."""
    anchors: int = 10
    """No program executes more print anchors than this."""
    without: tuple[str, ...] = ()
    """Of `CALLABLE`, what no program calls."""
    calls: tuple[str, ...] = ()
    """Of `CALLABLE`, what every program calls at least one of; empty asks for none."""


@dataclass(slots=True)
class _Draft:
    """A program being written: the source of randomness, the lines so far, and the run so far."""

    rng: random.Random
    grammar: Grammar
    env: Env
    lines: list[str] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)

    def names(self, kind: type) -> list[str]:
        """The names that hold a value of this kind now."""
        return [name for name, value in self.env.items() if type(value) is kind]

    def pick(self, kind: type) -> str:
        """A name of this kind, mostly one just written, so that statements build on one another."""
        names = self.names(kind)
        fresh = [step.name for step in self.steps[-2:] if step.name in names]
        return self.rng.choice(fresh if fresh and self.rng.random() < 0.6 else names)

    def target(self, kind: type) -> str:
        """A name to assign to: one that holds this kind already, or a new one."""
        pool = _INT_NAMES if kind is int else _LIST_NAMES
        free = [name for name in pool if name not in self.env]
        return self.rng.choice(free if free and self.rng.random() < self.grammar.fresh else self.names(kind))

    def operand(self, other: str) -> str:
        """An int name unlike `other`, or a small constant."""
        name = self.pick(int)
        return name if name != other and self.rng.random() < 0.6 else str(self.rng.randint(1, 9))

    def keep(self, lines: Sequence[str]) -> bool:
        """Runs the lines on a copy of the values; adds them to the program if it may call what they call and all values stay
        small."""
        if self.grammar.without and called("\n".join(lines)) & set(self.grammar.without):
            return False
        env = copy.deepcopy(self.env)
        try:
            steps = list(replay(ast.parse("\n".join(lines)).body, env))
        except IndexError:
            return False
        room = self.grammar.anchors - 1
        if len(self.steps) + len(steps) > room or not all(self._small(value) for value in env.values()):
            return False
        known = {*self.env, *(step.name for step in steps)}
        self.env = {name: value for name, value in env.items() if name in known}
        self.lines.extend(lines)
        self.steps.extend(steps)
        return True

    def _small(self, value: int | list[int]) -> bool:
        if isinstance(value, list):
            return 0 < len(value) <= self.grammar.longest and all(self._small(item) for item in value)
        return 0 <= value <= self.grammar.largest


def _arithmetic(draft: _Draft) -> list[str]:
    name, sign = draft.pick(int), draft.rng.choice("+-")
    if draft.rng.random() < 0.4:
        return [f"{name} {sign}= {draft.operand(name)}"]
    return [f"{draft.target(int)} = {name} {sign} {draft.operand(name)}"]


def _reduction(draft: _Draft) -> list[str]:
    name = draft.pick(list)
    form = draft.rng.choice(("len({0})", "max({0})", "min({0})", "{0}[0]", "{0}[-1]", "{0}[1]"))
    return [f"{draft.target(int)} = {form.format(name)}"]


def _slice(draft: _Draft) -> list[str]:
    form = draft.rng.choice(("{0}[1:]", "{0}[:-1]", "{0}[::-1]", "sorted({0})", "{0}[:2]"))
    return [f"{draft.target(list)} = {form.format(draft.pick(list))}"]


def _growth(draft: _Draft) -> list[str]:
    form = draft.rng.choice(("{0}.append({1})", "{2} = {0} + [{1}]", "{2} = [{1}] + {0}"))
    return [form.format(draft.pick(list), draft.pick(int), draft.target(list))]


def _branch(draft: _Draft) -> list[str]:
    name = draft.pick(int)
    test = f"if {name} {draft.rng.choice('<>')} {draft.operand(name)}:"
    simple = (_arithmetic, _slice, _growth)
    lines = [test, *_indented(draft.rng.choice(simple)(draft))]
    if draft.rng.random() < 0.5:
        lines += ["else:", *_indented(draft.rng.choice(simple)(draft))]
    return lines


def _loop(draft: _Draft) -> list[str]:
    source, name = draft.pick(list), draft.target(int)
    body = [f"{name} += v"]
    if draft.rng.random() < 0.5:
        test = f"if v {draft.rng.choice('<>')} {draft.rng.randint(2, 8)}:"
        body = [test, *_indented([f"{name} += {draft.rng.choice('v1')}"])]
    return [f"{name} = 0", f"for v in {source}:", *_indented(body)]


def _indented(lines: Sequence[str]) -> list[str]:
    return [indent(line, "    ") for line in lines]


_STATEMENTS: tuple[tuple[Callable[[_Draft], list[str]], int], ...] = (
    (_arithmetic, 4),
    (_reduction, 3),
    (_slice, 3),
    (_growth, 3),
    (_branch, 2),
    (_loop, 1),
)


def generate(seed: int, index: int, grammar: Grammar) -> tuple[str, str]:
    """The program number `index` of this seed, and a call of it.

    Returns:
        The source of a function `f`, and a call such as `f([3, 1], 2)`.
    """
    rng = random.Random(f"{seed}/{index}")
    while True:
        code, call = _program(rng, grammar)
        if not grammar.calls or called(code) & set(grammar.calls):
            return code, call


def called(code: str) -> set[str]:
    """Names of the functions and methods that a text of statements calls."""
    functions = (node.func for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call))
    return {function.attr if isinstance(function, ast.Attribute) else ast.unparse(function) for function in functions}


def _program(rng: random.Random, grammar: Grammar) -> tuple[str, str]:
    items = [rng.randint(*grammar.argument) for _ in range(rng.randint(*grammar.list_length))]
    values: Env = {rng.choice(_LIST_NAMES[:2]): items, rng.choice(_INT_NAMES[:5]): rng.randint(*grammar.argument)}
    draft = _Draft(rng, grammar, dict(values))
    makers, weights = zip(*_STATEMENTS, strict=True)
    for _ in range(rng.randint(*grammar.statements)):
        while not draft.keep(rng.choices(makers, weights)[0](draft)):
            if len(draft.steps) >= grammar.anchors - 1:
                break
    lines = [*draft.lines, f"return {_result(draft)}"]
    code = "\n".join([f"def f({', '.join(values)}):", *_indented(lines)]) + "\n"
    return code, f"f({', '.join(map(repr, values.values()))})"


def _result(draft: _Draft) -> str:
    """What to return: what the last statements made, two values in one list where there are two, so that no single
    statement gives the answer."""
    last = dict.fromkeys(step.name for step in reversed(draft.steps))
    ints = [name for name in last if name in draft.names(int)]
    lists = [name for name in (*last, *draft.names(list)) if name in draft.names(list)]
    if len(ints) > 1:
        return f"[{ints[1]}, {ints[0]}]"
    if ints and len(draft.env[lists[0]]) < draft.grammar.longest:
        return f"{lists[0]} + [{ints[0]}]"
    return lists[0]
