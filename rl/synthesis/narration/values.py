"""How values are shown in a sentence, and when two of them are the same."""

import ast
import math
import re
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass
from functools import lru_cache

from rl.answers import UnreadableAnswer, literal, same

CAP = 72
"""Characters of a value in a sentence; a longer one is abbreviated. The print blocks have it whole."""

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_MOST_ITEMS = 1_000
_HEAD, _TAIL = 40, 16
_DEEPEST = 20
_PLAIN = (str, bytes, int, float, bool, complex, type(None))
_BY_REPR = (range, Counter, OrderedDict, defaultdict, deque)


class Unshowable(ValueError):
    """A value without a text of its own: a function, an iterator, an object that holds itself."""

    def __init__(self, why: str, kind: type = object) -> None:
        super().__init__(why)
        self.kind = kind


def text_of(value: object, depth: int = 0) -> str:
    """The value as source; elements of sets in a fixed order, whatever the interpreter's hash seed: numbers ascend.

    Raises:
        Unshowable: it has no such text.
    """
    if depth > _DEEPEST:
        raise Unshowable("nested too deeply")
    kind = type(value)
    if kind in _PLAIN:
        return repr(value)
    if isinstance(value, list | tuple | dict | set | frozenset | deque) and len(value) > _MOST_ITEMS:
        raise Unshowable("too many items")
    if isinstance(value, list | tuple) and kind in (list, tuple):
        items = [text_of(item, depth + 1) for item in value]
        if kind is list:
            return f"[{', '.join(items)}]"
        return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"
    if isinstance(value, dict) and kind is dict:
        pairs = (f"{text_of(key, depth + 1)}: {text_of(item, depth + 1)}" for key, item in value.items())
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, set | frozenset) and kind in (set, frozenset):
        numbers = all(type(item) is int or (type(item) is float and math.isfinite(item)) for item in value)
        inside = ", ".join(text_of(item, depth + 1) for item in sorted(value, key=None if numbers else text_of))
        whole = f"{{{inside}}}" if inside else ""
        return whole if kind is set and whole else f"{kind.__name__}({whole})"
    if kind in _BY_REPR and is_ordered(value):
        return repr(value)
    raise Unshowable(kind.__name__, kind)


def shown(value: object) -> str | None:
    """The value for a sentence, abbreviated if long; None where it has no text."""
    try:
        return abbreviated(text_of(value))
    except Unshowable:
        return None


def abbreviated(text: str, cap: int = CAP) -> str:
    """A text cut in its middle if it is longer than `cap` characters, with its length."""
    return text if len(text) <= cap else f"{text[:_HEAD]}...{text[-_TAIL:]} ({len(text)} characters)"


@dataclass(frozen=True, slots=True)
class Insert:
    """A value as source that can stand in the place of a name."""

    text: str
    """As `ast.unparse` writes it where nothing has to stand around it."""
    kind: str
    """What of it decides how the text around it is written; its own text where that is not known."""


def insertable(value: object) -> Insert | None:
    """The value to stand in the place of a name; None where it is long or has no literal."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    try:
        text = text_of(value)
        if len(text) <= CAP // 2 and type(value) not in _BY_REPR:
            return _insert(text)
    except (Unshowable, UnreadableAnswer):
        pass
    return None


@lru_cache(maxsize=4096)
def _insert(text: str) -> Insert:
    """A literal's text, to stand in the place of a name. Raises UnreadableAnswer where it is none."""
    literal(text)
    expression = ast.parse(text, mode="eval").body
    written = ast.unparse(expression)
    match expression:
        case ast.Constant(value=int()):
            return Insert(written, "int")
        case ast.Constant() | ast.List() | ast.Dict() | ast.Set() | ast.Call():
            return Insert(written, "atom")
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant()):
            return Insert(written, "negative")
        case ast.Tuple(elts=[_, *_]):
            return Insert(written, "tuple")
    return Insert(written, written)


def is_ordered(value: object, depth: int = 0) -> bool:
    """Whether its text is the same under every hash seed: no set in it but of ints."""
    if depth > _DEEPEST:
        return False
    if isinstance(value, set | frozenset):
        return all(type(item) in (int, bool) for item in value)
    if isinstance(value, dict):
        return all(is_ordered(part, depth + 1) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple | deque):
        return all(is_ordered(item, depth + 1) for item in value)
    return True


def is_stand_in(value: object) -> bool:
    """Whether there is something in it that the walk has in the place of Python's own: a function, a module."""
    try:
        text_of(value)
    except Unshowable as reason:
        return reason.kind.__module__.startswith(f"{__package__}.")
    return False


def is_value(value: object, recorded: str) -> bool:
    """Whether a value is the one whose `repr` was recorded."""
    try:
        if is_ordered(value):
            text = repr(value) if type(value) in _BY_REPR else text_of(value)
            if text == recorded:
                return True
        return same(value, literal(recorded))
    except Unshowable:  # an iterator, a view: its text says what kind it is
        return _ADDRESS.sub("", repr(value)) == _ADDRESS.sub("", recorded)
    except UnreadableAnswer:
        return False
