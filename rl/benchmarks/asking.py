"""What models are asked for each benchmark: the papers' roles, in our words, with and without print anchors.

A model that was trained here knows the short prompts of `rl.prompts`; any other gets the format spelled out. Input and
output prediction have roles of their own either way (StepCodeReasoner 3.2 and appendix A).
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from rl.anchors import Instrumented, ProgramError, instrument
from rl.benchmarks.codegen import CodingProblem
from rl.benchmarks.reval import RevalRun
from rl.problems import Problem, Task
from rl.prompts import assertion, messages

Style = Literal["trained", "instructed"]
"""The prompts that models are trained with here, or ones that tell any model what to do."""

_BLOCKS = """\
For every `print` that is carried out, in order of execution, write
<reasoning>what led to this state, in a sentence or two</reasoning><print>the exact line that is printed</print>
and at the end, once, """

_ANCHORED = {
    Task.OUTPUT: f"""\
You execute Python programs in your head. The program reports its own state by `print` calls; `????` stands for the value \
of the call. {_BLOCKS}<answer>the value in place of ????, as a Python literal</answer>.""",
    Task.INPUT: f"""\
You find inputs of Python programs. The program reports its own state by `print` calls; `????` stands for arguments with \
which the call has the value shown; any that do are right. First write
<reasoning>how such arguments can be found</reasoning><input>the whole call that you propose</input>
and then execute it in your head. {_BLOCKS}<answer>the whole call</answer>.""",
}

_PLAIN = {
    Task.OUTPUT: """\
You execute Python programs in your head. `????` stands for the value of the call. Think step by step, and end with \
<answer>the value in place of ????, as a Python literal</answer>.""",
    Task.INPUT: """\
You find inputs of Python programs. `????` stands for arguments with which the call has the value shown; any that do are \
right. Think step by step, and end with <answer>the whole call with its arguments, as Python literals</answer>.""",
}

_CODE = "You write Python. Answer with the whole solution as one Markdown code block that begins with ```python."

_PROBED = "You execute Python programs in your head, line by line."
_PREDICT = (
    " The program reports its own state by `print` calls; first write each line that they print, in order of execution, as "
    "<print>the exact line</print>."
)
_FORM = {
    "coverage": "Is line {line}, `{text}`, executed? End with [ANSWER]YES[/ANSWER] or [ANSWER]NO[/ANSWER].",
    "path": "Which line is executed right after line {line}, `{text}`, is for the first time? End with that line's text "
    "between [ANSWER] and [/ANSWER], or with [ANSWER]-1[/ANSWER] if line {line} is not executed or none comes after it.",
    "state": "What are the value and the type of `{variable}` right after line {line}, `{text}`, is executed? End with "
    "[ANSWER]value; type[/ANSWER], such as [ANSWER][1, 2]; list[/ANSWER], or with [ANSWER]Nil[/ANSWER] if the line is not "
    "executed or the variable does not exist there.",
}
_OUTPUT = "Fill in what ?? stands for. End with the completed test between [ANSWER] and [/ANSWER], otherwise unchanged:"


@dataclass(frozen=True, slots=True)
class Question:
    """A chat that ends with what the model is to answer."""

    id: str
    messages: tuple[tuple[str, str], ...]
    """(role, text) pairs: system, then user."""


def execution_question(problem: Problem, style: Style, *, anchors: bool) -> Question:
    """The prediction of an output or an input.

    Args:
        problem: `code` is the program; what its `instrumented` holds is not used.
        style: how much the model is told.
        anchors: whether it is shown the program with print anchors; one that cannot have any is shown as it is.
    """
    program = anchored(problem.code, problem.call).code if anchors else problem.code
    shown = replace(problem, instrumented=program, chain="")
    if style == "trained":
        system, question = (message["content"] for message in messages(shown))
        return _chat(problem.id, system, question)
    system = (_ANCHORED if anchors else _PLAIN)[problem.task]
    return _chat(problem.id, system, f"```python\n{program.rstrip()}\n```\n{assertion(shown)}")


@lru_cache(maxsize=512)
def anchored(code: str, call: str | None) -> Instrumented:
    """The program with its anchors; as it is, with none, where it does not compile."""
    try:
        return instrument(code, call)
    except ProgramError:
        return Instrumented(code, call, ())


def code_question(problem: CodingProblem) -> Question:
    """A function to be written."""
    begun = bool(problem.prompt)
    task = f"Complete this function:\n```python\n{problem.task.rstrip()}\n```" if begun else problem.task.strip()
    return _chat(problem.id, _CODE, task)


def reval_question(name: str, task: str, run: RevalRun, probe: int, *, anchors: bool) -> Question:
    """One of REval's questions; with anchors lines bear the numbers that they have in the instrumented program.

    Args:
        name: the question's id.
        task: coverage, path, state or output.
        run: the program and its input.
        probe: the number of the probe in the run; not used for the output task.
        anchors: whether the program is shown with print anchors.
    """
    code = run.program.code
    shown = anchored(code, None) if anchors else None
    numbered = enumerate((code if shown is None else shown.code).rstrip().split("\n"), start=1)
    program = "\n".join(f"{number}: {line}" for number, line in numbered)
    given = f"{'The test' if run.program.test else 'The arguments'}:\n{run.program.inputs[run.input_index]}"
    if task == "output":
        asked, given = f"{_OUTPUT}\n{run.assertion}", ""
    else:
        line = run.probes[probe].line
        number = line if shown is None or not shown.anchors else shown.lines.to_instrumented(line)
        asked = _FORM[task].format(line=number, text=code.split("\n")[line - 1].strip(), variable=run.probes[probe].variable)
    prints = shown is not None and bool(shown.anchors)
    if prints and task == "path":
        asked += " A line that is a print call of this kind does not count."
    parts = [f"The program, with line numbers, of which `{run.program.entry_point}` is run:\n{program}", given, asked]
    return _chat(name, _PROBED + (_PREDICT if prints else ""), "\n\n".join(part for part in parts if part))


def _chat(name: str, system: str, user: str) -> Question:
    return Question(name, (("system", system), ("user", user)))
