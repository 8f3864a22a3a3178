"""Reasoning chains for problems whose trace is known: the response a model is to learn from, in the output format.

Only programs of the kind that `generator.py` makes have chains. The text comes from the program and is checked against its
executed states and output, so a chain never says anything that execution did not.
"""

import ast
from collections.abc import Sequence

from rl.synthesis.interpreter import evaluate
from rl.synthesis.replay import replay


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
    function = ast.parse(code).body[0]
    invocation = ast.parse(call, mode="eval").body
    if not isinstance(function, ast.FunctionDef) or not isinstance(invocation, ast.Call):
        raise ValueError(f"a chain needs one function and a call of it, not {ast.unparse(function).splitlines()[0]}")
    names = [argument.arg for argument in function.args.args]
    env = dict(zip(names, (evaluate(argument, {}) for argument in invocation.args), strict=True))
    given = ", ".join(f"{name}: {value}" for name, value in env.items())
    parts, last = [], None
    for number, step in enumerate(replay(function.body, env)):
        state, last = f"{step.name}: {step.value}", step
        if number >= len(states) or states[number] != state:
            seen = states[number] if number < len(states) else "the end of the trace"
            raise ValueError(f"state {number}: the chain arrives at {state!r}, execution at {seen!r}")
        parts.append(f"<reasoning>{given + '; ' if not parts else ''}{step.reasoning}</reasoning><print>{state}</print>")
    if last is None or len(parts) != len(states) or repr(last.value) != output:
        raise ValueError(f"the chain ends after {len(parts)} of {len(states)} states, or not with {output}")
    return "".join(parts) + f"<reasoning>{last.name}</reasoning><answer>{output}</answer>"
