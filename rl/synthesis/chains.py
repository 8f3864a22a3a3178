"""Reasoning chains for problems whose trace is known: the response a model is to learn from.

`chain_of` is for every problem. Programs that `generator.py` makes have a terse language of their own for the output task,
made here out of the program and checked against its executed states and output; all else is narrated (`narration/`).
"""

import ast
import random
from collections.abc import Sequence

from rl.problems import Problem, Task
from rl.responses import render
from rl.synthesis.acceptance import objections
from rl.synthesis.generator import GENERATOR
from rl.synthesis.interpreter import Env, evaluate
from rl.synthesis.narration import Visit, narrate
from rl.synthesis.replay import Step, replay


def is_narrated(source: str, task: Task) -> bool:
    """Whether the chain of a problem needs its visits, which are recorded when it is executed."""
    return source != GENERATOR or task is not Task.OUTPUT


def chain_of(problem: Problem, visits: Sequence[Visit]) -> str:
    """A correct response to a problem, from its trace, for its task. The same problem gives the same text.

    Args:
        problem: its states and output come from execution.
        visits: the executed anchors with their lines and exact values, for a chain that is narrated.

    Raises:
        ValueError: there is no such response, with the reason.
    """
    if not is_narrated(problem.source, problem.task):
        return chain(problem.code, problem.call, problem.states, problem.output)
    response = narrate(problem, visits, random.Random(f"{problem.task}/{problem.id}/{problem.call}"))
    found = objections(problem, response)
    if found:
        raise ValueError(found[0])
    return response


def chain(code: str, call: str, states: Sequence[str], output: str) -> str:
    """A correct response for the call of this program: a reasoning and a print for each state, then the answer.

    Args:
        code: the program as written, a single function, without anchors.
        call: the call, its arguments literals.
        states: `NAME: value` for each executed anchor, from execution.
        output: `repr` of the call's value, from execution.

    Raises:
        ValueError: the program has a statement or an expression without a rule here, or its states or output are not
            those that the chain arrives at.
    """
    function, env = _entered(code, call)
    given = ", ".join(f"{name}: {value}" for name, value in env.items())
    steps = list(replay(function.body, env))
    _check(steps, states, output)
    reasonings = [step.reasoning for step in steps]
    reasonings[0] = f"{given}; {reasonings[0]}"
    return render(list(zip(reasonings, states, strict=True)), (steps[-1].name, output))


def _entered(code: str, call: str) -> tuple[ast.FunctionDef, Env]:
    """The function of the program, and its parameters' values in this call."""
    body, invocation = ast.parse(code).body, ast.parse(call, mode="eval").body
    match body, invocation:
        case [ast.FunctionDef(name=name) as function], ast.Call(func=ast.Name(id=called), args=args, keywords=[]):
            parameters = [parameter.arg for parameter in function.args.args]
            if name == called and parameters and len(parameters) == len(args):
                return function, {key: evaluate(value, {}) for key, value in zip(parameters, args, strict=True)}
    raise ValueError(f"a chain needs one function and a call of it with as many arguments, not the call {call}")


def _check(steps: Sequence[Step], states: Sequence[str], output: str) -> None:
    """Raises ValueError where the walk through the program and its execution differ."""
    arrived = [f"{step.name}: {step.value}" for step in steps]
    for number, (said, seen) in enumerate(zip(arrived, states, strict=False)):
        if said != seen:
            raise ValueError(f"state {number}: the chain arrives at {said!r}, execution at {seen!r}")
    if len(arrived) != len(states):
        raise ValueError(f"the chain has {len(arrived)} states, execution {len(states)}")
    if not steps or repr(steps[-1].value) != output:
        raise ValueError(f"the chain does not end with the output {output}")
