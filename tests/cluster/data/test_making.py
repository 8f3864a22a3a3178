"""From a candidate to a problem, in a real sandbox: what is refused, and why."""

import pytest

from cluster.config import FilterSettings, SplitSettings
from cluster.data.factory import _screened
from cluster.data.making import make_problem
from cluster.data.screening import Screen
from reward.sandbox import Sandbox
from rl.synthesis.candidates import Candidate, Rejected


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
