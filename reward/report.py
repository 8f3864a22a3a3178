"""What a child says of its own run, read with distrust: the program it ran could write anything to the same pipe."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from reward.zygote.interception import MAX_STATES
from reward.zygote.program import MAX_MESSAGE, MAX_NAME
from rl.verdicts import Verdict

_VERDICTS = {verdict.value: verdict for verdict in (Verdict.OK, Verdict.EXCEPTION, Verdict.MEMORY, Verdict.OUTPUT_LIMIT)}
"""What a child can know of itself; the rest is for the zygote to see."""
_FIELDS = ("verdict", "value", "type_name", "exception", "states")
_NAMES = frozenset(_FIELDS)
_IN_NO_NAME = re.compile("[\0\ud800-\udfff]")
"""Characters that Python lets no class have in its name."""


@dataclass(frozen=True, slots=True)
class Report:
    """A report of the right shape and size. That it is true nobody can promise."""

    verdict: Verdict
    value: str | None
    type_name: str | None
    exception: str | None
    states: tuple[str, ...]


def read(raw: bytes, max_characters: int, called: bool) -> Report | None:
    """The report in `raw`, or None where that is not exactly one report of the shape and size a child sends.

    `max_characters` bounds the value, and all states together. `called` says whether a value was asked for.
    """
    return _read(_parsed(raw), max_characters, called)


def read_together(raw: bytes, max_characters: int, called: Sequence[bool]) -> list[tuple[Report, str] | None]:
    """The reports of programs that ran one after the other, each with what it printed; None of one that must run alone.

    That are all of them where `raw` is not a list of as many reports as a child sends.
    """
    told = _parsed(raw)
    if not isinstance(told, list) or len(told) != len(called):
        return [None] * len(called)
    return [_with_stdout(one, max_characters, asked) for one, asked in zip(told, called, strict=True)]


def _parsed(raw: bytes) -> object:
    try:
        return json.loads(raw.decode("ascii"))
    except (ValueError, RecursionError):
        return None


def _with_stdout(told: object, max_characters: int, called: bool) -> tuple[Report, str] | None:
    stdout = told.pop("stdout", None) if isinstance(told, dict) else None
    found = _read(told, max_characters, called)
    if found is None or found.verdict is not Verdict.OK or not isinstance(stdout, str) or len(stdout) > max_characters:
        return None
    return found, stdout


def _read(told: object, max_characters: int, called: bool) -> Report | None:
    if not isinstance(told, dict) or told.keys() != _NAMES:
        return None
    verdict, value, type_name, exception, states = (told[name] for name in _FIELDS)
    if not isinstance(verdict, str) or verdict not in _VERDICTS:
        return None
    if not (_text(value, max_characters) and _text(type_name, MAX_NAME) and _text(exception, MAX_NAME + 2 + MAX_MESSAGE)):
        return None
    if type_name is not None and _IN_NO_NAME.search(type_name):
        return None
    with_value, with_exception = called and verdict == Verdict.OK, verdict in (Verdict.EXCEPTION, Verdict.MEMORY)
    if (value is not None, type_name is not None, exception is not None) != (with_value, with_value, with_exception):
        return None
    if not isinstance(states, list) or len(states) > MAX_STATES or not all(isinstance(state, str) for state in states):
        return None
    if sum(map(len, states)) > max_characters:
        return None
    return Report(_VERDICTS[verdict], value, type_name, exception, tuple(states))


def _text(value: object, max_characters: int) -> bool:
    return value is None or (isinstance(value, str) and len(value) <= max_characters)
