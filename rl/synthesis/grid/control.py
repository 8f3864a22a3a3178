"""Control structures, each nested in the one before: loops, conditions, and what goes into them."""

from rl.synthesis.grid.collecting import consume
from rl.synthesis.grid.expressions import Expression, Filling, variable
from rl.synthesis.grid.forms import Form, Hole
from rl.synthesis.grid.names import ELEMENTS
from rl.synthesis.grid.scope import DeadEnd, Scope, Variable
from rl.synthesis.grid.statements import other, small_step, test, use

_LOOPED = frozenset({"enumerate", "zip", "range", "reversed", "sorted", "items", "keys", "values"})
"""Methods and functions that a `for` can go over."""

_SEQUENCES = frozenset(ELEMENTS) - {"set", "dict"}
"""Kinds that have an order and indices."""


def structures(scope: Scope, depth: int) -> list[str]:
    """Which structures to nest, from the outside in: drawn evenly, but at most two loops, or nobody could follow."""
    kinds = [scope.rng.choice(("if", "for", "while", "elif")) for _ in range(depth)]
    while sum(kind in ("for", "while") for kind in kinds) > 2:
        kinds[scope.rng.randrange(depth)] = scope.rng.choice(("if", "elif"))
    return kinds


def nest(scope: Scope, kinds: list[str], forms: tuple[Form, ...]) -> None:
    """Writes the structures and, in the innermost, statements that use the method."""
    if not kinds:
        _work(scope, forms)
        return
    match kinds[0]:
        case "for":
            _for(scope, kinds[1:], forms)
        case "while":
            _while(scope, kinds[1:], forms)
        case _:
            _if(scope, kinds[1:], forms, chain=kinds[0] == "elif")


def _work(scope: Scope, forms: tuple[Form, ...]) -> None:
    rng = scope.rng
    times = 1 if scope.uses > 1 or rng.random() < 0.35 else 2
    for _ in range(times):
        use(scope, forms, keep=rng.random() < 0.35)
        if scope.ended():
            return
    if rng.random() < 0.2 and scope.cell.configuration.others:
        other(scope, keep=False)
    drain(scope)


def drain(scope: Scope) -> None:
    """Collects what this block has named and nothing has used."""
    for found in scope.variables:
        if found.pending and found.level == scope.level and scope.level > 0:
            if scope.ended():
                raise DeadEnd
            found.pending = False
            consume(scope, Expression(found.name, found.kind))


def _inside(scope: Scope, kinds: list[str], forms: tuple[Form, ...], *, skips: bool) -> None:
    """The body of a loop: perhaps a step on what it binds, then what is nested in it."""
    rng = scope.rng
    if kinds and rng.random() < 0.35 and scope.cell.configuration.others:
        other(scope, keep=True)
    elif kinds and rng.random() < 0.15:
        use(scope, forms, keep=True)
    if kinds and kinds[0] in ("if", "elif") and skips and rng.random() < 0.15:
        outer = scope.open(f"if {test(scope)}:")
        scope.emit("continue")
        scope.close(outer)
    nest(scope, kinds, forms)
    drain(scope)


def _for(scope: Scope, kinds: list[str], forms: tuple[Form, ...]) -> None:
    header, bound, over = _header(scope, forms, deep=not {"for", "while"}.isdisjoint(kinds))
    frozen = [found for found in scope.variables if found.name in over and not found.frozen]
    for found in frozen:
        found.frozen = True
    scope.loops += 1
    guarded, scope.guarded = scope.guarded, False
    outer = scope.open(header)
    for found in bound:
        scope.add(found)
    _inside(scope, kinds, forms, skips=True)
    scope.close(outer)
    scope.loops -= 1
    scope.guarded = guarded
    for found in frozen:
        found.frozen = False


def _header(scope: Scope, forms: tuple[Form, ...], *, deep: bool) -> tuple[str, list[Variable], set[str]]:
    """A `for` line, what it binds, and the variables that must not change meanwhile."""
    rng = scope.rng
    wanted = forms[0].method if forms[0].method in _LOOPED and rng.random() < 0.6 else ""
    kind = _loop_kind(scope, forms)
    form = wanted or rng.choice(("", "", "", "enumerate", "range", "zip", "items"))
    if form == "range" or (form in ("", "enumerate") and kind == "range"):
        return _range(scope, wanted)
    if form in ("items", "keys", "values"):
        return _over_dict(scope, form, wanted)
    if form == "zip":
        return _zip(scope, kind, wanted)
    source = variable(scope, kind if kind in ELEMENTS and kind != "dict" else "ints", Filling(), filled=True)
    item = _element(scope, source)
    if (form == "sorted" and source.kind in ("ints", "words", "tuple", "floats", "str")) or source.kind == "set":
        _count(scope, wanted, "sorted")
        return f"for {item.name} in sorted({source.name}):", [item], {source.name}
    if form == "reversed":
        _count(scope, wanted, "reversed")
        return f"for {item.name} in reversed({source.name}):", [item], {source.name}
    if form == "enumerate":
        _count(scope, wanted, "enumerate")
        index = Variable(scope.fresh(("i", "index", "j", "position")), "int")
        start = ", 1" if rng.random() < 0.2 else ""
        return f"for {index.name}, {item.name} in enumerate({source.name}{start}):", [index, item], {source.name}
    long = scope.loops or (deep and source.kind == "str")
    tail = f"[:{rng.randint(2, 3)}]" if long and source.kind != "set" else ""
    return f"for {item.name} in {source.name}{tail}:", [item], {source.name}


def _count(scope: Scope, wanted: str, called: str) -> None:
    """A loop's function is a use of the cell's method, or of another one."""
    if wanted:
        scope.uses += 1
    else:
        scope.note(called)


def _loop_kind(scope: Scope, forms: tuple[Form, ...]) -> str:
    """What to loop over, so that the loop binds what the method works on."""
    needs = {part.kind for form in forms for part in form.parts if not isinstance(part, str) and part.kind}
    fits = [several for several, one in ELEMENTS.items() if one in needs]
    fits += [kind for kind in sorted(needs) if kind in ELEMENTS and scope.rng.random() < 0.3]
    present = [found.kind for found in scope.variables if found.kind in ELEMENTS and found.filled]
    fits = [kind for kind in fits if kind != "dict"]
    rng = scope.rng
    if present and rng.random() < (0.15 if fits else 0.5):
        return rng.choice(present)
    return rng.choice(sorted(fits) if fits and rng.random() < 0.8 else ["ints", "words", "ints", "range"])


def _element(scope: Scope, source: Variable) -> Variable:
    """The variable that a loop over this collection binds."""
    name = scope.first(source.singular[:1])
    return Variable(name, ELEMENTS[source.kind], filled=True, member=source.name)


def _range(scope: Scope, wanted: str) -> tuple[str, list[Variable], set[str]]:
    _count(scope, wanted, "range")
    rng = scope.rng
    index = Variable(scope.fresh(("i", "j", "step_no", "turn")), "int")
    if scope.loops:
        bounds = rng.choice(("2", "3", "1, 4"))
    elif rng.random() < 0.5:
        bounds = rng.choice(("3", "4", "1, 5", "0, 6, 2", "5"))
    else:
        source = variable(scope, "int", Filling())
        if not source.parameter:
            raise DeadEnd
        bounds = rng.choice((source.name, f"1, {source.name} + 1", f"{source.name}, 0, -2"))
    return f"for {index.name} in range({bounds}):", [index], set()


def _over_dict(scope: Scope, form: str, wanted: str) -> tuple[str, list[Variable], set[str]]:
    source = variable(scope, "dict", Filling(), filled=True)
    _count(scope, wanted, form)
    key_name, value_name = (*source.singular, "key", "value")[:2]
    key = Variable(scope.first((key_name, "key")), "str", filled=True, member=source.name)
    if form == "keys":
        return f"for {key.name} in {source.name}.keys():", [key], {source.name}
    value = Variable(scope.first((value_name, "value")), "int")
    if form == "values":
        return f"for {value.name} in {source.name}.values():", [value], {source.name}
    return f"for {key.name}, {value.name} in {source.name}.items():", [key, value], {source.name}


def _zip(scope: Scope, kind: str, wanted: str) -> tuple[str, list[Variable], set[str]]:
    filling = Filling()
    left = variable(scope, kind if kind in _SEQUENCES else "words", filling, filled=True)
    right = variable(scope, scope.rng.choice(("ints", "words", "ints")), filling, filled=True)
    _count(scope, wanted, "zip")
    one, two = _element(scope, left), _element(scope, right)
    header = f"for {one.name}, {two.name} in zip({left.name}, {right.name}):"
    return header, [one, two], {left.name, right.name}


def _if(scope: Scope, kinds: list[str], forms: tuple[Form, ...], *, chain: bool) -> None:
    rng = scope.rng
    first = test(scope)
    following = _second_test(scope, first) if chain else ""
    guarded, scope.guarded = scope.guarded, True
    outer = scope.open(f"if {first}:")
    nest(scope, kinds, forms)
    drain(scope)
    scope.close(outer)
    if chain:
        outer = scope.open(f"elif {following}:")
        _branch(scope, forms)
        scope.close(outer)
    if rng.random() < (0.7 if chain else 0.45) and not scope.returns:
        outer = scope.open("else:")
        _branch(scope, forms)
        scope.close(outer)
        bodies = [body for body in scope.block if isinstance(body, list)]
        if bodies[-1] in bodies[-2 - chain : -1]:  # nobody writes the same branch twice
            raise DeadEnd
    scope.guarded = guarded


def _second_test(scope: Scope, first: str) -> str:
    """The second condition of a chain: about the same number with another bound, or about something else."""
    head, comparison, bound = (*first.split(" "), "", "")[:3]
    if comparison in ("<", ">", ">=") and bound.isdecimal() and first.count(" ") == 2:
        if comparison != "<" and int(bound) < 3:
            return f"{head} == {int(bound) - (comparison == '>=')}"
        if comparison != ">=" and scope.rng.random() < 0.35:
            return f"{head} == {bound}"
        return f"{head} {comparison} {_looser(comparison, int(bound))}"
    for _ in range(5):
        second = test(scope)
        if second != first:
            return second
    raise DeadEnd


def _looser(comparison: str, bound: int) -> int:
    return bound + 3 if comparison == "<" else bound - 2


def _branch(scope: Scope, forms: tuple[Form, ...]) -> None:
    if scope.rng.random() < (0.6 if scope.uses < 2 else 0.25):
        use(scope, forms, keep=False)
        drain(scope)
    else:
        small_step(scope)


def _while(scope: Scope, kinds: list[str], forms: tuple[Form, ...]) -> None:
    """A loop with a condition; each kind of them ends after a few rounds whatever its body does."""
    makers = [_walk, _walk, _empty_queue, _from_both_ends]
    if scope.rng.random() < 0.2 or any(isinstance(part, Hole) and part.kind == "int" for part in forms[0].parts):
        makers = [_walk, _empty_queue, _count_down, _digits]
    maker = scope.rng.choice(makers)
    setup, header, bound, steps, frozen = maker(scope, _loop_kind(scope, forms))
    for line in setup:
        scope.emit(line)
    before = {found.name for found in scope.variables if found.frozen}
    for found in scope.variables:
        found.frozen |= found.name in frozen
    scope.loops += 1
    guarded, scope.guarded = scope.guarded, False
    outer = scope.open(header)
    for line, made in bound:
        if line:
            scope.emit(line)
        scope.add(made)
    _inside(scope, kinds, forms, skips=False)
    for line in steps:
        scope.emit(line)
    scope.close(outer)
    scope.loops -= 1
    scope.guarded = guarded
    for found in scope.variables:
        found.frozen = found.name in before


_Plan = tuple[list[str], str, list[tuple[str, Variable]], list[str], set[str]]
"""Lines before the loop, its header, what its body binds first, the steps at the body's end, what must not change."""


def _sequence(scope: Scope, kind: str) -> Variable:
    fitting = kind if kind in _SEQUENCES else "ints"
    return variable(scope, fitting, Filling(), filled=True)


def _walk(scope: Scope, kind: str) -> _Plan:
    """By index through a sequence."""
    source = _sequence(scope, kind)
    index = scope.fresh(("i", "j", "index", "position"))
    item = _element(scope, source)
    step = 2 if scope.rng.random() < 0.2 else 1
    scope.note("len")
    header = f"while {index} < len({source.name}):"
    bound = [("", Variable(index, "int")), (f"{item.name} = {source.name}[{index}]", item)]
    return [f"{index} = 0"], header, bound, [f"{index} += {step}"], {source.name}


def _empty_queue(scope: Scope, kind: str) -> _Plan:
    """Takes items off a copy until none is left."""
    source = _sequence(scope, "words" if kind == "str" else kind)
    queue = scope.fresh(("queue", "stack", "pending", "remaining"))
    item = _element(scope, source)
    taken = "pop()" if queue == "stack" or scope.rng.random() < 0.3 else "pop(0)"
    scope.note("pop")
    return [f"{queue} = list({source.name})"], f"while {queue}:", [(f"{item.name} = {queue}.{taken}", item)], [], set()


def _count_down(scope: Scope, kind: str) -> _Plan:
    """Makes a small number smaller."""
    source = variable(scope, "int", Filling())
    number = scope.fresh(("remaining", "left", "rounds", "budget"))
    step = scope.rng.choice(("-= 2", "-= 3", "//= 2", "//= 2"))
    start = f"{number} = {source.name}" if source.parameter else f"{number} = min({source.name}, 9)"
    return (
        [start],
        f"while {number} > {scope.rng.choice('001')}:",
        [("", Variable(number, "int"))],
        [f"{number} {step}"],
        set(),
    )


_ENDS = (("left", "right"), ("low", "high"), ("i", "j"))


def _from_both_ends(scope: Scope, kind: str) -> _Plan:
    """Two indices that approach one another."""
    source = _sequence(scope, kind)
    pairs = [
        pair
        for pair in (("left", "right"), ("low", "high"), ("i", "j"), ("start_at", "end_at"))
        if scope.taken.isdisjoint(pair)
    ]
    low, high = scope.rng.choice(pairs)
    scope.taken.update((low, high))
    one = ELEMENTS[source.kind]
    a, b = scope.first(("front", "head")), scope.first(("back", "tail"))
    scope.note("len")
    bound = [
        (f"{a}, {b} = {source.name}[{low}], {source.name}[{high}]", Variable(a, one, filled=True, member=source.name)),
        ("", Variable(b, one, filled=True, member=source.name)),
    ]
    setup = [f"{low}, {high} = 0, len({source.name}) - 1"]
    return setup, f"while {low} < {high}:", bound, [f"{low} += 1", f"{high} -= 1"], {source.name}


def _digits(scope: Scope, kind: str) -> _Plan:
    """The digits of a number, or its remainders, from the last."""
    source = variable(scope, "int", Filling())
    number = scope.fresh(("rest", "remaining", "quotient", "current"))
    digit = Variable(scope.fresh(("digit", "bit", "remainder")), "int")
    base = 2 if digit.name == "bit" else scope.rng.choice((2, 3))
    return (
        [f"{number} = abs({source.name})"],
        f"while {number} > 0:",
        [(f"{digit.name} = {number} % {base}", digit)],
        [f"{number} //= {base}"],
        set(),
    )
