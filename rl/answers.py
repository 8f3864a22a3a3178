"""Reading and comparing values that models write: parsed, never executed, and compared with their exact types."""

import ast
import math
import re

MAX_LENGTH = 65_536
"""Longest text that is parsed, in characters: parsing time grows with length alone."""


class UnreadableAnswer(ValueError):
    """A text that is not one Python literal, or not one call with literal arguments."""


def _parse(text: str) -> ast.expr:
    if len(text) > MAX_LENGTH:
        raise UnreadableAnswer(f"longer than {MAX_LENGTH} characters")
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise UnreadableAnswer(f"not a Python expression: {error}") from None


def _value(node: ast.expr) -> object:
    try:
        value: object = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise UnreadableAnswer(f"not a literal: {error}") from None
    return value


def literal(text: str) -> object:
    """The value of a Python literal.

    Raises:
        UnreadableAnswer: the text is anything else, too long or too deep.
    """
    return _value(_parse(text))


def one_call(text: str, entry: str) -> ast.Call:
    """Read a proposed input, either `1, [2]` or `f(1, [2])`, as one call of `entry`; its arguments may be expressions.

    Raises:
        UnreadableAnswer: the text is not exactly one such call (`f(1) if 0 else 2`, `f(1) or True`, ..).
    """
    whole = re.match(rf"\s*{re.escape(entry)}\s*\(", text)
    call = _parse(text if whole else f"{entry}({text})")
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == entry):
        raise UnreadableAnswer(f"not one call of {entry}")
    if any(keyword.arg is None for keyword in call.keywords):
        raise UnreadableAnswer("arguments are unpacked")
    return call


def literal_call(text: str, entry: str) -> str:
    """Read a proposed input as one call of `entry` with literal arguments.

    Returns:
        The call as source, rebuilt from the parsed arguments, so that nothing else of the text survives.

    Raises:
        UnreadableAnswer: it is no such call, or an argument is no literal.
    """
    call = one_call(text, entry)
    for argument in [*call.args, *(keyword.value for keyword in call.keywords)]:
        _value(argument)
    return source(call)


def source(node: ast.expr) -> str:
    """An expression as text.

    Raises:
        UnreadableAnswer: it is nested too deeply, or holds an `int` of more digits than Python writes.
    """
    try:
        return ast.unparse(node)
    except (ValueError, RecursionError) as error:
        raise UnreadableAnswer(f"cannot be written: {error}") from None


def same_value_text(recorded: str, output: str) -> bool:
    """Whether a recorded output, in whatever spacing, quotes and order of a set, is the value that `output` shows."""
    try:
        return same(literal(recorded), literal(output))
    except UnreadableAnswer:
        return recorded.strip() == output


def same(left: object, right: object) -> bool:
    """Equality with exact types all the way down: `True` is not `1`, `1` is not `1.0`.

    Two nan are the same, and `-0.0` is not `0.0`: both sides must print alike.
    """
    if type(left) is not type(right):
        return False
    if isinstance(left, float) and isinstance(right, float):
        if math.isnan(left) or math.isnan(right):
            return math.isnan(left) and math.isnan(right)
        return left == right and math.copysign(1.0, left) == math.copysign(1.0, right)
    if isinstance(left, list | tuple) and isinstance(right, list | tuple):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        twins = {key: _twin(key, right) for key in left}
        return len(left) == len(right) and all(
            twin is not _ABSENT and same(left[key], right[twin]) for key, twin in twins.items()
        )
    if isinstance(left, set | frozenset) and isinstance(right, set | frozenset):
        return len(left) == len(right) and all(_twin(item, right) is not _ABSENT for item in left)
    return left == right


_ABSENT = object()


def _twin(item: object, among: dict[object, object] | set[object] | frozenset[object]) -> object:
    """The member of `among` that is `same` as `item`."""
    return next((other for other in among if same(item, other)), _ABSENT)
