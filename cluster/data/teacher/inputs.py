"""Further inputs for the teacher's programs, by the teacher: asked for with values to draw on, as the open successor does.

Whether an input does anything of use is for execution to say; here it must be another call of the program, and no more.
"""

from random import Random

from cluster.config import TaughtSettings
from cluster.data.teacher.answers import NoAnswer, Question
from cluster.data.teacher.client import Ask
from cluster.data.teacher.prompts import code_blocks, input_messages
from rl.answers import UnreadableAnswer, literal_call, one_call
from rl.synthesis.grid import Pool

NO_INPUT = "teacher: no further input"


async def further_calls(
    ask: Ask, code: str, call: str, wanted: TaughtSettings, max_tokens: int, rng: Random
) -> list[str | NoAnswer]:
    """So many further calls as are wanted, each with the arguments of the one before changed, or why there is none.

    Args:
        ask: asks the teacher.
        code: the program, without a call.
        call: its first call, all arguments literals given by place.
        wanted: how many, and how they are sampled.
        max_tokens: longest answer.
        rng: draws the pools and the seeds of the questions.
    """
    known, found = [call], list[str | NoAnswer]()
    for _ in range(wanted.mutations):
        messages = input_messages(code, known[-1], Pool(rng))
        question = Question(messages, wanted.input_temperature, wanted.input_top_p, max_tokens, rng.getrandbits(31))
        try:
            known.append(read_call(await ask(question), known))
        except NoAnswer as reason:
            found.append(reason)
        else:
            found.append(known[-1])
    return found


def read_call(answer: str, known: list[str]) -> str:
    """The call in an answer: it stands alone, or in the one code block.

    Args:
        answer: the teacher's.
        known: calls that it must differ from, the first of which says the function and how many arguments it takes.

    Raises:
        NoAnswer: there is no such call.
    """
    entry = known[0].partition("(")[0]
    said = answer.rpartition("</think>")[2]
    blocks = code_blocks(said)
    if len(blocks) > 1:
        raise NoAnswer(NO_INPUT, f"{len(blocks)} code blocks")
    text = (blocks[0] if blocks else said).strip()
    if not text.startswith(f"{entry}("):
        raise NoAnswer(NO_INPUT, f"{text[:80]!r} does not begin with {entry}(")
    try:
        call = literal_call(text, entry)
        read, first = one_call(call, entry), one_call(known[0], entry)
    except UnreadableAnswer as reason:
        raise NoAnswer(NO_INPUT, str(reason)) from None
    if read.keywords or len(read.args) != len(first.args):
        raise NoAnswer(NO_INPUT, f"{call:.80} does not give {len(first.args)} arguments by place")
    if call in {literal_call(other, entry) for other in known}:
        raise NoAnswer(NO_INPUT, f"{call:.80} is there already")
    return call
