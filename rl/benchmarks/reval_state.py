"""REval's state and output answers as texts: how they are read officially, and how strictly.

Strict reading takes literals alone: they are compared outside the sandbox, with their exact types.
"""

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rl.answers import UnreadableAnswer, literal, same
from rl.benchmarks.reval import answer_text

_STRAIGHT = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"'})
_NAMES = {"string": "str", "integer": "int", "none": "nonetype"}
_GAP = "_gap_"


@dataclass(frozen=True, slots=True)
class StateAnswer:
    """A value and its type as the answer states them, cleaned; both None for `Nil`."""

    value: str | None
    kind: str | None

    @property
    def is_nil(self) -> bool:
        """Whether the answer says that the variable has no value."""
        return self.value is None


NIL = StateAnswer(None, None)


def state_answer(response: str) -> StateAnswer | None:
    """Reads `VALUE; TYPE` or `Nil`; None for anything else, which is wrong.

    The last `;` parts the two. A type may stand in `<class '..'>` and have parameters, which are dropped, or be called
    string or integer; one with a comma is a tuple. It is taken in lower case.
    """
    text = answer_text(response.translate(_STRAIGHT))
    if text.capitalize() == "Nil" or text == "[Nil]":
        return NIL
    value, parted, kind = (part.strip() for part in text.rpartition(";"))
    if not parted:
        return None
    if value.capitalize() == "Nil":
        return NIL
    kind = kind.lower()
    for wrapping in (r"<class '(.*)'>", r"(.*)\[.*\]"):
        wrapped = re.match(wrapping, kind)
        kind = wrapped[1] if wrapped else kind
    kind = _NAMES.get(kind, kind)
    return StateAnswer(value, "tuple" if "," in kind or "tuple" in kind else kind)


def state_is_exact(answer: StateAnswer | None, values: Sequence[tuple[str, str]] | None) -> bool:
    """Whether the answer is one of the values, given as type and `repr`: the same literal of the same type.

    A value that no literal stands for is compared as text.
    """
    if answer is None or answer.value is None or answer.kind is None:
        return answer is not None and values is None
    return any(_is(answer.value, answer.kind, kind, text) for kind, text in values or ())


def _is(value: str, kind: str, actual_kind: str, actual: str) -> bool:
    if kind not in (actual_kind.lower(), actual_kind.lower().rpartition(".")[2]):
        return False
    try:
        right = literal(actual)
    except UnreadableAnswer:
        return value == actual
    try:
        return same(literal(value), right)
    except UnreadableAnswer:
        return False


def filled_gaps(completed: str, assertion: str) -> list[str] | None:
    """The literals that a completed test puts in the place of the given test's `??`.

    Returns:
        Their source, rebuilt from what was parsed; None where the test differs from the given one in anything else, or
        fills a gap with no literal.
    """
    try:
        given, said = (ast.parse(text.replace("??", _GAP)) for text in (assertion, completed))
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    gaps: list[str] = []
    return gaps if _fits(given, said, gaps) else None


def with_gaps_filled(assertion: str, values: Sequence[str]) -> str:
    """The given test with these texts in place of its `??`, in order."""
    parts = assertion.split("??")
    return "".join(part + value for part, value in zip(parts, [*values, ""], strict=True))


def _fits(given: object, said: object, gaps: list[str]) -> bool:
    """Whether two trees are the same but for the gaps, which are collected."""
    if isinstance(given, ast.Name) and given.id == _GAP:
        try:
            gaps.append(repr(literal(ast.unparse(said) if isinstance(said, ast.expr) else "")))
        except (UnreadableAnswer, ValueError, RecursionError):
            return False
        return True
    if type(given) is not type(said):
        return False
    if isinstance(given, ast.AST):
        return all(_fits(getattr(given, name, None), getattr(said, name, None), gaps) for name in given._fields)
    if isinstance(given, list) and isinstance(said, list):
        return len(given) == len(said) and all(_fits(one, other, gaps) for one, other in zip(given, said, strict=True))
    return given == said
