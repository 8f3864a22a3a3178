"""Expressions with values for names: what a template writes is what `ast.unparse` writes of the whole."""

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl.synthesis.narration.sources import with_inserts
from rl.synthesis.narration.values import insertable, text_of

EXPRESSIONS = [
    *("a + b", "a ** b", "a ** -b", "-a ** b", "a - -b", "a * (b + a)", "(a, b)", "not a", "a if b else a", "a < b < a"),
    *("a[b]", "a[b, a]", "a[b:a]", "a[b:a, b]", "a[(b,)]", "a.real", "a.join(b)", "f(a, *b, k=a, **b)", "[a, *b]", "{a: b}"),
    *("{**a, 'k': b}", "{a, b}", "[x + a for x in b if x > a]", "f'{a} and {b!r:>{a}}' + b", "a and b or a", "b'x' + a"),
    *("(a)(b)", "a in b", "a is not b", "sum(x * a for x in b)", "a[b][a].k", "'a' + a + \"it's\""),
]
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-1000, 1000)
    | st.floats(-100, 100)
    | st.complex_numbers(max_magnitude=10)
    | st.text(max_size=4)
    | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.tuples(inner)
        | st.tuples(inner, inner)
        | st.just(())
        | st.sets(st.integers(-5, 5), max_size=2)
        | st.frozensets(st.integers(-5, 5), max_size=2)
        | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=4,
)


class Whole(ast.NodeTransformer):
    """Puts the values' own syntax trees in, and leaves f-strings alone."""

    def __init__(self, values):
        self.trees = {name: ast.parse(text_of(value), mode="eval").body for name, value in values.items()}

    def visit_Name(self, node):
        return self.trees.get(node.id, node)

    def visit_JoinedStr(self, node):
        return node


@pytest.mark.parametrize("source", EXPRESSIONS)
@given(a=VALUES, b=VALUES)
def test_a_template_is_filled_as_the_whole_is_written(source, a, b):
    inserts = {name: found for name, value in (("a", a), ("b", b)) if (found := insertable(value)) is not None}
    node = ast.parse(source, mode="eval").body
    whole = Whole({name: value for name, value in (("a", a), ("b", b)) if name in inserts})
    assert with_inserts(node, inserts) == ast.unparse(whole.visit(ast.parse(source, mode="eval").body))


def test_what_no_f_string_can_hold_is_not_written():
    node = ast.parse("f'{a}' + g", mode="eval").body
    node.left.values[0].value = ast.Constant("\0")
    assert with_inserts(node, {"g": insertable(1)}) is None
