"""Reading responses, and finding the tokens of each step."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl.responses import TAGS, Span, parse, render
from rl.tokens import decode, token_span

TEXT = (
    "<reasoning>a + b</reasoning><print> c: 3 </print>\n<print>d: [1,\n 2]</print>"
    "<reasoning>done</reasoning><answer> 'x' </answer>"
)


def test_steps_answer_and_places():
    response = parse(TEXT)
    assert [step.state for step in response.steps] == ["c: 3", "d: [1,\n 2]"]
    assert response.answer == "'x'"
    assert response.proposed_input is None
    first, second = response.steps
    assert TEXT[first.whole.start : first.whole.end] == "<reasoning>a + b</reasoning><print> c: 3 </print>"
    assert TEXT[second.whole.start : second.whole.end] == "\n<print>d: [1,\n 2]</print>"
    assert TEXT[second.print_block.start : second.print_block.end] == "<print>d: [1,\n 2]</print>"


def test_proposed_input_comes_first_and_is_no_step():
    response = parse("<reasoning>r</reasoning><input>[1]</input><print>a: 1</print><answer>[1]</answer>")
    assert response.proposed_input == "[1]"
    assert response.steps[0].whole.start == len("<reasoning>r</reasoning><input>[1]</input>")


@pytest.mark.parametrize("text", ["", "<answer>1", "<answer>1</answer><answer>2</answer>", "1", "<print>a: 1</print>"])
def test_no_single_answer(text):
    assert parse(text).answer is None


@given(st.text())
def test_any_text_is_read(text):
    parse(text)


TANGLED = "<print><print>a</print></answer><answer><input>1</answer>"


@pytest.mark.parametrize("text", ["<print>" * 40_000, "<print>" * 40_000 + "</answer>" * 40_000, TANGLED * 10_000])
def test_tags_that_nothing_closes_take_no_more_time_than_others(text):
    began = time.process_time()
    assert len(parse(text).steps) == text.count("</print>")
    assert time.process_time() - began < 5


@given(st.lists(st.sampled_from([*TAGS, "a", " "])).map("".join))
def test_a_block_ends_at_the_first_closing_tag_of_its_kind(text):
    blocks = re.findall(r"<(reasoning|print|input|answer)>(.*?)</\1>", text)
    assert [step.state for step in parse(text).steps] == [body.strip() for kind, body in blocks if kind == "print"]
    answers = [body.strip() for kind, body in blocks if kind == "answer"]
    assert parse(text).answer == (answers[0] if len(answers) == 1 else None)


plain = st.text(st.characters(exclude_characters="<>", exclude_categories=["Cs"])).map(str.strip)


@given(st.lists(st.tuples(plain, plain)), st.tuples(plain, plain), st.none() | st.tuples(plain, plain))
def test_render_and_parse_are_inverse(steps, answer, proposed):
    response = parse(render(steps, answer, proposed))
    assert [step.state for step in response.steps] == [state for _, state in steps]
    assert response.answer == answer[1]
    assert response.proposed_input == (None if proposed is None else proposed[1])


def test_render_refuses_tags_in_texts():
    with pytest.raises(ValueError, match="tag"):
        render([("r", f"a: {TAGS[0]}")], ("r", "1"))


class Bytes:
    """A tokenizer of single bytes: the hardest case, a character may take several tokens."""

    def decode(self, token_ids):
        return bytes(token_ids).decode(errors="replace")


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_every_character_belongs_to_a_token_that_carries_it(text):
    ids = list(text.encode())
    decoded, starts = decode(Bytes(), ids, {})
    assert decoded == text
    assert starts == sorted(starts)
    assert len(starts) == len(ids)
    for index, character in enumerate(text):
        span = token_span(starts, Span(index, index + 1))
        before = len(text[:index].encode())
        assert span.end == before + len(character.encode())


def test_token_span_of_a_step():
    pieces = {0: "<print>", 1: "c: ", 2: "3", 3: "</print>", 4: "<answer>"}

    class Words:
        def decode(self, token_ids):
            return "".join(pieces[token] for token in token_ids)

    text, starts = decode(Words(), [0, 1, 2, 3, 4], {})
    assert token_span(starts, parse(text).steps[0].whole) == Span(0, 4)
    assert token_span(starts, Span(len(text), len(text) + 5)) == Span(0, 0)
