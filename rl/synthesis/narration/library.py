"""The built-ins and methods that the interpreter may call: by allow-list, on exact built-in types, and never at great cost.

Nothing here reaches files, processes, names or attributes. What a program does beyond it is `NoRule`.
"""

import math
import operator
import re
import string
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rl.synthesis.narration.values import is_ordered

LARGEST = 100_000
"""Items of a container, characters of a string, rounds of a `range`."""

_WIDEST_INT = 20_000
"""Bits."""


class NoRule(Exception):
    """The program does something that the interpreter does not know, or that costs too much."""


class Raised(Exception):
    """The program raised an exception."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True, slots=True)
class Builtin:
    """A built-in function, by name."""

    name: str


@dataclass(frozen=True, slots=True)
class Method:
    """A method of a value, or of a type (`str.upper`)."""

    receiver: Any
    name: str


@dataclass(frozen=True, slots=True)
class Module:
    """A module the program imported, by name."""

    name: str


_TYPES = (bool, bytes, complex, dict, enumerate, filter, float, frozenset, int, list, map, object, range)
_MORE_TYPES = (reversed, set, slice, str, tuple, type, zip)
TYPES: dict[str, type] = {kind.__name__: kind for kind in (*_TYPES, *_MORE_TYPES)}

_ERRORS = (ArithmeticError, AssertionError, AttributeError, Exception, IndexError, KeyError, LookupError, NameError)
_MORE_ERRORS = (OverflowError, RuntimeError, StopIteration, TypeError, UnicodeError, ValueError, ZeroDivisionError)
EXCEPTIONS: dict[str, type[Exception]] = {kind.__name__: kind for kind in (*_ERRORS, *_MORE_ERRORS)}

_FUNCTIONS = (abs, all, any, bin, chr, divmod, format, hex, isinstance, issubclass, iter, len, max, min, next, oct)
_MORE_FUNCTIONS = (ord, pow, repr, round, sorted, sum)
FUNCTIONS: dict[str, Callable[..., Any]] = {function.__name__: function for function in (*_FUNCTIONS, *_MORE_FUNCTIONS)}

_MATH = "ceil floor sqrt gcd lcm isqrt log log2 log10 pi e inf prod trunc fabs hypot pow"
_STRING = "ascii_letters ascii_lowercase ascii_uppercase digits hexdigits octdigits punctuation whitespace"
MODULES: dict[str, dict[str, Any]] = {
    "math": {name: getattr(math, name) for name in _MATH.split()},
    "string": {name: getattr(string, name) for name in _STRING.split()},
    "collections": {kind.__name__: kind for kind in (Counter, OrderedDict, defaultdict, deque)},
}
"""What may be imported: these members, and no module as such."""

PURE = frozenset(item for item in MODULES["math"].values() if callable(item))

_COLLECTION_TYPES = frozenset({Counter, OrderedDict, defaultdict, deque})

_DICT = "clear copy get items keys pop popitem setdefault update values fromkeys"
_SET = (
    "copy difference intersection isdisjoint issubset issuperset symmetric_difference union add clear discard pop remove "
    "update difference_update intersection_update symmetric_difference_update"
)
METHODS: dict[type, frozenset[str]] = {
    kind: frozenset(names.split())
    for kind, names in {
        str: "capitalize casefold center count encode endswith expandtabs find format index isalnum isalpha isascii "
        "isdecimal isdigit isidentifier islower isnumeric isprintable isspace istitle isupper join ljust lower lstrip "
        "partition replace removeprefix removesuffix rfind rindex rjust rpartition rsplit rstrip split splitlines "
        "startswith strip swapcase title translate upper zfill maketrans",
        list: "append clear copy count extend index insert pop remove reverse sort",
        tuple: "count index",
        dict: _DICT,
        defaultdict: _DICT,
        OrderedDict: f"{_DICT} move_to_end",
        Counter: f"{_DICT} most_common elements subtract total",
        deque: "append appendleft clear copy count extend extendleft index insert pop popleft remove reverse rotate",
        set: _SET,
        frozenset: _SET,
        bytes: "decode hex",
        int: "bit_length bit_count conjugate",
        float: "is_integer",
    }.items()
}

BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "Add": operator.add,
    "Sub": operator.sub,
    "Mult": operator.mul,
    "Div": operator.truediv,
    "FloorDiv": operator.floordiv,
    "Mod": operator.mod,
    "Pow": operator.pow,
    "LShift": operator.lshift,
    "RShift": operator.rshift,
    "BitOr": operator.or_,
    "BitXor": operator.xor,
    "BitAnd": operator.and_,
}
INPLACE: dict[str, Callable[[Any, Any], Any]] = {
    "Add": operator.iadd,
    "Mult": operator.imul,
    "Sub": operator.isub,
    "BitOr": operator.ior,
    "BitXor": operator.ixor,
    "BitAnd": operator.iand,
}
COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "Eq": operator.eq,
    "NotEq": operator.ne,
    "Lt": operator.lt,
    "LtE": operator.le,
    "Gt": operator.gt,
    "GtE": operator.ge,
    "In": lambda item, box: item in box,
    "NotIn": lambda item, box: item not in box,
}

_WIDE_FORMAT = re.compile(r"\d{4,}")
_PADDING = frozenset({"center", "ljust", "rjust", "zfill", "expandtabs"})
_ORDER_FREE = frozenset({"len", "set", "frozenset", "any", "all", "isinstance", "bool"})
_ORDER_FREE_WITHOUT_KEY = frozenset({"sorted", "min", "max"})
_BY_ORDER = frozenset({"pop", "join", "extend", "update", "fromkeys", "extendleft"})


def member(module: str, name: str) -> Any:
    """What `from MODULE import NAME` gives.

    Raises:
        NoRule: it is not on the list.
    """
    if name not in MODULES.get(module, ()):
        raise NoRule(f"{module}.{name}")
    return MODULES[module][name]


def perform(function: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """Calls what the program calls; an exception is the program's own.

    Raises:
        Raised: the call raised.
        NoRule: the result is too large.
    """
    try:
        result = function(*args, **named)
    except (NoRule, Raised, RecursionError, MemoryError):
        raise
    except Exception as error:  # the program's own exception, whatever it is: `[][0]`, `int("x")`
        raise Raised(error) from None
    check_size(result)
    return result


def check_size(value: object) -> None:
    """Refuses what has grown too large.

    Raises:
        NoRule: the value has.
    """
    if isinstance(value, str | bytes | list | tuple | dict | set | frozenset | range | deque) and len(value) > LARGEST:
        raise NoRule("a value that is too large")
    if isinstance(value, int) and value.bit_length() > _WIDEST_INT:
        raise NoRule("an int that is too large")


def binary(operation: str, left: Any, right: Any, inplace: bool = False) -> Any:
    """`left OP right`, or the augmented assignment's value.

    Raises:
        NoRule, Raised: as `perform`.
    """
    _check_cost(operation, left, right)
    table = INPLACE if inplace and operation in INPLACE else BINARY
    if operation not in table:
        raise NoRule(f"the operator {operation}")
    return perform(table[operation], left, right)


def _check_cost(operation: str, left: Any, right: Any) -> None:
    if operation == "Mult":
        for box, times in ((left, right), (right, left)):
            if isinstance(times, int) and isinstance(box, str | bytes | list | tuple | deque) and len(box) * times > LARGEST:
                raise NoRule("a repetition that is too long")
    elif operation == "Pow" and isinstance(left, int) and isinstance(right, int):
        if left.bit_length() * right > _WIDEST_INT:
            raise NoRule("a power that is too large")
    elif operation == "LShift" and isinstance(right, int) and right > _WIDEST_INT:
        raise NoRule("a shift that is too large")
    elif operation == "Mod" and isinstance(left, str | bytes):
        template = left if isinstance(left, str) else left.decode("latin-1")
        if _WIDE_FORMAT.search(template) or "*" in template or not is_ordered(right):
            raise NoRule("a format that is too wide")


def formatted(value: Any, conversion: int, spec: str) -> str:
    """What `{value!conversion:spec}` gives in an f-string.

    Raises:
        NoRule, Raised: as `perform`; the value has no text of its own.
    """
    check_text(value)
    if _WIDE_FORMAT.search(spec):
        raise NoRule("a format that is too wide")
    conversions: dict[int, Callable[[Any], str]] = {ord("r"): repr, ord("s"): str, ord("a"): ascii}
    made = conversions[conversion](value) if conversion in conversions else value
    text: str = perform(format, made, spec)
    return text


def check_text(value: Any) -> None:
    """Refuses a value whose text depends on the process: addresses, and sets in the order of their hashes.

    Raises:
        NoRule: it is one.
    """
    kinds = (str, bytes, int, float, bool, complex, type(None), list, tuple, dict, set, frozenset, range)
    if type(value) not in (*kinds, *_COLLECTION_TYPES):
        raise NoRule("the text of an object")
    if not is_ordered(value):
        raise NoRule("the order of a set")
    if isinstance(value, list | tuple | dict):
        for part in value.items() if isinstance(value, dict) else value:
            check_text(part)


def check_order(value: Any) -> None:
    """Refuses to walk through a set whose order depends on the hash seed.

    Raises:
        NoRule: it is one.
    """
    if isinstance(value, set | frozenset) and not is_ordered(value):
        raise NoRule("the order of a set")


def check_function(name: str, args: Sequence[Any], named: Mapping[str, Any]) -> None:
    """Refuses calls of built-ins that cost too much or depend on the process.

    Raises:
        NoRule: this is one.
    """
    if name in ("repr", "str", "format"):
        for arg in args:
            check_text(arg)
        if name == "format" and any(_WIDE_FORMAT.search(str(spec)) for spec in args[1:]):
            raise NoRule("a format that is too wide")
    if name == "pow" and len(args) == 2:
        _check_cost("Pow", *args)
    if name == "iter" and len(args) == 2:
        raise NoRule("an iterator without an end in sight")
    if name == "bytes" and args and isinstance(args[0], int) and args[0] > LARGEST:
        raise NoRule("a value that is too large")
    if name == "defaultdict" and args and not (args[0] is None or isinstance(args[0], type)):
        raise NoRule("a factory of the program")
    if name == "type" and len(args) != 1:
        raise NoRule("a new class")
    free = name in _ORDER_FREE or (name in _ORDER_FREE_WITHOUT_KEY and "key" not in named)
    if not free:
        for arg in (*args, *named.values()):
            check_order(arg)


def check_method(receiver: Any, name: str, args: Sequence[Any], named: Mapping[str, Any]) -> None:
    """Refuses methods off the list, and calls that cost too much or depend on the process.

    Raises:
        NoRule: this is one.
    """
    if name in _BY_ORDER and not isinstance(receiver, set | frozenset):
        for arg in args:
            check_order(arg)
    if name == "pop":
        check_order(receiver)
    if isinstance(receiver, str):
        _check_string_method(receiver, name, args, named)


def _check_string_method(receiver: str, name: str, args: Sequence[Any], named: Mapping[str, Any]) -> None:
    if name in _PADDING and any(isinstance(arg, int) and arg > 1000 for arg in args):
        raise NoRule("a padding that is too wide")
    if name == "replace" and len(args) >= 2 and isinstance(args[1], str) and (len(receiver) + 1) * len(args[1]) > LARGEST:
        raise NoRule("a value that is too large")
    if name == "join" and len(receiver) * len(args[0] if args and isinstance(args[0], list | tuple | str) else "") > LARGEST:
        raise NoRule("a value that is too large")
    if name == "format":
        for arg in (*args, *named.values()):
            check_text(arg)
        if _WIDE_FORMAT.search(receiver) or re.search(r"\{[^{}]*[.\[{]", receiver):
            raise NoRule("a format that reads attributes or is too wide")
