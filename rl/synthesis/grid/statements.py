"""Simple statements: what uses the cell's method, what collects values, what tests them."""

from rl.synthesis.grid.expressions import (
    CALLS,
    MAKERS,
    PLAIN,
    Expression,
    Filling,
    changeable,
    fill,
    forms_of,
    is_value,
    value,
    variable,
)
from rl.synthesis.grid.forms import Form
from rl.synthesis.grid.names import COPIES, SUMS, literal
from rl.synthesis.grid.scope import DeadEnd, Scope, Variable

_EMPTY = {"int": "0", "count": "0", "float": "0.0", "str": '""', "set": "set()", "dict": "{}"}
_DEFAULT_NAMES = {"int": ("value",), "float": ("part",), "str": ("piece",), "bool": ("flag",), "set": ("group",)}


def collector(scope: Scope, kind: str) -> Variable:
    """What grows while the program runs, of this kind: one there is already, or a new one, empty at first.

    `count` is an int that counts, `flags` a list of bools, `any` a list of anything.
    """
    holds = {"count": "int", "flags": "any"}.get(kind, kind)
    for found in scope.variables:
        if found.own and found.kind == holds and found.level == 0 and not found.copy_of and found.name in SUMS[kind]:
            return found
    name = scope.fresh(SUMS[kind])
    scope.inits.append(f"{name} = {_EMPTY.get(kind, '[]')}")
    found = scope.add(Variable(name, holds, own=True, pending=True))
    found.level = 0
    return found


def consume(scope: Scope, made: Expression) -> None:
    """Writes a statement by which the value goes into something that is returned."""
    rng, kind = scope.rng, made.kind
    text = made.text
    bare = made.precedence >= 10
    match kind:
        case "int" if rng.random() < 0.65:
            extra = _extra(scope, text) if bare and rng.random() < 0.3 else ""
            scope.emit(f"{collector(scope, 'int').name} {'-=' if rng.random() < 0.08 else '+='} {text}{extra}")
        case "int":
            _keyed(scope, text) or scope.emit(f"{collector(scope, 'ints').name}.append({text})")
        case "float" if rng.random() < 0.8:
            scope.emit(f"{collector(scope, 'float').name} += {text}")
        case "str" if rng.random() < 0.35:
            tail = f' + "{rng.choice("-,| ")}"' if bare and rng.random() < 0.3 else ""
            scope.emit(f"{collector(scope, 'str').name} += {text}{tail}")
        case "str":
            _keyed(scope, text) or scope.emit(f"{collector(scope, 'words').name}.append({text})")
        case "ints" | "words" if rng.random() < 0.45:
            scope.emit(f"{collector(scope, kind).name}.extend({text})")
        case "ints" | "tuple" if rng.random() < 0.5 and scope.cell.configuration.others:
            scope.others += 1
            scope.emit(f"{collector(scope, 'int').name} += sum({text})")
        case "set" if rng.random() < 0.5:
            scope.emit(f"{collector(scope, 'set').name} |= {text}")
        case "dict" if rng.random() < 0.5:
            scope.emit(f"{collector(scope, 'dict').name}.update({text})")
        case "words" | "ints" | "set" | "dict" | "texts" | "tuple" if rng.random() < 0.5:
            scope.others += 1
            scope.emit(f"{collector(scope, 'int').name} += len({text})")
        case "bool" if rng.random() < 0.4:
            scope.emit(f"{collector(scope, 'flags').name}.append({text})")
        case "bool":
            scope.emit(f"{collector(scope, 'count').name} += 1 if {text} else {rng.choice(('0', '-1', '2'))}")
        case "set":
            scope.emit(f"{collector(scope, 'any').name}.append(sorted({text}))")
        case _:
            scope.emit(f"{collector(scope, 'any').name}.append({text})")
    _settle(scope, text)


def _extra(scope: Scope, text: str) -> str:
    """A little more to add: a number in scope, or a small one."""
    filling = Filling(names={text, *(own.name for own in scope.variables if own.own)})
    found = scope.choose("int", filling.names)
    sign = scope.rng.choice("+-*")
    return f" {sign} {found.name if found and scope.rng.random() < 0.6 else scope.rng.randint(2, 4)}"


def _keyed(scope: Scope, text: str) -> bool:
    """Files the value under a loop's string, sometimes and where there is one; says whether it did."""
    keys = [found for found in scope.variables if found.kind == "str" and found.level > 0 and found.name != text]
    if not keys or text.isdecimal() or scope.rng.random() < 0.6 or text.startswith('"'):
        return False
    table = collector(scope, "dict") if text_is_number(scope, text) else collector(scope, "any")
    if table.kind != "dict":
        scope.emit(f"{table.name}.append(({keys[-1].name}, {text}))")
    else:
        scope.emit(f"{table.name}[{keys[-1].name}] = {text}")
    return True


def text_is_number(scope: Scope, text: str) -> bool:
    """Whether the text is the name of a number."""
    found = scope.named(text)
    return found is not None and found.kind == "int"


def _settle(scope: Scope, text: str) -> None:
    found = scope.named(text)
    if found is not None and not found.own:
        found.pending = False


def assign(scope: Scope, made: Expression) -> Variable:
    """Gives the value a name that tells what it is; the value is pending until something uses it."""
    name = scope.fresh(made.hints or _DEFAULT_NAMES.get(made.kind, ("found",)))
    scope.emit(f"{name} = {made.text}")
    return scope.add(Variable(name, made.kind, pending=True))


def use(scope: Scope, forms: tuple[Form, ...], *, keep: bool) -> None:
    """Uses the method once: in a statement that changes something, or in a value that is named or collected.

    Args:
        scope: the function being written.
        forms: the ways to use it.
        keep: give the value a name, instead of collecting it at once.
    """
    form = scope.rng.choice(forms)
    if form.statement:
        change(scope, form)
        return
    made = fill(scope, form, 1)
    if keep:
        assign(scope, made)
    else:
        consume(scope, made)


def change(scope: Scope, form: Form) -> None:
    """A statement that changes a variable in place: a collector in loops, a copy elsewhere."""
    nonempty = any(not isinstance(part, str) and part.label == "it" and "+" in part.marks for part in form.parts)
    member = any(not isinstance(part, str) and part.member == "it" for part in form.parts)
    if scope.loops and not form.once and not nonempty and scope.rng.random() < 0.85:
        target = collector(scope, form.kind)
    elif scope.level and not scope.loops and not member:
        target = _copied_before(scope, form.kind)
    else:
        again = form.once and scope.loops == 0 and scope.level == 0
        target = changeable(scope, form.kind, filled=nonempty or member, new=not again)
    made = fill(scope, form, 1, target)
    scope.emit(made.text)
    target.filled = False
    target.pending = True


def other(scope: Scope, *, keep: bool) -> None:
    """Uses another method or function on what is there."""
    kinds = [found.kind for found in scope.variables if is_value(found.kind) and found.kind != "bool"]
    wanted = scope.rng.choice(("int", "str", "int", *kinds))
    forms = CALLS.get(wanted, CALLS["int"])
    for _ in range(8):
        form = scope.rng.choice(forms)
        if _has_food(scope, form):
            break
    else:
        raise DeadEnd
    made = fill(scope, form, 0)
    if keep:
        assign(scope, made)
    else:
        consume(scope, made)


def _copied_before(scope: Scope, kind: str) -> Variable:
    """A copy of a parameter, made before the first control structure."""
    for found in scope.variables:
        if found.kind == kind and found.own and found.copy_of and found.level == 0:
            return found
    source = variable(scope, kind, Filling(), filled=True)
    if not source.parameter:
        raise DeadEnd
    name = scope.fresh(COPIES[kind])
    scope.inits.append(f"{name} = {MAKERS[kind]}({source.name})")
    made = scope.add(Variable(name, kind, copy_of=source.name, own=True, pending=True, singular=source.singular))
    made.level = 0
    return made


def _has_food(scope: Scope, form: Form) -> bool:
    """Whether there is a variable for the form's first hole, so that it builds on what is there."""
    present = {found.kind for found in scope.variables}
    kinds = [part.kind for part in form.parts if not isinstance(part, str) and is_value(part.kind)]
    return bool(kinds) and kinds[0] in present and all(kind in present or kind in ("int", "str") for kind in kinds)


def test(scope: Scope) -> str:
    """A condition: the cell's method where it has a truth or a number to give, or something about what is near."""
    rng, cell = scope.rng, scope.cell
    own = [form for form in forms_of(cell) if form.kind in ("bool", "int") and not form.changes]
    if own and rng.random() < (0.6 if scope.uses < 2 else 0.25):
        form = rng.choice(own)
        made = fill(scope, form, 1)
        if form.kind == "bool":
            return made.text if rng.random() < 0.8 or made.precedence < 20 else f"not {made.text}"
        return f"{made.text} {rng.choice(('>', '<', '>=', '!='))} {literal('small', rng)}"
    near = [found for found in scope.variables if is_value(found.kind) and not (found.own and found.level < scope.level)]
    if not near:
        near = [variable(scope, rng.choice(("int", "str")), Filling())]
    subject = near[int(len(near) * rng.random() ** 0.35)]
    subject.pending = False
    return _about(scope, subject)


def _about(scope: Scope, subject: Variable) -> str:
    """A condition on this variable."""
    rng, name = scope.rng, subject.name
    number = literal("num", rng)
    match subject.kind:
        case "int":
            limit = scope.choose("int", {name}) if rng.random() < 0.4 else None
            bound = limit.name if limit else number
            return rng.choice(
                (f"{name} > {bound}", f"{name} < {bound}", f"{name} % 2 == 0", f"{name} % 3 != 0", f"{name} >= {bound}")
            )
        case "str":
            scope.others += 1
            small, letter = literal("small", rng), literal("char", rng)
            return rng.choice(
                (
                    f"len({name}) > {small}",
                    f"{name}.startswith({letter})",
                    f"{name}.isalpha()",
                    f"len({name}) % 2 == 0",
                    f"{name}.islower()",
                    f"{name}.count({letter}) < {small}",
                )
            )
        case "float":
            return f"{name} {rng.choice('<>')} {literal('decimal', rng)}"
        case "bool":
            return name
        case "dict":
            scope.others += 1
            return f"len({name}) > {literal('small', rng)}"
        case _:
            scope.others += 1
            return rng.choice((f"len({name}) > {literal('small', rng)}", f"len({name}) % 2 == 0"))


def small_step(scope: Scope) -> None:
    """A short statement for another branch: counts, or collects something near."""
    rng = scope.rng
    near = [found for found in scope.variables if found.kind in ("int", "str", "float") and found.level and not found.own]
    if rng.random() < 0.4 and any(found.own and found.kind in ("int", "float") for found in scope.variables):
        target = next(found for found in reversed(scope.variables) if found.own and found.kind in ("int", "float"))
        scope.emit(f"{target.name} {rng.choice(('+=', '-='))} {literal('small', rng)}")
    elif near and rng.random() < 0.7:
        found = rng.choice(near)
        plain = PLAIN.get(found.kind, ())
        made = Expression(found.name, found.kind)
        if plain and found.kind == "int" and rng.random() < 0.6:
            made = fill(scope, rng.choice(plain), 0)
        consume(scope, made)
    elif scope.cell.configuration.others and rng.random() < 0.5:
        consume(scope, value(scope, rng.choice(("int", "str")), Filling(), 1))
    else:
        scope.emit(f"{collector(scope, 'count').name} += 1")
