"""From a candidate to a problem, in a real sandbox: what is refused, and why."""

import pytest

from cluster.config import FilterSettings, SplitSettings
from cluster.data.factory import _screened
from cluster.data.making import make_problem
from cluster.data.screening import Screen
from reward.sandbox import Execution, Sandbox
from rl.synthesis.candidates import Candidate, Rejected
from rl.verdicts import Verdict


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox() as sandbox:
        yield sandbox


def candidate(code, call, output=None):
    return Candidate("one", code, call, output, "mine")


def made(sandbox, code, call, output=None, **split):
    return make_problem(candidate(code, call, output), SplitSettings(problems=1, **split), sandbox)


def refusal(sandbox, code, call, output=None, **split):
    with pytest.raises(Rejected) as error:
        made(sandbox, code, call, output, **split)
    return str(error.value)


LONG = f"def f(x):\n    y = {' + '.join(['x'] * 480)}\n    return y\n"


@pytest.mark.parametrize("chains", [False, True])
def test_a_program_too_deep_to_be_looked_at_is_set_aside(sandbox, chains):
    screen = Screen(FilterSettings(alike=0.9))
    try:
        outcome = made(sandbox, LONG, "f(1)", chains=chains)
    except Rejected as reason:
        outcome = reason
    row = _screened(candidate(LONG, "f(1)"), outcome, screen, "rl", 1)
    assert row["rejected"]["reason"] == "could not be made: RecursionError"
    assert row["rejected"]["kind"] == "could not be made"


PLUS = "def f(x):\n    y = x + 1\n    return y\n"


class Busy:
    """A sandbox on a busy machine: some of its runs, told by their numbers, end as they would not on a quiet one."""

    def __init__(self, sandbox, faults):
        self.sandbox, self.faults, self.runs = sandbox, faults, 0

    def run(self, program, limits=None):
        self.runs += 1
        fault = self.faults.get(self.runs)
        return Execution(fault) if fault else self.sandbox.run(program, limits)


@pytest.mark.parametrize("verdict", [Verdict.TIMEOUT, Verdict.SANDBOX_ERROR, Verdict.MEMORY, Verdict.CRASHED])
@pytest.mark.parametrize("number", [1, 2])
def test_what_a_busy_machine_did_once_does_not_change_the_data(sandbox, verdict, number):
    busy = Busy(sandbox, {number: verdict})
    assert made(busy, PLUS, "f(1)") == made(sandbox, PLUS, "f(1)")
    assert busy.runs == 3


@pytest.mark.parametrize("first", [1, 2])
def test_what_it_does_twice_is_told_as_what_it_is(sandbox, first):
    busy = Busy(sandbox, {first: Verdict.SANDBOX_ERROR, first + 1: Verdict.SANDBOX_ERROR})
    assert refusal(busy, PLUS, "f(1)") == "execution: sandbox_error"
