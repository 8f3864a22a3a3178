"""How REval judges an answer next to the objects of the run it is about; `reward.reval` sends this file's text into the
sandbox, behind that of `reval_tracer.py`. Standard library only, and numpy where the sandbox has it.

Answers are executed here, as officially, but never outside the sandbox.
"""

import json
import pydoc
import re
import sys
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

_NEAR = 1e-6
_UNREADABLE = (object(), object)


def state_holds(value: object, kind: type, actual: Sequence[Any] | None) -> bool:
    """Whether a value of a type is one of those seen after the line; None stands for a variable that has none.

    The type must be exactly that of one value seen and of the answer's own value. Floats are compared within 1e-6, arrays
    as numpy's `allclose` does.
    """
    if actual is None or type(value) is not kind or not any(type(seen) is kind for seen in actual):
        return False
    if isinstance(value, float) and kind is float:
        return any(isinstance(seen, float) and abs(value - seen) < _NEAR for seen in actual)
    try:
        return value in actual
    except (TypeError, ValueError):  # Two arrays have no one truth value.
        return any(_alike(value, seen) for seen in actual)


def _alike(value: object, seen: object) -> bool:
    try:
        numpy = sys.modules.get("numpy")
        if numpy is not None and isinstance(value, numpy.ndarray) and isinstance(seen, numpy.ndarray):
            return bool(numpy.allclose(value, seen))
        return bool(value == seen)
    except Exception:  # As officially: what cannot be compared is not equal.
        return False


def read_state(value: str, kind: str) -> tuple[object, type]:
    """An answer's value and type, evaluated; what cannot be is a pair that equals nothing."""
    names: dict[str, Any] = {"json": json, "re": re, "sys": sys, "datetime": datetime, "defaultdict": defaultdict}
    names["np"] = sys.modules.get("numpy")
    try:
        if kind == "datetime.datetime":
            return datetime.fromisoformat(value), datetime
        if kind in ("numpy.ndarray", "np.ndarray"):
            return names["np"].array(eval(value, names)), names["np"].ndarray
        if kind != "str" and (value == "None" or kind == "nonetype"):
            return None, type(None)
        found = pydoc.locate(kind)
        if not isinstance(found, type):
            return _UNREADABLE
        evaluated = eval(value, names)
        return (evaluated if found.__module__ == "builtins" else found(evaluated)), found
    except Exception:  # As officially: whatever goes wrong, the answer is wrong.
        return _UNREADABLE


def state_answer_holds(value: str, kind: str, actual: Sequence[Any] | None) -> bool:
    """`state_holds`, for an answer as text."""
    return state_holds(*read_state(value, kind), actual)


def completed_test_passes(code: str, entry: str, test: str, given: str | int, completed: str) -> bool:
    """Whether a completed test raises nothing: run after the program, or as a method of the program's test class."""
    names: dict[str, Any] = {"__name__": "<reval>"}
    exec(compile(code, "<reval>", "exec"), names)
    if isinstance(given, str):
        exec(completed, names)
        return True
    exec(compile(test, "<test>", "exec"), names)
    exec(_as_method(completed), names)
    matching: list[Any] = [
        value for name, value in names.items() if re.match(f"{entry}Test.*", name) and isinstance(value, type)
    ]
    case = matching[given]
    case.completed = names["completed"]
    made = case("completed")
    made.setUp()
    made.completed()
    return True


def _as_method(completed: str) -> str:
    """The test as a method: every line indented but those that begin inside a text of several lines."""
    lines, inside = ["def completed(self):"], False
    for line in completed.split("\n"):
        lines.append(line if inside else f"\t{line}")
        inside ^= "'''" in line or '"""' in line
    return "\n".join(lines).replace("assert", "self.assert")
