import ast

import pytest

from rl.synthesis.interpreter import evaluate, substituted


def expression(source):
    return ast.parse(source, mode="eval").body


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("a + 2 * b", 13),
        ("-a", -3),
        ("nums[1:]", [8, 9]),
        ("nums[::-1]", [9, 8, 7]),
        ("nums[:-1] + [a]", [7, 8, 3]),
        ("nums[-1]", 9),
        ("sum(nums) - max(nums)", 15),
        ("a in nums", False),
        ("b > a", True),
    ],
)
def test_the_value_is_that_of_python(source, value):
    env = {"a": 3, "b": 5, "nums": [7, 8, 9]}
    assert evaluate(expression(source), env) == value == eval(source, {}, env)


def test_names_give_way_to_their_values():
    assert substituted(expression("max(nums) + k"), {"nums": [1, 2], "k": 4}) == "max([1, 2]) + 4"


def test_an_unknown_kind_is_named():
    with pytest.raises(ValueError, match=r"Lambda: lambda: 1"):
        evaluate(expression("lambda: 1"), {})
    with pytest.raises(ValueError, match=r"Call: open\('x'\)"):
        evaluate(expression("open('x')"), {})
