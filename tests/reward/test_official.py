"""CRUXEval's official verdicts, reproduced inside the sandbox: every one that was published with its generations."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest

from reward.official import LIMITS, CheckNotRun, official_verdicts
from reward.programs import Execution
from rl.benchmarks import livecodebench
from rl.benchmarks.cruxeval import check, counted, mean_pass_at_k
from rl.benchmarks.livecodebench import ExecutionRow
from rl.problems import Task
from rl.verdicts import Verdict

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture(scope="module")
def rows():
    text = (DATA / "cruxeval.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.split("\n") if line]


def text_for(row, predicted, task):
    return check(row["code"], row["input"], row["output"], predicted, task)


def test_all_8000_shipped_verdicts_are_reproduced(quick_sandbox, rows):
    scored = json.loads(gzip.decompress((DATA / "cruxeval_codellama7b_scored_output.json.gz").read_bytes()))
    generations, shipped = scored["raw_generations"], scored["raw_scored_generations"]
    found = {
        row["id"]: counted(
            list(official_verdicts(quick_sandbox, [text_for(row, text, Task.OUTPUT) for text in generations[row["id"]]]))
        )
        for row in rows
    }
    assert sum(map(len, found.values())) == 8000
    assert {name: verdicts for name, verdicts in found.items() if verdicts != shipped[name]} == {}
    assert mean_pass_at_k(found.values(), 1) == pytest.approx(scored["pass_at_1"], abs=1e-9)


def test_every_recorded_input_passes_the_input_task(quick_sandbox, rows):
    texts = [text_for(row, f"f({row['input']})", Task.INPUT) for row in rows]
    verdicts = list(official_verdicts(quick_sandbox, texts))
    assert len(verdicts) == 800
    assert [row["id"] for row, verdict in zip(rows, verdicts, strict=True) if verdict is not True] == []


TEXTS = {
    "pass": True,
    "assert 1 == 1": True,
    "assert 1 == 2": False,
    "1 / 0": False,
    "not Python": False,
    "'\ud800'": False,
    "raise SystemExit(0)": False,
    "import os; os._exit(0)": False,
    "import os; os.kill(os.getpid(), 9)": False,
    "import os; os.getcwd()": False,
    "exit()": False,
    "import tkinter": False,
    "assert __name__ == 'builtins'": True,
    "print('x' * 100_000)": True,
    "input()": False,
    "import sys; assert not sys.stdin.readable()": True,
    "class E(Exception):\n    def __str__(self): return 1\nraise E": False,
}


def test_what_the_official_checker_passes(quick_sandbox):
    found = dict(zip(TEXTS, official_verdicts(quick_sandbox, list(TEXTS)), strict=True))
    assert found == TEXTS


def test_livecodebench_programs_find_their_names(quick_sandbox):
    code = "def f(xs: List[int]) -> int:\n    return max(Counter(xs).values()) + bisect.bisect(xs, inf) + gcd(4, 6)"
    row = ExecutionRow("sample_0", code, "f(xs = [1, 1])", "6")
    texts = [livecodebench.check(row, predicted) for predicted in ("6", "7", "6.0", "0 or True", row.call)]
    assert list(official_verdicts(quick_sandbox, texts)) == [True, False, True, True, None]


def test_a_text_has_three_seconds_and_a_skipped_prediction_no_run(quick_sandbox):
    assert (LIMITS.wall_s, LIMITS.cpu_s) == (3.0, 3.0)
    verdicts = official_verdicts(quick_sandbox, [None, "while True: pass", "1"], replace(LIMITS, cpu_s=0.3))
    assert list(verdicts) == [None, False, True]


class Failing:
    """A machine whose sandbox fails at the second text."""

    def __init__(self, sandbox):
        self._sandbox = sandbox
        self._runs = 0

    def run(self, program, limits=None):
        self._runs += 1
        if self._runs == 2:
            return Execution(Verdict.SANDBOX_ERROR, exception="the zygote is gone")
        return self._sandbox.run(program, limits)


def test_a_fault_of_the_machinery_is_no_verdict(quick_sandbox):
    verdicts = official_verdicts(Failing(quick_sandbox), ["1", "1", "1"])
    assert next(verdicts) is True
    with pytest.raises(CheckNotRun, match="text 1: not checked: the zygote is gone"):
        next(verdicts)
