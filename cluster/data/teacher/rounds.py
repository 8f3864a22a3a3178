"""Questions to engines of our own: gathered, asked at once, and answered together."""

import asyncio
import re

from ray.exceptions import RayError

from cluster.config import TeacherSettings
from cluster.data.teacher.answers import Answer, Answers, Question, TeacherDown, whole
from cluster.data.teacher.in_process import answered_in_process


class Rounds:
    """Questions to engines of our own, gathered until nothing goes on without an answer."""

    def __init__(self, settings: TeacherSettings, answers: Answers) -> None:
        self._settings = settings
        self._answers = answers
        self.waiting: list[tuple[Question, asyncio.Future[Answer]]] = []

    async def ask(self, question: Question) -> str:
        """The teacher's whole answer, from disk or from the next round.

        Raises:
            NoAnswer: there is none.
        """
        answer = self._answers.get(question.key(self._settings.model))
        if answer is None:
            answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            self.waiting.append((question, answered))
            answer = await answered
        return whole(answer)

    def answer_all(self) -> None:
        """Ask what is waiting, each question once, and file every answer as it comes in.

        Raises:
            TeacherDown: the engines do not start, or do not go on.
        """
        waiting, self.waiting = self.waiting, []
        questions = {question.key(self._settings.model): question for question, _ in waiting}
        found: dict[str, Answer] = {}
        try:
            for key, answer in answered_in_process(self._settings, questions):
                found[key] = answer
                # Whether a question is too long is a matter of the settings, which may be others the next time.
                if answer.finish != "too long":
                    self._answers.put(key, answer)
        except RayError as error:
            raise TeacherDown(f"data.teacher.in_process: {_cause(str(error).strip())}") from None
        for question, answered in waiting:
            answered.set_result(found[question.key(self._settings.model)])


def _cause(told: str) -> str:
    """What went wrong in a worker: of all that Ray tells of it, the first line `Type: message`."""
    lines = told.splitlines()
    return next((line for line in lines if re.match(r"[A-Za-z_][\w.]*: \S", line)), lines[0])
