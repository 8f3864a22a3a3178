"""Calls of programs that were not written here: read off their tests, and further ones made by rule."""

import ast
from collections.abc import Mapping
from random import Random

from rl.answers import UnreadableAnswer, literal, literal_call, one_call, source
from rl.synthesis.grid import mutate
from rl.synthesis.grid.values import literal as written

_LARGEST = 1e15
"""Numbers beyond this are not mutated: doubled again and again they would no longer be written down exactly."""


def defined_functions(code: str) -> list[str]:
    """Names of the functions that a program defines at module level, in order.

    Raises:
        ValueError: it is no program.
    """
    return [node.name for node in _parsed(code).body if isinstance(node, ast.FunctionDef)]


def asserted_calls(tests: str, names: Mapping[str, str]) -> list[str]:
    """The calls with literal arguments that stand in a test's assertions, each once.

    Args:
        tests: HumanEval's `test`, or MBPP's `test_list` as lines.
        names: for each name that the tests call it by, the function's name in its program.

    Raises:
        ValueError: the tests are no program.
    """
    found: dict[str, None] = {}
    for assertion in (node for node in ast.walk(_parsed(tests)) if isinstance(node, ast.Assert)):
        for node in ast.walk(assertion.test):
            match node:
                case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords) if name in names:
                    call = ast.Call(ast.Name(names[name]), args, keywords)
                    try:
                        found[literal_call(source(call), names[name])] = None
                    except UnreadableAnswer:
                        continue
    return list(found)


def mutated_calls(call: str, rng: Random, count: int) -> list[str]:
    """Further calls of the same function, each with the arguments of the one before changed by rule.

    None where an argument is no literal, or holds what the rules do not know: bytes, complex or huge numbers, sets of
    several types.
    """
    try:
        read = one_call(call, call.partition("(")[0].strip())
        values = tuple(literal(source(node)) for node in (*read.args, *(keyword.value for keyword in read.keywords)))
    except UnreadableAnswer:
        return []
    if not all(map(_can_be_mutated, values)):
        return []
    labels = [""] * len(read.args) + [f"{keyword.arg}=" for keyword in read.keywords]
    found = []
    for _ in range(count if values else 0):
        values = mutate(values, rng)
        arguments = ", ".join(label + written(value) for label, value in zip(labels, values, strict=True))
        found.append(f"{source(read.func)}({arguments})")
    return found


def _can_be_mutated(value: object) -> bool:
    match value:
        case None | bool() | str():
            return True
        case int() | float():
            return abs(value) < _LARGEST
        case list() | tuple():
            return all(map(_can_be_mutated, value))
        case set():
            return len({type(item) for item in value}) <= 1 and all(
                isinstance(item, int | str) and _can_be_mutated(item) for item in value
            )
        case dict():
            return all(_can_be_mutated(part) for item in value.items() for part in item)
        case _:
            return False


def _parsed(code: str) -> ast.Module:
    try:
        return ast.parse(code)
    except SyntaxError as error:
        raise ValueError(f"line {error.lineno}: not Python: {error.msg}") from None
    except (RecursionError, MemoryError):
        raise ValueError("not Python: nested too deeply") from None
