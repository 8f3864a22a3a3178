"""Reasoning chains from the teacher: asked for until one says at every print, and at the end, what execution said."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from cluster.data.teacher.answers import NoAnswer, Question
from cluster.data.teacher.client import Ask, Teacher
from cluster.data.teacher.prompts import chain_messages
from rl.problems import Problem
from rl.seeds import derived_seed
from rl.synthesis.acceptance import objections, tidied
from rl.synthesis.candidates import Rejected


def with_chains(
    problems: Sequence[Problem], teacher: Teacher, accept: Callable[[Problem], None]
) -> list[Problem | Rejected]:
    """Each problem with a chain of the teacher's, or why there is none.

    Args:
        problems: the teacher is asked about these, many at a time.
        teacher: who is asked.
        accept: told of each as soon as it has its chain; raises Rejected where it must not be taken.

    Raises:
        TeacherDown: the endpoint answers nobody.
    """

    async def chained(ask: Ask, problem: Problem) -> Problem | Rejected:
        try:
            whole = replace(problem, chain=await _chain(ask, problem, teacher), tags={**problem.tags, "chain": "teacher"})
            accept(whole)
        except NoAnswer as reason:
            return Rejected(reason.reason, reason.detail)
        except Rejected as reason:
            return reason
        return whole

    return teacher.each(chained, problems)


async def _chain(ask: Ask, problem: Problem, teacher: Teacher) -> str:
    """A response that execution confirms.

    Raises:
        NoAnswer: no sample is one; what is wrong with the last is told.
    """
    settings = teacher.settings
    fault = NoAnswer("")
    for sample in range(settings.chain_samples):
        seed = derived_seed(sample, f"{problem.id}/{problem.call}") >> 1
        question = Question(
            chain_messages(problem), settings.chain_temperature, settings.chain_top_p, settings.max_tokens, seed
        )
        try:
            chain = tidied(await ask(question))
            found = objections(problem, chain)
        except NoAnswer as reason:
            fault = reason
            continue
        except ValueError as reason:
            found = [str(reason)]
        if not found:
            return chain
        fault = NoAnswer("teacher: no right chain", f"sample {sample + 1} of {settings.chain_samples}: {found[0]}")
    raise fault
