"""Prompts out: the text a model is asked with.

The two tasks have system prompts of their own, StepCodeReasoner's "task decoupling" (3.2, appendix A), in our words and
short enough for a small model's window. A problem that is not decoupled gets one prompt for both.
"""

from rl.problems import Problem, Task

HOLE = "????"
"""Stands for the value the model has to fill in."""

SYSTEM = {
    Task.OUTPUT: "Predict each print, then the output.",
    Task.INPUT: "Propose an input with this output, predict each print, then answer with the input.",
}

UNIFIED = "Fill in ????: propose an input if asked for one, predict each print, then answer."


def assertion(problem: Problem) -> str:
    """The assertion with a hole: `assert f(1, [2]) == ????`, or `assert f(????) == 3` for the input task."""
    if problem.task is Task.OUTPUT:
        return f"assert {problem.call} == {HOLE}"
    entry = problem.call.partition("(")[0]
    return f"assert {entry}({HOLE}) == {problem.output}"


def prompt(problem: Problem) -> str:
    """The whole prompt: system line, instrumented program, assertion. The response follows it directly."""
    system = SYSTEM[problem.task] if problem.decoupled else UNIFIED
    return f"{system}\n{problem.instrumented.rstrip()}\n{assertion(problem)}\n"
