"""Prompts: each task's own system line, or one for both."""

from dataclasses import replace

from rl.problems import Problem, Task
from rl.prompts import HOLE, SYSTEM, UNIFIED, prompt

OUTPUT = Problem("p", "def f(a):\n    return a", "f(1)", "def f(a):\n    print(a)\n    return a\n", [], "1")
INPUT = replace(OUTPUT, task=Task.INPUT)


def test_a_prompt_names_its_task_and_leaves_a_hole():
    assert prompt(OUTPUT) == f"{SYSTEM[Task.OUTPUT]}\ndef f(a):\n    print(a)\n    return a\nassert f(1) == {HOLE}\n"
    assert prompt(INPUT).startswith(SYSTEM[Task.INPUT])
    assert prompt(INPUT).endswith(f"assert f({HOLE}) == 1\n")


def test_without_decoupling_both_tasks_share_one_system_line():
    for problem in (OUTPUT, INPUT):
        shared = prompt(replace(problem, decoupled=False))
        assert shared == prompt(problem).replace(SYSTEM[problem.task], UNIFIED)
