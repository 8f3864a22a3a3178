"""Answers on disk: JSONL, a line an answer, written as it comes in."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from cluster.runs import write_whole

REFUSAL = "teacher: refuses"
"""Why there is no answer, where the teacher said that it gives none."""


class NoAnswer(Exception):
    """A question that stays without a usable answer; the reason is the same for all of its kind."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason, self.detail = reason, detail

    @property
    def fault(self) -> str:
        """As `Candidate.fault` has it."""
        return f"{self.reason} | {self.detail}" if self.detail else self.reason


class TeacherDown(Exception):
    """The endpoint answers nobody: what is not asked yet waits for a build that is started again."""


@dataclass(frozen=True, slots=True)
class Question:
    """One request to the teacher; the same question has the same answer for good."""

    messages: tuple[tuple[str, str], ...]
    """(role, content) pairs."""
    temperature: float
    top_p: float
    max_tokens: int
    seed: int

    def key(self, model: str) -> str:
        """What the answer of a model to this question is filed under."""
        return hashlib.sha256(json.dumps([model, asdict(self)]).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the teacher said."""

    text: str
    finish: str
    """`stop` for a whole answer, `length` for one cut off, `refused` or `too long` (the question) for none."""
    tokens: int | None = None
    """How many it took; None where an endpoint does not say."""


def whole(answer: Answer) -> str:
    """The text of an answer that is one. Raises NoAnswer for a refusal and for half an answer."""
    if answer.finish == "refused":
        raise NoAnswer(REFUSAL, answer.text[:200])
    if answer.finish == "too long":
        raise NoAnswer("teacher: question too long", answer.text)
    if answer.finish == "length":
        raise NoAnswer("teacher: answer cut off")
    return answer.text


class Answers:
    """The answers of a run so far. One process at a time writes them."""

    def __init__(self, path: Path) -> None:
        """Read what is there; lines that a crash or a disk has spoilt go, and their questions are asked again."""
        self._path = path
        lines = path.read_bytes().split(b"\n") if path.exists() else [b""]
        rows = {row["key"]: row for line in lines if (row := _row(line)) is not None}
        if len(rows) != len(lines) - 1:
            write_whole(path, "".join(json.dumps(row) + "\n" for row in rows.values()))
        self._known = {key: Answer(row["text"], row["finish"], row.get("tokens")) for key, row in rows.items()}

    def __enter__(self) -> "Answers":
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("a")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    def get(self, key: str) -> Answer | None:
        """The answer filed under a key."""
        return self._known.get(key)

    def put(self, key: str, answer: Answer) -> None:
        """File an answer; it is with the operating system when this returns."""
        self._known[key] = answer
        self._file.write(json.dumps({"key": key, **asdict(answer)}) + "\n")
        self._file.flush()


def _row(line: bytes) -> dict[str, Any] | None:
    """A line of the file; None if it is no answer."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    whole = isinstance(row, dict) and all(isinstance(row.get(field), str) for field in ("key", "text", "finish"))
    return row if whole else None
