"""Further inputs of a teacher's programs, by the teacher: asked for with pools of values, taken if they are other calls."""

import re
from random import Random

import pytest
from teacher_server import Script, completion, grid_teacher, serving

from cluster.config import SplitSettings, TaughtSettings, TeacherSettings
from cluster.data.making import Executor, making
from cluster.data.teacher import Teacher
from cluster.data.teacher.answers import NoAnswer
from cluster.data.teacher.inputs import read_call
from cluster.data.teacher.programs import Taught
from cluster.data.teacher.prompts import input_messages
from reward.sandbox import Sandbox
from rl.synthesis.calls import mutated_calls
from rl.synthesis.candidates import Rejected
from rl.synthesis.grid import Pool
from rl.synthesis.grid.values import POOL_INTS, POOL_STRINGS

ASKED = re.compile(r"\nprint\((.*)\)\n```\n\nWrite another call of `(\w+)`", re.DOTALL)


def inputs_of(reply):
    """A teacher whose programs are those of `grid_teacher`, and whose inputs are what `reply(call)` says."""
    programs = grid_teacher("rl", 1)

    def answer(request):
        asked = ASKED.search(request["messages"][-1]["content"])
        return programs(request) if asked is None else completion(reply(asked[1]))

    return Script(answer)


def taught(script, folder, mutations=1):
    settings = TeacherSettings(base_url=script.url, model="m", deadline_s=5, tries=2, longest_wait_s=0.01, in_flight=8)
    wanted = TaughtSettings(mutations=mutations, mutated_by="teacher")
    return Taught("rl", 1, wanted, Teacher(settings, folder / "teacher.jsonl"))


@pytest.mark.parametrize(
    ("answer", "call"),
    [
        ("f([7, 8], 'b')", "f([7, 8], 'b')"),
        ("<think>f(1, 2)?</think>\n  f([7,8],\n 'b')\n", "f([7, 8], 'b')"),
        ("Here:\n```python\nf([7, 8], 'b')\n```", "f([7, 8], 'b')"),
        ("f({1: 2}, -0.5)", "f({1: 2}, -0.5)"),
    ],
)
def test_a_call_is_read_out_of_an_answer(answer, call):
    assert read_call(answer, ["f([1], 'a')"]) == call


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "'' does not begin with f("),
        ("Sure! f([2], 'a')", "\"Sure! f([2], 'a')\" does not begin with f("),
        ("g([2], 'a')", "\"g([2], 'a')\" does not begin with f("),
        ("f([2] * 3, 'a')", "not a literal: "),
        ("f([2], open('x'))", "an argument computes with a Call"),
        ("f([2], 'a') or f(1, 2)", "not one call of f"),
        ("f([2])", "f([2]) does not give 2 arguments by place"),
        ("f([2], b='a')", "f([2], b='a') does not give 2 arguments by place"),
        ("f([1],'a')", "f([1], 'a') is there already"),
        ('f([ 3 ],  "z")', "f([3], 'z') is there already"),
        ("```\nf([2], 'a')\n```\n```\nf([3], 'a')\n```", "2 code blocks"),
    ],
)
def test_an_answer_that_is_no_other_call_is_told_why(answer, reason):
    with pytest.raises(NoAnswer) as error:
        read_call(answer, ["f([1], 'a')", "f([3], 'z')"])
    assert error.value.fault.startswith(f"teacher: no further input | {reason}")


def test_the_question_shows_the_program_its_call_and_the_pools():
    pool = Pool(Random(3))
    assert POOL_INTS[0] <= len(pool.ints) <= POOL_INTS[1] == 20
    assert POOL_STRINGS[0] <= len(pool.strings) <= POOL_STRINGS[1] == 15
    (role, _), (_, asked) = input_messages("def f(a):\n    return a\n", "f(5)", pool)
    assert role == "system"
    assert ASKED.search(asked).groups() == ("f(5)", "f")
    assert "def f(a):\n    return a\n" in asked
    assert all(repr(value) in asked for value in [*pool.ints, *pool.strings])


def test_the_teachers_inputs_follow_one_another_and_become_problems(tmp_path):
    asked = []

    def other(call):
        asked.append(call)
        return (mutated_calls(call, Random(len(asked)), 1) or [call])[0]

    with serving(inputs_of(other)) as script:
        candidates = taught(script, tmp_path, mutations=2).candidates(0, 30)
        requests = [request for request in script.requests if ASKED.search(request["messages"][-1]["content"])]
        assert {(request["temperature"], request["top_p"]) for request in requests} == {(0.4, 0.9)}
        asked_before = len(script.requests)
        assert taught(script, tmp_path, mutations=2).candidates(0, 30) == candidates
        assert len(script.requests) == asked_before == 10 + 20
    named = [candidate for candidate in candidates if not candidate.fault]
    assert len(named) >= 24
    assert len({(candidate.code, candidate.call) for candidate in named}) == len(named)
    assert set(asked) <= {candidate.call for candidate in named}, "each changes one that is there"
    made = 0
    with Sandbox() as sandbox:
        for candidate in named:
            try:
                made += bool(Executor(sandbox, sandbox).one(making(candidate, SplitSettings(problems=1))))
            except Rejected:
                continue
    assert made >= 12


def test_an_input_that_is_none_sets_aside_that_call_alone(tmp_path):
    with serving(inputs_of(lambda call: "I would rather not.")) as script:
        candidates = taught(script, tmp_path).candidates(0, 8)
    assert [bool(candidate.fault) for candidate in candidates] == [False, True] * 4
    assert {candidate.fault.partition(" | ")[0] for candidate in candidates[1::2]} == {"teacher: no further input"}
    assert all(candidate.code and not candidate.call for candidate in candidates[1::2])
