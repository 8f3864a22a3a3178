"""The length budget, with a real tokenizer."""

import pytest
from pydantic import ValidationError

from cluster.config import BadInput, DataSettings
from cluster.data.card import _over_budget
from cluster.data.lengths import TOO_LONG, Budget
from rl.problems import Problem
from rl.prompts import chain_ids, prompt_ids
from rl.synthesis.candidates import Rejected
from rl.tokens import load_tokenizer

SPLIT = {"problems": 1, "chains": True}
SPLITS = dict.fromkeys(("sft", "validation", "rl", "heldout"), SPLIT)
PROBLEM = Problem("a", "", "f(1)", "def f(x):\n    return x", [], "1", chain="<answer>1</answer>")


def test_a_problem_may_take_as_many_tokens_as_are_allowed(tiny_model):
    tokenizer = load_tokenizer(tiny_model)
    length = len(prompt_ids(PROBLEM, tokenizer)) + len(chain_ids(PROBLEM, tokenizer))
    Budget(DataSettings(**SPLITS, tokenizer=tiny_model, max_tokens=length)).check(PROBLEM)
    with pytest.raises(Rejected, match=rf"^{TOO_LONG}: {length} tokens, {length - 1} are allowed"):
        Budget(DataSettings(**SPLITS, tokenizer=tiny_model, max_tokens=length - 1)).check(PROBLEM)
    Budget(DataSettings(**SPLITS, tokenizer=tiny_model)).check(PROBLEM)


def test_tokens_are_of_a_tokenizer(tmp_path):
    with pytest.raises(ValidationError, match="max_tokens counts in tokens: tokenizer must name"):
        DataSettings(**SPLITS, max_tokens=9)
    with pytest.raises(BadInput, match=r"^data.tokenizer: "):
        Budget(DataSettings(**SPLITS, tokenizer=tmp_path, max_tokens=9))


def test_the_card_says_how_many_were_too_long():
    assert _over_budget({"rl": {"kept": 1}}, None) == ""
    told = _over_budget({"rl": {"kept": 2, TOO_LONG: 1}, "sft": {"kept": 1}}, 99)
    assert told.strip() == "Prompt and chain take at most 99 tokens; 1 of 4 candidates (25.0%) took more."
