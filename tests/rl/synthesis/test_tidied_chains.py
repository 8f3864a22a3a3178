"""A teacher's loose layout becomes the one that chains are rendered in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl.responses import TAGS, render
from rl.synthesis.acceptance import tidied

TIDY = (
    "<reasoning>r</reasoning><input>f(1)</input><reasoning>s</reasoning><print>a: 1</print>"
    "<reasoning>t</reasoning><answer>f(1)</answer>"
)


def test_thinking_and_space_go():
    loose = TIDY.replace("><", ">\n  <").replace("a: 1", " a: 1\n")
    assert tidied(TIDY) == TIDY
    assert tidied(f"<think>\nno <answer>x</answer>\n</think>\n\n{loose}\n") == TIDY
    assert tidied(f"hm </think>{TIDY}") == TIDY


WRONG = {
    "": "out of order",
    "no": "outside of them stands no",
    TIDY + "Done!": "outside of them stands Done!",
    "Sure: " + TIDY: "outside of them stands Sure:",
    TIDY.replace("<reasoning>s</reasoning>", ""): "outside of them stands <print>",
    TIDY + "<reasoning>u</reasoning><print>b: 1</print>": "out of order",
    "<reasoning>s</reasoning><print>a</print>" + TIDY: "out of order",
    TIDY + TIDY: "out of order",
    TIDY.replace(">s<", "> <"): "a reasoning is empty",
    TIDY.replace(">s<", ">\ud83d<"): "half of a surrogate pair",
    TIDY.replace(">s<", ">s</reasoning> and <reasoning>s<"): "holds a tag",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_chain_is_told_why(text):
    with pytest.raises(ValueError, match=WRONG[text]):
        tidied(text)


WORDS = (
    st.text(st.characters(codec="utf-8"), min_size=1)
    .map(str.strip)
    .filter(lambda text: text and not any(tag in text for tag in TAGS) and "</think>" not in text and "<" not in text)
)


@given(st.lists(st.tuples(WORDS, WORDS), max_size=4), st.tuples(WORDS, WORDS), st.none() | st.tuples(WORDS, WORDS))
def test_what_is_rendered_stays_as_it_is(steps, answer, proposed):
    text = render(steps, answer, proposed)
    assert tidied(text) == text
    assert tidied(text.replace("><", ">\n<")) == text
