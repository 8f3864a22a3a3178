"""Simple statements: what uses the cell's method, what names values, what tests them."""

from rl.synthesis.grid.collecting import collector, consume
from rl.synthesis.grid.expressions import (
    CALLS_ON,
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
from rl.synthesis.grid.names import COPIES, literal
from rl.synthesis.grid.scope import DeadEnd, Scope, Variable, names_in

_MORE_NAMES = {
    "int": ("value", "figure", "extra", "reach"),
    "float": ("portion", "adjusted", "extra"),
    "str": ("piece", "variant", "version"),
    "bool": ("flag", "check", "verdict", "agrees"),
    "set": ("group", "others", "extra"),
    "dict": ("mapping", "view", "extra"),
}
_UNPACKED = {
    "divmod": ("int", ("quotient", "remainder")),
    "partition": ("str", ("before", "mark", "after")),
    "rpartition": ("str", ("before", "mark", "after")),
}
"""What calls of known length unpack into."""


_INVARIANT = 0.25
"""How often a value that is the same in every round is let through: some methods leave no choice."""

_REPEATED = 0.1
"""How often the same text is let through again, for the same reason."""


def assign(scope: Scope, made: Expression) -> Variable:
    """Gives the value a name that tells what it is; the value is pending until something uses it."""
    if made.method in _UNPACKED and made.kind in ("tuple", "texts"):
        kind, parts = _UNPACKED[made.method]
        if scope.taken.isdisjoint(parts):
            scope.emit(f"{', '.join(parts)} = {made.text}")
            variables = [scope.add(Variable(name, kind, pending=name != "mark")) for name in parts]
            return variables[-1]
    names = tuple(name for name in made.hints if name not in scope.taken) or _MORE_NAMES.get(
        made.kind, ("group", "extra", "others")
    )
    name = scope.fresh(names)
    scope.emit(f"{name} = {made.text}")
    return scope.add(Variable(name, made.kind, pending=True, made_by=made.method))


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
    made = distinct(scope, form)
    if keep:
        assign(scope, made)
    else:
        consume(scope, made)


def distinct(scope: Scope, form: Form) -> Expression:
    """The form filled, as no other statement of this function has it yet.

    Raises:
        DeadEnd: the same came out again and again.
    """
    for _ in range(3):
        uses, others = scope.uses, scope.others
        made = fill(scope, form, 1)
        new = made.text not in scope.texts or form.changes or scope.rng.random() < _REPEATED
        if new and _varies(scope, made.text):
            scope.texts.add(made.text)
            return made
        scope.uses, scope.others = uses, others
    raise DeadEnd


def _varies(scope: Scope, text: str) -> bool:
    """In a loop a value should depend on what the loop binds, or it would be the same in every round."""
    if not scope.loops:
        return True
    bound = {found.name for found in scope.variables if found.level > 0}
    return not bound.isdisjoint(names_in(text)) or scope.rng.random() < _INVARIANT


def change(scope: Scope, form: Form) -> None:
    """A statement that changes a variable in place: a collector in loops, a copy elsewhere."""
    nonempty = any(not isinstance(part, str) and part.label == "it" and "+" in part.marks for part in form.parts)
    member = any(not isinstance(part, str) and part.member == "it" for part in form.parts)
    if scope.level and form.method == "discard":
        target = _copied_before(scope, form.kind)
    elif scope.loops and not form.once and not nonempty and scope.rng.random() < 0.85:
        target = collector(scope, form.kind)
    elif scope.level and not scope.loops and not member:
        target = _copied_before(scope, form.kind)
    else:
        again = form.once and scope.loops == 0 and scope.level == 0
        target = changeable(scope, form.kind, filled=nonempty or member, new=not again)
    scope.changing = target.name
    made = fill(scope, form, 1, target)
    scope.changing = ""
    for line in made.text.split("; "):
        scope.emit(line)
    target.filled, target.spare = False, 0
    target.pending = True


def other(scope: Scope, *, keep: bool) -> None:
    """Uses another method or function on something near, if there is something."""
    usable = [found for found in scope.variables if found.kind in CALLS_ON and not (found.own and not found.copy_of)]
    near = [found for found in usable if found.level == scope.level] or usable
    if not near:
        return
    waiting = [found for found in near if found.pending] or near
    form = scope.rng.choice(CALLS_ON[scope.rng.choice(waiting).kind])
    made = fill(scope, form, 0)
    if not _varies(scope, made.text):
        raise DeadEnd
    if keep:
        assign(scope, made)
    else:
        consume(scope, made)


def _copied_before(scope: Scope, kind: str) -> Variable:
    """A copy of a parameter, made before the first control structure."""
    for found in scope.variables:
        if found.kind == kind and found.own and found.copy_of and found.level == 0 and not found.frozen:
            return found
    source = variable(scope, kind, Filling(), filled=True)
    if not source.parameter:
        raise DeadEnd
    name = scope.fresh(COPIES[kind])
    scope.inits.append(f"{name} = {MAKERS[kind]}({source.name})")
    made = scope.add(Variable(name, kind, copy_of=source.name, own=True, pending=True, singular=source.singular))
    made.level = 0
    return made


def test(scope: Scope) -> str:
    """A condition: the cell's method where it has a truth or a number to give, or something about what is near."""
    rng, cell = scope.rng, scope.cell
    own = [form for form in forms_of(cell) if form.kind in ("bool", "int") and not form.changes]
    if own and rng.random() < (0.65 if scope.uses < 2 else 0.25):
        form = rng.choice(own)
        made = distinct(scope, form)
        if form.kind == "bool":
            return made.text if rng.random() < 0.8 or made.precedence < 20 else f"not {made.text}"
        bound = rng.choice((f"> {literal('small', rng)}", f">= {literal('small', rng)}", f"< {literal('num', rng)}"))
        return f"{made.text} {bound}"
    near = [found for found in scope.variables if is_value(found.kind) and not found.own and found.name not in scope.tested]
    if not near:
        near = [variable(scope, rng.choice(("int", "str")), Filling(names=set(scope.tested)))]
    deepest = [found for found in near if found.level == scope.level]
    subject = rng.choice(deepest if deepest and rng.random() < 0.85 else near)
    scope.tested.add(subject.name)
    subject.pending = False
    return _about(scope, subject)


def _is_letter(scope: Scope, subject: Variable) -> bool:
    """Whether the string is a member of a string, and so of length one."""
    whole = scope.named(subject.member)
    return whole is not None and whole.kind == "str"


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
        case "str" if _is_letter(scope, subject):
            tests = (f'{name} in "aeiou"', f"{name}.isalpha()", f"{name}.isupper()", f"{name} == {literal('char', rng)}")
            condition = rng.choice(tests)
        case "str":
            small, letter = literal("small", rng), literal("char", rng)
            condition = rng.choice(
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
        case _:
            condition = rng.choice((f"len({name}) > {literal('num', rng)}", f"len({name}) % 2 == 0", f"len({name}) > 3"))
    scope.note_calls(condition)
    return condition


def small_step(scope: Scope) -> None:
    """A short statement for another branch: counts, or collects something near."""
    rng = scope.rng
    near = [found for found in scope.variables if found.kind in ("int", "str", "float") and found.level and not found.own]
    there = [found for found in scope.variables if found.own and not found.copy_of and found.level == 0]
    if there and rng.random() < 0.85:
        target = rng.choice(there)
        fitting = [
            found.name for found in near if found.kind == {"ints": "int", "words": "str"}.get(target.kind, target.kind)
        ]
        match target.kind:
            case "int" | "float" if not fitting or rng.random() < 0.5:
                scope.emit(f"{target.name} {rng.choice(('+=', '+=', '-='))} {literal('small', rng)}")
                return
            case "int" | "float" | "str":
                scope.emit(f"{target.name} += {rng.choice(fitting) if fitting else literal('fill', rng)}")
                return
            case "ints" | "words":
                one = literal("num" if target.kind == "ints" else "str", rng)
                scope.emit(f"{target.name}.append({rng.choice(fitting) if fitting else one})")
                return
    if near and rng.random() < 0.7:
        found = rng.choice(near)
        plain = PLAIN.get(found.kind, ())
        made = Expression(found.name, found.kind)
        if plain and found.kind == "int" and rng.random() < 0.6:
            made = fill(scope, rng.choice(plain), 0)
        consume(scope, made)
    elif scope.cell.configuration.others and rng.random() < 0.5:
        consume(scope, value(scope, rng.choice(("int", "str")), Filling(), 1))
    elif scope.loops:
        scope.emit(f"{collector(scope, 'count').name} += 1")
    else:
        consume(scope, value(scope, scope.returns or "int", Filling(), 1))
