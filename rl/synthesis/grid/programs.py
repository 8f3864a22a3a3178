"""Whole programs for the cells of the grid.

A program grows from typed statements and expressions over a scope of typed variables; parameters come into being when
something needs them. A draft that runs into a dead end, or misses what its cell asks for, is thrown away.
"""

import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from random import Random

from rl.synthesis.grid.cells import Cell
from rl.synthesis.grid.control import nest, structures
from rl.synthesis.grid.expressions import Filling, forms_of, is_value, value
from rl.synthesis.grid.forms import ATOM, VALUES, Form, Hole
from rl.synthesis.grid.names import function_name
from rl.synthesis.grid.scope import DeadEnd, Line, Scope, Variable, rendered
from rl.synthesis.grid.statements import change, distinct, other, test, use
from rl.synthesis.grid.values import Parameter, literal

_NAME = re.compile(r"(?<![.\w])[a-z_]\w*")
_F_STRING, _STRING = re.compile(r'\bf"([^"]*)"'), re.compile(r'"[^"]*"')
_UNREAD = frozenset({"mark", "turn", "step_no"})
"""Names that may be bound and not read."""

_DRAFTS = 10_000
"""The cells that need most take a hundred attempts on average, so that chance alone never needs as many as these."""

_EMPTY = {"int": "0", "float": "0.0", "str": '""', "ints": "[]", "words": "[]", "dict": "{}", "set": "set()"}


@dataclass(frozen=True, slots=True)
class GridProgram:
    """A program of one cell."""

    cell: Cell
    source: str
    """One function or two; the last one is the entry. Nothing is called or printed at module level."""
    entry: str
    parameters: tuple[Parameter, ...]

    def call(self, arguments: tuple[object, ...]) -> str:
        """The entry call with these arguments as literals: `f([3, 1], "tea")`."""
        return f"{self.entry}({', '.join(map(literal, arguments))})"


def write_program(cell: Cell, rng: Random) -> GridProgram:
    """A program that uses the cell's method as its configuration says. The same `rng` state makes the same program.

    Raises:
        RuntimeError: every draft missed what the cell asks for; a fault of the tables.
    """
    for _ in range(_DRAFTS):
        try:
            drafted = _draft(cell, rng)
        except DeadEnd:
            continue
        if drafted is not None:
            return drafted
    raise RuntimeError(f"{cell}: no program in {_DRAFTS} drafts, its forms leave too little choice")


def _draft(cell: Cell, rng: Random) -> GridProgram | None:
    forms = forms_of(cell)
    helper: list[str] = []
    scope = Scope(rng, cell)
    before = (0, 0, 0)
    if cell.configuration.chain:
        helper, form, before = _helper(cell, rng)
        scope.taken.add(form.method)
        scope.locals.add(form.method)
        forms = (form, form, rng.choice(forms)) if before[0] < 2 or rng.random() < 0.4 else (form,)
        scope.uses = before[0]
    lines, result = _body(scope, forms)
    if helper and form.method not in " ".join(lines):
        return None
    uses, others, depth = scope.uses, scope.others + before[1], max(scope.depth, before[2])
    enough = uses >= 2 and depth >= 2 and (others > 0) == cell.configuration.others
    if not (enough and 1 <= len(scope.parameters) <= 3 and len(lines) <= 22):
        return None
    if not _all_used(scope, lines) or _is_silly([*helper, *lines]):
        return None
    name = "f" if rng.random() < 0.4 else function_name(result, scope.parameters[0].name, rng)
    if name in scope.taken:
        return None
    header = f"def {name}({', '.join(found.name for found in scope.parameters)}):"
    text = [*helper, header, *lines]
    if any("math." in line for line in text):
        text = ["import math", "", "", *text]
    parameters = tuple(Parameter(found.name, found.kind, found.member) for found in scope.parameters)
    return GridProgram(cell, "\n".join(text) + "\n", name, parameters)


_SILLY = re.compile(r"""\{("[^"]*"|\d+): [^{}]*\}\.items\(\)|(?<![\w.])\d[\d.]* [-+*/%] \d""")
"""The items of a dict that is written out on the spot; arithmetic on two numbers that are written out."""


_START = re.compile(r"( *)(\w+) = [\d.]+$")
_STEP = re.compile(r"( *)(\w+) [-+*]= [\d.]+$")
_EMPTIED = re.compile(r"( *\w+)\.clear\(\)$")


def _is_silly(lines: list[str]) -> bool:
    """Whether there is what nobody would write.

    That is a line, or a pair of lines, twice in a row; an expression of constants; a number that is set and then changed
    once, always, by a constant; a collection that is emptied, filled and emptied again.
    """
    if any(line and line == following for line, following in pairwise(lines)) or any(map(_SILLY.search, lines)):
        return True
    if any(lines[at : at + 2] == lines[at + 2 : at + 4] for at in range(len(lines) - 3)):
        return True
    return _steps_once(lines) or _refills(lines)


def _steps_once(lines: list[str]) -> bool:
    """`total = 0`, and then `total += 2` beside it as the only other line that binds it."""
    bound = Counter(found[1] for line in lines if (found := _BOUND.match(line)))
    begun = {found.groups() for line in lines if (found := _START.match(line))}
    return any((found := _STEP.match(line)) and found.groups() in begun and bound[found[2]] == 2 for line in lines)


_BOUND = re.compile(r" *(\w+) (?:[-+*/%|&^]|//|\*\*)?= ")


def _refills(lines: list[str]) -> bool:
    for at, line in enumerate(lines[:-2]):
        found = _EMPTIED.match(line)
        if found and lines[at + 2] == line and re.match(rf"{found[1]}\b", lines[at + 1]):
            return True
    return False


def _all_used(scope: Scope, lines: list[str]) -> bool:
    """Whether every variable is looked at somewhere; the index of `range` need not be."""
    text = _STRING.sub("", _F_STRING.sub(r"\1", "\n".join(lines)))
    seen = Counter(_NAME.findall(text))
    once = {name for name in scope.taken - scope.locals if seen[name] == 1}
    loose = {parameter.name for parameter in scope.parameters} | _UNREAD
    return once <= loose and all(seen[parameter.name] for parameter in scope.parameters)


def _body(scope: Scope, forms: tuple[Form, ...]) -> tuple[list[str], str]:
    """The lines of the entry function, and the kind of what it returns."""
    rng, configuration = scope.rng, scope.cell.configuration
    lines: list[Line] = scope.block
    if configuration.depth == 0:
        _straight(scope, forms)
        kind, back = _returned(scope)
        return rendered(_inlined(lines, back, rng), "    "), kind
    if rng.random() < 0.25:
        other_first = rng.random() < 0.6 and scope.parameters
        _prelude(scope, forms) if not other_first else other(scope, keep=True)
    kinds = structures(scope, configuration.depth)
    before = len(lines)
    nest(scope, kinds, forms)
    if rng.random() < 0.2 and scope.uses < 2:
        use(scope, forms, keep=True)
    kind, back = _returned(scope)
    guard = _guard(scope, kind, back) if rng.random() < 0.2 else []
    return rendered([*guard, *lines[:before], *scope.inits, *_inlined(lines[before:], back, rng)], "    "), kind


def _inlined(lines: list[Line], back: str, rng: Random) -> list[Line]:
    """The lines with the `return`; a value named only to be returned is mostly returned at once."""
    match lines:
        case [*_, str(last)] if last.startswith(f"{back.removeprefix('return ')} = ") and rng.random() < 0.8:
            return [*lines[:-1], f"return {last.partition(' = ')[2]}"]
    return [*lines, back]


def _prelude(scope: Scope, forms: tuple[Form, ...]) -> None:
    values = tuple(form for form in forms if not form.changes and is_value(form.kind) and form.kind != "bool")
    if values:
        use(scope, values, keep=True)


def _guard(scope: Scope, kind: str, back: str) -> list[Line]:
    """`if not words: return []`, where a collector of that kind is what is returned."""
    first = scope.parameters[0] if scope.parameters else None
    name = back.removeprefix("return ")
    plain = scope.named(name)
    if first is None or plain is None or first.kind not in VALUES - {"int", "float", "bool"} or kind not in _EMPTY:
        return []
    init = next((line for line in scope.inits if line.startswith(f"{name} = ")), None)
    if init is None:
        return []
    return [f"if not {first.name}:", [f"return {init.partition(' = ')[2]}"]]


def _straight(scope: Scope, forms: tuple[Form, ...]) -> None:
    """A few statements without control structures, each mostly on what the one before made."""
    rng, others = scope.rng, scope.cell.configuration.others
    steps = ["use", "use", *["use"] * (rng.random() < 0.3)]
    if others:
        steps += ["other"] * rng.randint(1, 2)
        rng.shuffle(steps)
        if steps[0] == "other":
            steps = ["use", *steps[1:], "other"] if rng.random() < 0.5 else steps
    for step in steps:
        if step == "use":
            use(scope, forms, keep=True)
        elif any(is_value(found.kind) for found in scope.variables):
            other(scope, keep=True)


def _returned(scope: Scope) -> tuple[str, str]:
    """The kind of what is returned, and the `return` line: all that nothing else has used, put together."""
    rng = scope.rng
    left = [found for found in scope.variables if found.pending and found.level == 0]
    if not left and scope.returns:
        made = value(scope, scope.returns, Filling(), 1)
        return scope.returns, f"return {f'sorted({made.text})' if scope.returns == 'set' else made.text}"
    if not left:
        left = [found for found in scope.variables if not found.parameter and found.level == 0][-1:]
    if not left:
        raise DeadEnd
    if len(left) > 3:
        return "tuple of all", f"return {', '.join(_grouped(scope, left))}"
    kinds = {found.kind for found in left}
    texts = [f"sorted({found.name})" if found.kind == "set" else found.name for found in left]
    if len(left) == 1:
        return _last(scope, left[0], texts[0])
    if len(kinds) == 1 and rng.random() < 0.75:
        kind = left[0].kind
        whole = _joined(scope, kind, [found.name for found in left])
        if whole:
            return kind if kind != "set" else "ints", f"return {whole}"
    if scope.depth < 2 and "int" in kinds and not scope.cell.configuration.others:
        place = next(number for number, found in enumerate(left) if found.kind == "int")
        texts[place] = f"{texts[place]} * {rng.choice((2, 10))} + 1"
        scope.depth = 2
    return "tuple of all", f"return {', '.join(texts)}"


def _grouped(scope: Scope, left: list[Variable]) -> list[str]:
    """At most three values out of more, those of one kind put together.

    Raises:
        DeadEnd: there are more kinds than that.
    """
    kinds = list(dict.fromkeys(found.kind for found in left))
    if len(kinds) > 3:
        raise DeadEnd
    texts: list[str] = []
    for kind in kinds:
        names = [found.name for found in left if found.kind == kind]
        texts.append(_joined(scope, kind, names) if len(names) > 1 or kind == "set" else names[0])
    if not all(texts):
        raise DeadEnd
    return texts


def _joined(scope: Scope, kind: str, names: list[str]) -> str:
    """Several values of one kind as one; deeper where the program has no nested operations yet."""
    rng = scope.rng
    more = scope.depth < 2 or rng.random() < 0.15
    scope.depth = max(scope.depth, len(names) - 1 + more)
    *init, last = names
    match kind:
        case "int" | "float":
            last = f"{last} * {rng.choice((2, 3, 10))}" if more else last
            return rng.choice((" + ", " + ", " - ")).join([*init, last])
        case "str":
            last = f"{last}[::-1]" if more else last
            return rng.choice((" + ", ' + "-" + ', ' + " " + ')).join([*init, last])
        case "ints" | "words" | "tuple":
            return " + ".join([*init, f"{last}[{rng.choice(('1:', ':2', '::-1'))}]" if more else last])
        case "bool":
            return rng.choice((" and ", " or ")).join([*init, f"not {last}" if more else last])
        case "set":
            scope.depth = max(scope.depth, 2)
            return f"sorted({rng.choice((' | ', ' | ', ' ^ ', ' & ')).join(names)})"
        case "dict" if more:
            scope.depth = max(scope.depth, 2)
            return f"list({' | '.join(names)})"
        case "dict":
            return " | ".join(names)
    return ""


def _last(scope: Scope, found: Variable, text: str) -> tuple[str, str]:
    """What to return where one variable holds it all."""
    rng, others = scope.rng, scope.cell.configuration.others
    if others and found.own and rng.random() < 0.3:
        match found.kind:
            case "words" if not found.copy_of or rng.random() < 0.5:
                scope.note("join")
                return "str", f"return {rng.choice(DASHES)}.join({text})"
            case "ints":
                kind, call = rng.choice((("int", "sum"), ("ints", "sorted")))
                scope.note(*[call] * (call == "sum"))
                return kind, f"return {call}({text})"
            case "dict":
                scope.note("items")
                return "pairs", f"return sorted({text}.items())"
    return found.kind if found.kind != "set" else "ints", f"return {text}"


DASHES = ('"-"', '" "', '","', '""', '"/"')


def _helper(cell: Cell, rng: Random) -> tuple[list[str], Form, tuple[int, int, int]]:
    """A short function that uses the method, and the form of its call.

    Returns:
        Its lines, the form, and how often it uses the method, calls others, and how deep its operations are nested.
    """
    scope = Scope(rng, cell, most_parameters=2)
    form = rng.choice(forms_of(cell))
    if form.statement:
        change(scope, form)
        target = next(found for found in scope.variables if found.own)
        kind, text = target.kind, target.name
    else:
        kind = form.kind
        if is_value(kind) and rng.random() < 0.35:
            condition = test(scope)
            outer = scope.open(f"if {condition}:")
            scope.emit(f"return {distinct(scope, form).text}")
            scope.close(outer)
        if scope.block and not form.changes and rng.random() < 0.5:
            text = value(scope, kind, Filling(), 1).text
        else:
            text = distinct(scope, form).text
    if not scope.parameters or not is_value(kind):
        raise DeadEnd
    scope.emit(f"return {text}")
    name = function_name(kind, scope.parameters[0].singular[0] if scope.parameters[0].singular else "value", rng)
    if name in scope.taken:
        raise DeadEnd
    header = f"def {name}({', '.join(found.name for found in scope.parameters)}):"
    body = rendered(scope.block, "    ")
    if not _all_used(scope, body):
        raise DeadEnd
    lines = [header, *body, "", ""]
    return lines, _call_of(name, kind, scope.parameters), (scope.uses, scope.others, scope.depth)


def _call_of(name: str, kind: str, parameters: list[Variable]) -> Form:
    """The form by which the entry calls its helper."""
    parts: list[str | Hole] = [f"{name}("]
    for number, found in enumerate(parameters):
        marks = "+" if found.kind not in ("int", "float") else ""
        parts += [", "] * (number > 0)
        parts.append(Hole(found.name, found.kind, marks, found.member, 0, bool(found.member)))
    hints = ("value", "part", "piece") if kind in ("int", "float", "str") else ("made", "found")
    return Form("helper", name, kind, False, False, (*parts, ")"), hints, ATOM, 1, (), False)
