"""Prompts as plain text and through a chat template, and both as tokens."""

from dataclasses import replace

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from rl.problems import Problem, Task
from rl.prompts import SYSTEM, UNIFIED, chain_ids, leaves_room, messages, prompt, prompt_ids

CHAT = (
    "{% for message in messages %}<{{ message.role }}>{{ message.content }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
PROBLEM = Problem("p", "", "f(1, [2])", "def f(a, b):\n    return a\n", [], "1", chain="<answer>1</answer>")


def tokenizer(template=None):
    """Every character below 128 is a token, its code the id; 0 ends a response, 1 begins a plain prompt."""
    inner = Tokenizer(models.WordLevel({chr(code): code for code in range(128)}, unk_token="\x02"))
    inner.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    made = PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="\x01", eos_token="\x00")
    made.chat_template = template
    return made


def text(ids):
    return "".join(map(chr, ids))


def test_plain_text_of_both_tasks():
    assert prompt(PROBLEM) == (
        "Predict each print, then the output.\ndef f(a, b):\n    return a\nassert f(1, [2]) == ????\n"
    )
    asked = Problem("p", "", "f(1, [2])", "def f(a, b):\n    return a\n", [], "1", Task.INPUT)
    assert prompt(asked) == (
        "Propose an input with this output, predict each print, then answer with the input.\n"
        "def f(a, b):\n    return a\nassert f(????) == 1\n"
    )


def test_without_a_template_the_plain_text_follows_the_first_token():
    assert text(prompt_ids(PROBLEM, tokenizer())) == "\x01" + prompt(PROBLEM)
    assert text(chain_ids(PROBLEM, tokenizer())) == "<answer>1</answer>\x00"


def test_a_template_gets_system_and_user_and_nothing_is_added_to_it():
    system, question = "Predict each print, then the output.", "def f(a, b):\n    return a\nassert f(1, [2]) == ????"
    expected = f"<system>{system}<end><user>{question}<end><assistant>"
    assert text(prompt_ids(PROBLEM, tokenizer(CHAT))) == expected
    assert messages(PROBLEM) == [
        {"role": "system", "content": system},
        {"role": "user", "content": question},
        {"role": "assistant", "content": "<answer>1</answer>"},
    ]


def test_without_decoupling_both_tasks_share_one_system_line():
    for problem in (PROBLEM, replace(PROBLEM, task=Task.INPUT)):
        shared = replace(problem, decoupled=False)
        assert prompt(shared) == prompt(problem).replace(SYSTEM[problem.task], UNIFIED)
        assert messages(shared)[0] == {"role": "system", "content": UNIFIED}


def test_a_prompt_leaves_room_up_to_the_last_token():
    for template in (None, CHAT):
        length = len(prompt_ids(PROBLEM, tokenizer(template)))
        assert leaves_room(PROBLEM, tokenizer(template), length + 8, 8)
        assert not leaves_room(PROBLEM, tokenizer(template), length + 7, 8)
