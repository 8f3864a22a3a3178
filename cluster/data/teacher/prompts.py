"""What the teacher is asked, in our own words.

The rules of programs are those that `rl.synthesis.structure` checks and those of the cell; the form of chains is the one
that `rl.responses` reads.
"""

import re
from random import Random

from rl.problems import Problem, Task
from rl.prompts import assertion
from rl.synthesis.grid import Cell, Pool
from rl.synthesis.structure import ALLOWED_IMPORTS, MOST_ARGUMENTS

Messages = tuple[tuple[str, str], ...]

_BLOCK = re.compile(r"^```[^\n`]*\n(.*?)^```[ \t]*$", re.DOTALL | re.MULTILINE)


def code_blocks(answer: str) -> list[str]:
    """What stands in the Markdown code blocks of an answer."""
    return _BLOCK.findall(answer)


_THEMES = (
    *("shop orders", "a music playlist", "train timetables", "recipe quantities", "sensor readings", "library loans"),
    *("word games", "sports scores", "bank statements", "file paths", "log lines", "map coordinates", "school marks"),
    *("seat bookings", "colour codes", "plant watering", "parcel weights", "chat messages", "product codes", "dice rolls"),
    *("weather diaries", "stock levels", "name lists", "simple ciphers", "text formatting", "number puzzles"),
)
"""What a program may be about; drawn, so that two programs of one cell differ."""

_STRUCTURES = ("an `if` statement", "a `for` loop", "a `while` loop", "an `if`/`elif` chain")

_PROGRAM_SYSTEM = (
    "You write short Python programs for exercises in reading code. You answer with one code block and nothing else."
)

_PROGRAM_RULES = f"""\
Rules that a checker enforces:
- no comments, no docstrings, no classes, no generators, no lambdas that are stored or returned;
- every function takes 1 to {MOST_ARGUMENTS} arguments, without default values, and returns a value;
- outside the functions only imports (of {", ".join(sorted(ALLOWED_IMPORTS))}) and, as the last line, one `print` of one
  call of the entry function; nothing else is printed and the entry function is called nowhere else;
- the arguments of that call are written out as literals, each collection or text with more than five elements or
  characters where that makes sense;
- the same input always gives the same result: no randomness, time, files, environment, `id` or `hash`, and never the
  order of a set (sort it first);
- it ends within a fraction of a second, raises nothing, and the result is a number, text, list, tuple, set or dict;
- between two and ten assignments are carried out outside of loops; no value is longer than a few hundred characters.
Answer with the whole program as one Markdown code block that begins with ```python."""


def program_messages(cell: Cell, rng: Random) -> Messages:
    """Asks for a program of a cell; `rng` draws its theme and its control structures."""
    wanted = cell.configuration
    subject = f"`{cell.method}`" if cell.unit == "built-in" else f"`{cell.method}` of `{cell.unit}`"
    lines = [
        f"Write a Python program about {rng.choice(_THEMES)} whose result hangs on {subject}.",
        f"- It uses {subject} at least twice, at least once with a nested expression.",
        "- At least one other built-in function or method takes part."
        if wanted.others
        else "- Beside it, no other method or built-in function is called but plain conversions such as `str` and `len`.",
        "- There are two functions: the second is the entry and calls the first."
        if wanted.chain
        else "- There is exactly one function.",
    ]
    if wanted.depth:
        inside = ", and inside it ".join(rng.choices(_STRUCTURES, k=wanted.depth))
        lines.append(f"- Control flow is nested exactly {wanted.depth} deep: {inside}.")
    else:
        lines.append("- There are no `if`, `for` or `while` statements.")
    return (("system", _PROGRAM_SYSTEM), ("user", "\n".join(lines) + "\n\n" + _PROGRAM_RULES))


_INPUT_SYSTEM = "You choose inputs for short Python programs. You answer with one call and nothing else."


def input_messages(code: str, call: str, pool: Pool) -> Messages:
    """Asks for another call of a program, with some of the pool's values in it."""
    entry = call.partition("(")[0]
    numbers, texts = ", ".join(map(repr, pool.ints)), ", ".join(map(repr, pool.strings))
    asked = f"""\
```python
{code}
print({call})
```

Write another call of `{entry}`, for which the program does something else than for this one.
- It has as many arguments, of the same types, by place, all written out as literals; nothing is assigned or computed.
- Every collection or text has more than five elements or characters, where the program can take that.
- Draw on these values where they fit: the numbers {numbers}; the texts {texts}.
- The program runs to its end with it and raises nothing.
The answer begins with `{entry}(` and ends with its closing parenthesis."""
    return (("system", _INPUT_SYSTEM), ("user", asked))


_CHAIN_SYSTEM = {
    Task.OUTPUT: """\
You trace Python programs by hand. You are given a program whose `print` calls report its state, and an assertion with
`????` in place of its right-hand side. Go through the execution and write, for every `print` that is carried out, in
order of execution:
<reasoning>one to three short sentences: what led to this state</reasoning><print>the exact line that is printed</print>
and last, once:
<reasoning>one short sentence</reasoning><answer>the value for ????, as a Python literal</answer>
Write nothing outside of these blocks.""",
    Task.INPUT: """\
You trace Python programs by hand. You are given a program whose `print` calls report its state, and an assertion with
`????` in place of the input. One input that fits is given to you; write as one who finds it from the output. First, once:
<reasoning>why an input of this kind gives the output, in a few short sentences</reasoning><input>the whole call</input>
then, for every `print` that is carried out with this input, in order of execution:
<reasoning>one to three short sentences: what led to this state</reasoning><print>the exact line that is printed</print>
and last, once:
<reasoning>one short sentence that the output is reached</reasoning><answer>the whole call again</answer>
Write nothing outside of these blocks, and do not mention that the input was given.""",
}


def chain_messages(problem: Problem) -> Messages:
    """Asks for the reasoning chain of a problem.

    For the output task nothing is given away. For the input task the executed call is: inputs are not unique, and only the
    states of this one are known.
    """
    asked = f"{problem.instrumented.rstrip()}\n\n{assertion(problem)}"
    if problem.task is Task.INPUT:
        asked += f"\n\nAn input that fits: {problem.call}"
    return (("system", _CHAIN_SYSTEM[problem.task]), ("user", asked))


_ANCHOR_SYSTEM = """\
You add print statements to Python programs so that a run shows its state. You answer with the whole program and nothing
else. Rules that a checker enforces:
- every print is exactly print(f'NAME: {NAME}'), on a line of its own, where NAME is one variable that is bound there;
- one after every assignment or update that stands outside of loops; none inside of a `for` or `while` loop, but after the
  loop one for every variable that it changes;
- a function that returns an expression names it first: `res = EXPRESSION`, then print(f'return_val: {res}'), then
  `return res`; where it returns a name, only print(f'return_val: {NAME}') is added in front;
- nothing else is changed, added, left out or put elsewhere."""


def anchor_messages(code: str) -> Messages:
    """Asks for print anchors in a program (StepCodeReasoner's rules, appendix A, in our words)."""
    return (("system", _ANCHOR_SYSTEM), ("user", code))
