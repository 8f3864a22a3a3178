"""Which responses of a teacher are taken as training chains: those that say only what execution says.

This is rejection sampling with every anchor checked, not the answer alone (StepCodeReasoner 3.2).
"""

import re

from rl.answers import UnreadableAnswer, literal_call, same_value_text
from rl.problems import Problem, Task
from rl.responses import Response, parse, render

_STEP = re.compile(r"<reasoning>(.*?)</reasoning>\s*<(print|input|answer)>(.*?)</\2>", re.DOTALL)


def tidied(text: str) -> str:
    """A teacher's response as `render` would have written it: without its thinking, and without spaces between blocks.

    Raises:
        ValueError: there is other text between the blocks, one lacks its reasoning, they are out of order, or the text holds
            half of a surrogate pair, which no file can.
    """
    said = text.rpartition("</think>")[2].strip()
    if any("\ud800" <= character <= "\udfff" for character in said):
        raise ValueError("text: half of a surrogate pair is in it")
    stray = _STEP.sub("", said).strip()
    if stray:
        raise ValueError(f"blocks: outside of them stands {stray:.80}")
    blocks = [(kind, (reasoning.strip(), body.strip())) for reasoning, kind, body in _STEP.findall(said)]
    kinds = [kind for kind, _ in blocks]
    given = kinds[:1] == ["input"]
    if kinds != ["input"] * given + ["print"] * kinds.count("print") + ["answer"]:
        raise ValueError(f"blocks: out of order: {' '.join(kinds):.80}")
    if not all(reasoning for _, (reasoning, _) in blocks):
        raise ValueError("blocks: a reasoning is empty")
    return render([step for kind, step in blocks if kind == "print"], blocks[-1][1], blocks[0][1] if given else None)


def objections(problem: Problem, response: str) -> list[str]:
    """Why a response is no chain for a problem; nothing means it is accepted.

    For the output task every print must be the executed state of its place, with none missing and none more, and the
    answer the executed output. For the input task the proposed input and the answer must be the problem's own call as
    well: what another input does has to be executed first, and is then another problem.
    """
    read = parse(response)
    found = list(_steps(problem, read))
    if problem.task is Task.OUTPUT:
        if read.proposed_input is not None:
            found.append("input: there is one, which the output task does not ask for")
        if read.answer is None:
            found.append("answer: there must be exactly one")
        elif not same_value_text(read.answer, problem.output):
            found.append(f"answer: {read.answer:.80} is said, execution gives {problem.output:.80}")
        return found
    for name, text in (("input", read.proposed_input), ("answer", read.answer)):
        if text is None:
            found.append(f"{name}: there must be exactly one")
        elif not _is_call(text, problem.call):
            found.append(f"{name}: {text:.80} is not the executed call {problem.call:.80}")
    return found


def _steps(problem: Problem, read: Response) -> list[str]:
    said = [step.state for step in read.steps]
    if len(said) != len(problem.states):
        return [f"prints: {len(said)} are said, execution has {len(problem.states)}"]
    pairs = zip(said, (state.strip() for state in problem.states), strict=True)
    return [
        f"print {number}: {text!r:.80} is said, execution gives {state!r:.80}"
        for number, (text, state) in enumerate(pairs)
        if text != state
    ]


def _is_call(text: str, call: str) -> bool:
    """Whether a proposed input is a call, in whatever spacing and quotes; one that is no literal only as it is written."""
    entry, _, arguments = call.partition("(")
    try:
        return literal_call(text, entry) == literal_call(call, entry)
    except UnreadableAnswer:
        return text in (call.strip(), arguments.rstrip().removesuffix(")").strip())
