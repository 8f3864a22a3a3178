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
    if isinstance(value, set) and value:
        return "{" + ", ".join(map(literal, sorted(value))) + "}"
    return repr(value)


def fitting(parameters: tuple[Parameter, ...], rng: Random) -> tuple[Any, ...]:
    """Arguments of the parameters' kinds: collections of three to six, small numbers, short texts."""
    made: dict[str, Any] = {}
    for parameter in sorted(parameters, key=lambda parameter: bool(parameter.member)):
        if parameter.member:
            made[parameter.name] = rng.choice(list(made[parameter.member]))
        else:
            made[parameter.name] = _VALUES[parameter.kind](rng)
    return tuple(made[parameter.name] for parameter in parameters)


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


_VALUES: dict[str, Any] = {
    "int": lambda rng: rng.randint(2, 9),
    "float": lambda rng: rng.randint(2, 60) / 4,
    "str": _text,
    "ints": _ints,
    "words": _words,
    "tuple": lambda rng: tuple(_ints(rng)),
    "set": lambda rng: set(rng.sample(range(1, 13), rng.randint(3, 5))),
    "dict": lambda rng: {word: rng.randint(1, 12) for word in rng.sample(_WORDS, rng.randint(3, 5))},
}
