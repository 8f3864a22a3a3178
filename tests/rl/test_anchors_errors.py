"""Bad input gets one clear line."""

import pytest

from rl.anchors import ProgramError, instrument


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def f(:\n", "code: line 1: invalid syntax"),
        ("x = 1\nreturn x", "code: line 2: 'return' outside function"),
        ("x = '\0'", "code: source code string cannot contain null bytes"),
        ("x = '\ud800'", "code: 'utf-8' codec can't encode"),
        ("def f():\n    nonlocal x", "code: line 2: no binding for nonlocal 'x' found"),
        ("(" * 300 + ")" * 300, "code: line 1: too many nested parentheses"),
    ],
)
def test_code_that_does_not_compile(code: str, message: str) -> None:
    with pytest.raises(ProgramError) as error:
        instrument(code)
    assert str(error.value).startswith(message)
    assert isinstance(error.value, ValueError)


@pytest.mark.parametrize("call", ["", "f", "f(1), f(2)", "f(1); g()", "x = f(1)", "f(1", "f(1) == 2", "f(\0)", "f(yield)"])
def test_a_call_that_is_not_one_call(call: str) -> None:
    with pytest.raises(ProgramError, match=r"^call: not one call expression: "):
        instrument("def f(x): return x", call)


def test_deep_nesting_is_an_error_not_a_crash() -> None:
    code = "x = 1\nif x == 0: y = 0\n" + "".join(f"elif x == {number}: y = {number}\n" for number in range(2000))
    with pytest.raises(ProgramError, match=r"^code: "):
        instrument(code)
