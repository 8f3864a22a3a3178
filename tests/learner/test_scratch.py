"""The tokenizer and the model made from nothing."""

import json
from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from transformers import AutoModelForCausalLM

from learner.scratch import create_model, train_tokenizer, write_scratch_model
from learner.settings import ScratchModel
from rl.anchors import instrument
from rl.problems import Problem
from rl.prompts import prompt
from rl.responses import TAGS
from rl.synthesis.generator import Grammar, generate
from rl.tokens import load_tokenizer

SMALL = ScratchModel(layers=1, hidden=32, heads=1, intermediate=32, vocabulary=320)


def prompts():
    for index in range(40):
        code, call = generate(5, index, Grammar())
        yield prompt(Problem("p", code, call, instrument(code, call).code, [], "0")) + "<print>a: 12</print>"


TOKENIZER = train_tokenizer(prompts(), 320)


def encode(text):
    return TOKENIZER.encode(text, add_special_tokens=False)


@given(st.text())
def test_any_text_comes_back(text):
    assert TOKENIZER.decode(encode(text)) == text


@pytest.mark.parametrize(
    "text", [*islice(prompts(), 5), "  a ,b .\n\n\t'x' n't <print>é\u2028𝄞</print> <pad>", "\x00\ufeff\r\n"]
)
def test_programs_and_odd_texts_come_back(text):
    assert TOKENIZER.decode(encode(text)) == text


@pytest.mark.parametrize("tag", TAGS)
def test_a_tag_is_one_token_wherever_it_stands(tag):
    (token,) = encode(tag)
    assert encode(f"a{tag}12{tag}").count(token) == 2
    assert TOKENIZER.decode([token]) == tag


@given(st.integers(0, 10**12))
def test_every_digit_is_a_token_of_its_own(number):
    assert [TOKENIZER.decode([token]) for token in encode(str(number))] == list(str(number))


def test_no_token_holds_two_digits_or_two_square_brackets():
    texts = [TOKENIZER.decode([token]) for token in range(len(TOKENIZER))]
    assert len(TOKENIZER) == 320
    assert [text for text in texts if sum(character.isdigit() or character in "[]" for character in text) > 1] == []


def test_the_control_tokens_are_three_and_different():
    ids = {TOKENIZER.pad_token_id, TOKENIZER.bos_token_id, TOKENIZER.eos_token_id}
    assert len(ids) == 3
    assert ids.isdisjoint(encode("<print>a: 1</print>"))


def test_the_model_is_untied_and_its_seed_fixes_its_weights():
    first, again, other = (create_model(SMALL, TOKENIZER, seed) for seed in (1, 1, 2))
    assert first.config.tie_word_embeddings is False
    assert first.lm_head.weight.data_ptr() != first.model.embed_tokens.weight.data_ptr()
    assert all(torch.equal(left, right) for left, right in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)
    assert first.lm_head.weight.shape == (320, 32)


def test_the_initial_spread_is_the_one_asked_for():
    model = create_model(SMALL.model_copy(update={"init_std": 0.5}), TOKENIZER, 1)
    assert model.lm_head.weight.std().item() == pytest.approx(0.5, rel=0.05)


def test_what_is_written_is_read_back(tmp_path):
    write_scratch_model(SMALL, prompts(), 3, tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["tie_word_embeddings"] is False
    tokenizer = load_tokenizer(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    text = next(prompts())
    assert tokenizer.encode(text, add_special_tokens=False) == encode(text)
    assert tokenizer.decode(encode(text)) == text
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1, 2)
    assert torch.equal(model.lm_head.weight, create_model(SMALL, TOKENIZER, 3).lm_head.weight)
    assert model(torch.tensor([encode(text)])).logits.shape[-1] == 320


@pytest.mark.parametrize(("hidden", "heads"), [(64, 3), (64, 4), (32, 32)])
def test_heads_of_a_size_that_is_not_served_are_refused(hidden, heads):
    with pytest.raises(ValidationError, match=rf"hidden \({hidden}\) divided by heads \({heads}\) must be one of 32, 64"):
        ScratchModel(hidden=hidden, heads=heads)
