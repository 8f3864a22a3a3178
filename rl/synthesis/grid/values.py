"""Arguments for generated programs: fitting ones, and mutations of any."""

from dataclasses import dataclass
from random import Random
from string import ascii_letters, digits
from typing import Any

_WORDS = (
    *("apple", "river", "stone", "maple", "tiger", "cloud", "Berlin", "oslo", "Paris", "lemon", "red", "green", "Blue"),
    *("north", "east", "tea", "sensor", "piano", "ant", "otter", "noon", "level", "radar", "Anna", "bob", "x1", "a2b"),
    *("data", "test", "item", "Note", "USA", "end", "start", "king", "letter", "moon", "2024", "42", "hello", "world"),
)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a generated program."""

    name: str
    kind: str
    """`int`, `float`, `str`, `ints`, `words`, `tuple`, `set` or `dict`, as in `forms.VALUES`."""
    member: str = ""
    """The parameter whose member its value is to be: a key of a dictionary, an item of a list."""


def literal(value: object) -> str:
    """The value as source; sets in ascending order, so that the text does not hang on their order of iteration."""
    match value:
        case set() if value:
            return "{" + ", ".join(map(literal, ordered(value))) + "}"
        case list():
            return "[" + ", ".join(map(literal, value)) + "]"
        case tuple():
            return "(" + ", ".join(map(literal, value)) + (",)" if len(value) == 1 else ")")
        case dict():
            return "{" + ", ".join(f"{literal(key)}: {literal(item)}" for key, item in value.items()) + "}"
        case _:
            return repr(value)


def ordered(values: set[Any]) -> list[Any]:
    """The items of a set in ascending order; by their text where not all of them can be compared."""
    try:
        return sorted(values)
    except TypeError:
        return sorted(values, key=repr)


def _fitting(parameters: tuple[Parameter, ...], rng: Random) -> tuple[Any, ...]:
    """Arguments of the parameters' kinds: collections of three to six, small numbers, short texts."""
    made: dict[str, Any] = {}
    for parameter in sorted(parameters, key=lambda parameter: bool(parameter.member)):
        if parameter.member:
            made[parameter.name] = rng.choice(list(made[parameter.member]))
        else:
            made[parameter.name] = _VALUES[parameter.kind](rng)
    return tuple(made[parameter.name] for parameter in parameters)


def inputs(parameters: tuple[Parameter, ...], rng: Random, k: int) -> list[tuple[Any, ...]]:
    """`k` argument tuples for a program with these parameters, all different where that many are found soon.

    Raises:
        ValueError: `k` is negative.
    """
    if k < 0:
        raise ValueError(f"k: {k} inputs, it must be 0 or more")
    found: dict[str, tuple[Any, ...]] = {}
    drawn = [_fitting(parameters, rng) for _ in range(k)]
    for arguments in drawn:
        for _ in range(10):
            if repr(arguments) not in found:
                break
            arguments = _fitting(parameters, rng)
        found.setdefault(repr(arguments), arguments)
    return (list(found.values()) + drawn)[:k]


def _text(rng: Random) -> str:
    shape = rng.random()
    if shape < 0.25:
        return rng.choice(_WORDS)
    if shape < 0.75:
        return rng.choice("- ,_ /:").join(rng.sample(_WORDS, rng.randint(2, 3)))
    if shape < 0.85:
        return f"  {rng.choice(_WORDS)} {rng.choice(_WORDS).upper()} "
    return rng.choice(_WORDS) + rng.choice(("!", "123", "ER", "-", " ", "aa", "\t-"))


def _words(rng: Random) -> list[str]:
    words = rng.sample(_WORDS, rng.randint(3, 5))
    if rng.random() < 0.3:
        words.append(rng.choice(words))
    return [word.upper() if rng.random() < 0.08 else word for word in words]


def _ints(rng: Random) -> list[int]:
    numbers = [rng.randint(0, 15) if rng.random() < 0.9 else -rng.randint(1, 9) for _ in range(rng.randint(3, 6))]
    if rng.random() < 0.35:
        numbers[-1] = numbers[0]
    return numbers


def _several(kind: str, rng: Random) -> list[Any]:
    """Three or four values of a kind, each cut to at most four elements."""
    made = [_VALUES[kind](rng) for _ in range(rng.randint(3, 4))]
    if kind == "set":
        return [set(sorted(value)[:4]) for value in made]
    return [dict(list(value.items())[:3]) if kind == "dict" else value[:4] for value in made]


_VALUES: dict[str, Any] = {
    "floats": lambda rng: [rng.randint(2, 60) / 4 for _ in range(rng.randint(3, 5))],
    "sets": lambda rng: _several("set", rng),
    "tuples": lambda rng: _several("tuple", rng),
    "dicts": lambda rng: _several("dict", rng),
    "rows": lambda rng: _several("ints", rng),
    "lists": lambda rng: _several("words", rng),
    "int": lambda rng: rng.randint(2, 9),
    "float": lambda rng: rng.randint(2, 60) / 4,
    "str": _text,
    "ints": _ints,
    "words": _words,
    "tuple": lambda rng: tuple(_ints(rng)),
    "set": lambda rng: set(rng.sample(range(1, 13), rng.randint(3, 5))),
    "dict": lambda rng: {word: rng.randint(1, 12) for word in rng.sample(_WORDS, rng.randint(3, 5))},
}

POOL_INTS, POOL_STRINGS = (5, 20), (5, 15)
"""Sizes of the pools that mutation draws from (ExecVerify, `data/input_synthesis.py`): integers, strings."""
LONGER_THAN = 5
"""Mutated collections and strings have more elements than this (same source)."""


def mutate(arguments: tuple[Any, ...], rng: Random) -> tuple[Any, ...]:
    """Other arguments of the same types, made from these by rule.

    One or all of them are changed: elements replaced, more of them, in another order, a number set to a boundary; or two
    arguments of one type change places. New numbers and strings come from random pools. Then every argument that is a
    collection or a string has more than five elements, but a string that another argument holds, since it is mostly
    looked for there, a set or a dictionary whose kind of elements gives no more, and an empty dictionary.
    """
    made = arguments
    for _ in range(_TRIES):
        made = _mutation(arguments, rng)
        if made != arguments:
            break
    return made


_TRIES = 8
"""An element may be replaced by its like, or two equal ones change places: then it is tried again."""


def _mutation(arguments: tuple[Any, ...], rng: Random) -> tuple[Any, ...]:
    pool = Pool(rng)
    places = [number for number in range(len(arguments)) if not isinstance(arguments[number], bool)]
    twins = [(a, b) for a in places for b in places if a < b and type(arguments[a]) is type(arguments[b])]
    changed = list(arguments)
    if twins and rng.random() < 0.1:
        a, b = rng.choice(twins)
        changed[a], changed[b] = changed[b], changed[a]
    else:
        for place in places if rng.random() < 0.5 else rng.sample(places, min(1, len(places))):
            changed[place] = _mutated(changed[place], pool)
    return tuple(
        value if _is_held(value, (*changed[:place], *changed[place + 1 :])) else _long(value, pool)
        for place, value in enumerate(changed)
    )


def _is_held(value: Any, others: tuple[Any, ...]) -> bool:
    """Whether a string is an element or a part of another argument."""
    return isinstance(value, str) and any(
        value in other for other in others if isinstance(other, str | list | tuple | set | dict)
    )


class Pool:
    """Numbers and strings that mutated inputs draw on."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.ints = [rng.randint(-20, 60) for _ in range(rng.randint(*POOL_INTS))]
        self.strings = [self._string() for _ in range(rng.randint(*POOL_STRINGS))]

    def _string(self) -> str:
        """Half of them alphanumeric, two in five one character repeated, one in ten with punctuation."""
        rng, shape = self.rng, self.rng.random()
        if shape < 0.5:
            return "".join(rng.choices(ascii_letters + digits, k=rng.randint(5, 10)))
        if shape < 0.9:
            return rng.choice(ascii_letters + digits) * rng.randint(5, 15)
        return "".join(rng.choices(ascii_letters + "!?.,;:-_ ", k=rng.randint(5, 10)))

    def like(self, value: Any) -> Any:
        """Another value of this one's type."""
        match value:
            case bool():
                return not value
            case int():
                return self.rng.choice(self.ints)
            case float():
                return self.rng.choice(self.ints) / 4
            case str():
                return self.rng.choice(self.strings)
            case tuple() | list() | set() | dict():
                return self._inside(value)
            case _:
                return value

    def _inside(self, value: Any) -> Any:
        """A collection with other values in it, as many, so that pairs stay pairs; what lies deeper stays as it is."""

        def other(item: Any) -> Any:
            return item if isinstance(item, tuple | list | set | dict) else self.like(item)

        match value:
            case dict():
                return {key: other(item) for key, item in value.items()}
            case set():
                return {other(item) for item in ordered(value)}
            case _:
                return type(value)(other(item) for item in value)


def _mutated(value: Any, pool: Pool) -> Any:
    """This value changed by one rule, its type kept."""
    rng = pool.rng
    match value:
        case bool() | None:
            return pool.like(value)
        case int() | float():
            return type(value)(
                rng.choice((0, 1, -1, -value, value + 1, value * 2)) if rng.random() < 0.3 else pool.like(value)
            )
        case str():
            return _mutated_text(value, pool)
        case list() | tuple():
            return type(value)(_mutated_items(list(value), pool))
        case set():
            return set(_mutated_items(ordered(value), pool))
        case dict():
            return _mutated_mapping(value, pool)
        case _:
            return value


def _mutated_text(text: str, pool: Pool) -> str:
    rng = pool.rng
    match _rule(rng):
        case "grow":
            return text + rng.choice(("", " ", "-")) + rng.choice(pool.strings)
        case "order":
            return text[::-1]
        case _:
            return rng.choice(pool.strings)


def _mutated_items(items: list[Any], pool: Pool) -> list[Any]:
    """The items of a collection changed; new ones are like those it has."""
    rng = pool.rng
    match _rule(rng):
        case "grow":
            return _grown(items, pool)
        case "order":
            return rng.sample(items, len(items))
        case _:
            changed = list(items)
            for place in rng.sample(range(len(items)), (len(items) + 1) // 2):
                changed[place] = pool.like(changed[place])
            return changed


def _mutated_mapping(mapping: dict[Any, Any], pool: Pool) -> dict[Any, Any]:
    """Keys are kept where the values change, so that look-ups by them still succeed."""
    match _rule(pool.rng):
        case "grow":
            return _grown_mapping(mapping, pool)
        case "order":
            return {key: mapping[key] for key in reversed(mapping)}
        case _:
            return {key: pool.like(item) for key, item in mapping.items()}


def _rule(rng: Random) -> str:
    return rng.choices(("grow", "change", "order"), (3, 2, 1))[0]


def _long(value: Any, pool: Pool) -> Any:
    """This value with more than five elements, if it can have them; what it holds stays."""
    if not isinstance(value, str | list | tuple | set | dict) or len(value) > LONGER_THAN:
        return value
    match value:
        case str():
            while len(value) <= LONGER_THAN:
                value += pool.rng.choice(pool.strings)
            return value
        case dict():
            return _grown_mapping(value, pool)
        case set():
            return set(_grown(ordered(value), pool, different=True))
        case _:
            return type(value)(_grown(list(value), pool))


def _grown(items: list[Any], pool: Pool, *, different: bool = False) -> list[Any]:
    """The items and more like them, numbers where there are none; more than five, if there are so many different ones."""
    grown, wanted = list(items), max(LONGER_THAN, len(items)) + 1 + pool.rng.randint(0, 2)
    for _ in range(_TRIES * wanted):
        if len(grown) >= wanted:
            break
        item = pool.like(pool.rng.choice(items) if items else 0)
        if different and item in grown:
            pool = Pool(pool.rng)
        else:
            grown.append(item)
    return grown


def _grown_mapping(mapping: dict[Any, Any], pool: Pool) -> dict[Any, Any]:
    """The mapping and more items like its first; more than five, if there are so many different keys."""
    keys = list(mapping)
    new = _grown(keys, pool, different=True) if keys else []
    return mapping | {key: pool.like(mapping[keys[0]]) for key in new[len(keys) :]}
