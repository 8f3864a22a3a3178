"""Random programs: the walk that chains are written from either stops or arrives where execution does, never elsewhere."""

import contextlib
import random

from hypothesis import HealthCheck, Phase, assume, example, given, settings
from hypothesis import strategies as st
from test_anchors_random import compiles, programs

from rl.anchors import instrument
from rl.problems import Problem, Task
from rl.synthesis.acceptance import objections
from rl.synthesis.narration import located, narrate, states_and_visits
from rl.synthesis.narration.events import Assigned, Returned, Tested
from rl.synthesis.narration.machine import walk

DIVERGED = ("line ", "the walk ends")


def executed(code, call):
    """What the anchors of a program say, and its value; a program of its own output says more."""
    said = []
    scope = {"print": lambda *values, **_: said.append(values[0]), "__name__": "program"}
    exec(compile(code, "<program>", "exec"), scope)
    return said, repr(eval(call, scope))


def problem_of(code, call, task):
    program = instrument(code, call)
    states, output = executed(program.code, call)
    states_again, visits = states_and_visits(executed(located(program).code, call)[0])
    assert states_again == states
    problem = Problem("random", code, call, program.code, states, output, task)
    return problem, visits


def silent(code):
    """The program with its own prints gone, so that all that is printed are anchors."""
    lines = ("pass" if part.startswith("print(") else part for part in code.split("\n"))
    return "\n".join(lines).replace("print(", "str(").replace(", end='')", ")")


MODULE_IN_A_VALUE = """\
def f(n, a):
    kept = {}
    if a:
        import math as m
        kept.update(k=m)
    b = n
    return b
"""


# Without shrinking: for programs like these it takes minutes, and they are short as they are.
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(programs().map(silent).filter(compiles), st.integers(0, 3), st.integers(0, 3), st.sampled_from(Task))
@example(MODULE_IN_A_VALUE, 1, 2, Task.OUTPUT)
def test_the_walk_never_arrives_elsewhere(code, n, a, task):
    try:
        problem, visits = problem_of(code, f"f({n}, {a})", task)
    except Exception:
        assume(False)
    walked = walk(problem.instrumented, problem.call, visits, problem.output)
    assert not walked.stopped.startswith(DIVERGED)
    assert len(walked.told) <= len(visits)
    assert objections(problem, narrate(problem, visits, random.Random(0))) == []
    for events in walked.told:
        for event in events:
            if isinstance(event, Assigned | Returned) and event.values is not None and len(event.result) < 70:
                with contextlib.suppress(NameError):  # the program's own functions and modules
                    assert repr(eval(event.values)) == event.result
            if isinstance(event, Tested) and event.values is not None:
                with contextlib.suppress(NameError):
                    assert bool(eval(event.values)) is event.holds
