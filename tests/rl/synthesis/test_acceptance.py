"""Which responses of a teacher are taken: the answer and every print as executed."""

import pytest

from rl.problems import Problem, Task
from rl.synthesis.acceptance import objections

OUTPUT = Problem("p", "", "f('a', [1])", "", ["x: a\n", "y: [1]"], "{'k': [1]}")
INPUT = Problem("p", "", "f('a', [1])", "", ["x: a\n", "y: [1]"], "{'k': [1]}", Task.INPUT)
PRINTS = "<reasoning>r</reasoning><print>x: a</print><print> y: [1]\n</print>"
PRINTS_WRONG = "print 1: 'y: [2]' is said, execution gives 'y: [1]'"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"{PRINTS}<answer>{{'k': [1]}}</answer>", []),
        (f'{PRINTS}<answer>{{"k":[1]}}</answer>', []),
        (f"{PRINTS}<answer>{{'k': [True]}}</answer>", ["answer: {'k': [True]} is said, execution gives {'k': [1]}"]),
        (f"{PRINTS}<answer>{{'k'</answer>", ["answer: {'k' is said, execution gives {'k': [1]}"]),
        (PRINTS, ["answer: there must be exactly one"]),
        (f"{PRINTS.replace('[1]', '[2]')}<answer>{{'k': [1]}}</answer>", [PRINTS_WRONG]),
        (
            f"{PRINTS.replace('[1]', '[2]')}<answer>0</answer>",
            [PRINTS_WRONG, "answer: 0 is said, execution gives {'k': [1]}"],
        ),
        ("<print>x: a</print><answer>{'k': [1]}</answer>", ["prints: 1 are said, execution has 2"]),
        (f"{PRINTS}{PRINTS}<answer>{{'k': [1]}}</answer>", ["prints: 4 are said, execution has 2"]),
        (
            f"<input>'a', [1]</input>{PRINTS}<answer>{{'k': [1]}}</answer>",
            ["input: there is one, which the output task does not ask for"],
        ),
    ],
)
def test_the_output_task(text, found):
    assert objections(OUTPUT, text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"<input>'a', [1]</input>{PRINTS}<answer>'a', [1]</answer>", []),
        (f"<input>f(\"a\",[1])</input>{PRINTS}<answer>'a', [1]</answer>", []),
        (f"{PRINTS}<answer>'a', [1]</answer>", ["input: there must be exactly one"]),
        (
            f"<input>'b', [1]</input>{PRINTS}<answer>'a', [1]</answer>",
            ["input: 'b', [1] is not the executed call f('a', [1])"],
        ),
        (
            f"<input>'a', [1]</input>{PRINTS}<answer>{{'k': [1]}}</answer>",
            ["answer: {'k': [1]} is not the executed call f('a', [1])"],
        ),
    ],
)
def test_the_input_task(text, found):
    assert objections(INPUT, text) == found


def test_an_input_that_is_no_literal_is_taken_as_it_is_written():
    problem = Problem("p", "", "f(dict(a=1))", "", [], "1", Task.INPUT)
    assert objections(problem, "<input>dict(a=1)</input><answer>dict(a=1)</answer>") == []
    assert len(objections(problem, "<input>dict(a=2)</input><answer>dict(a=1)</answer>")) == 1
