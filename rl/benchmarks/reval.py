"""REval: its programs and probes, and its official rules for answers (arXiv 2403.16437; r-eval/REval, revision 2f148b9).

REval states no licence, so its files are not part of this repository. Whoever has them names the folder that holds
`DREval_data.jsonl` and `DREval_tasks.jsonl`. The four tasks ask about the same probes: coverage (does the line run?),
path (which line runs next?), state (value and type of a variable after the line), output (complete the assertions).

Nothing is executed here; `reward.reval` runs programs and answers.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DATA_FILE, TASKS_FILE = "DREval_data.jsonl", "DREval_tasks.jsonl"

_TRIVIAL = ("assertTrue(True)", "assertFalse(False)", "assert True", "assert False")


@dataclass(frozen=True, slots=True)
class RevalProgram:
    """A function with inputs (HumanEval part), or a class with test classes (ClassEval part)."""

    id: str
    entry_point: str
    code: str
    inputs: tuple[str, ...]
    """Arguments as a tuple's text for a function, the body of a test for a class."""
    test: str
    """The unittest source of a class; empty for a function."""


@dataclass(frozen=True, slots=True)
class RevalProbe:
    """A line, counted from 1, and an expression whose value after it is asked for."""

    line: int
    variable: str


@dataclass(frozen=True, slots=True)
class RevalRun:
    """One program with one input, and what is asked about that run."""

    program: RevalProgram
    input_index: int
    probes: tuple[RevalProbe, ...]
    assertion: str
    """The test with `??` in place of what the output task asks for."""

    @property
    def given(self) -> str | int:
        """The arguments of a function, or the number of a class's test class."""
        return self.input_index if self.program.test else self.program.inputs[self.input_index]

    @property
    def id(self) -> str:
        """`PROGRAM/INPUT`: DREval/0/3."""
        return f"{self.program.id}/{self.input_index}"


def read_reval(data: str, tasks: str) -> list[RevalRun]:
    """The runs of REval, from the texts of its two files.

    Raises:
        ValueError: a row lacks a field or names a program or an input that is not there; says the file, line and field.
    """
    programs = []
    for place, row in _rows(data, DATA_FILE):
        inputs = _field(row, "inputs", list, place)
        entry, code, test = (_field(row, name, str, place) for name in ("entry_point", "code", "test"))
        programs.append(RevalProgram(_field(row, "task_id", str, place), entry, code, tuple(map(str, inputs)), test))
    runs = []
    for place, row in _rows(tasks, TASKS_FILE):
        index = _field(row, "idx", int, place)
        if not 0 <= index < len(programs):
            raise ValueError(f"{place}: idx: {index}, there are {len(programs)} programs")
        runs += [_run(programs[index], pair, place) for pair in _field(row, "tasks", list, place)]
    return runs


def _run(program: RevalProgram, pair: Mapping[str, Any], place: str) -> RevalRun:
    index = _field(pair, "input_idx", int, place)
    if not 0 <= index < len(program.inputs):
        raise ValueError(f"{place}: input_idx: {index}, {program.id} has {len(program.inputs)} inputs")
    probes = tuple(
        RevalProbe(_field(probe, "lineno", int, place), _field(probe, "var", str, place))
        for probe in _field(pair, "task", list, place)
    )
    return RevalRun(program, index, probes, _field(pair, "output_pred", str, place))


def _rows(text: str, file: str) -> list[tuple[str, dict[str, Any]]]:
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ValueError(f"{file}:{number}: not JSON: {error}") from None
            if not isinstance(row, dict):
                raise ValueError(f"{file}:{number}: must be a JSON object")
            rows.append((f"{file}:{number}", row))
    return rows


def _field(row: Mapping[str, Any], name: str, kind: type, place: str) -> Any:
    value = row.get(name) if isinstance(row, Mapping) else None
    if name == "test" and value is None:
        return ""
    if not isinstance(value, kind):
        raise ValueError(f"{place}: {name}: must be {kind.__name__}")
    return value


def answer_text(response: str) -> str:
    """What the rules take for the answer: the text between the first `[ANSWER]` and the first `[/ANSWER]` after it."""
    _, marked, rest = response.partition("[ANSWER]")
    return (rest if marked else response).partition("[/ANSWER]")[0].strip()


def coverage_answer(response: str) -> bool:
    """Whether the answer's first three letters say yes; anything else is a no."""
    return "YES" in answer_text(response)[:3].upper()


def path_answer(response: str, code: str) -> frozenset[int]:
    """The lines, counted from 1, that the answer's first line can mean: all that read like it, or -1 for none."""
    said = answer_text(response).split("\n")[0].strip()
    if said == "-1":
        return frozenset({-1})
    return frozenset(number for number, line in enumerate(code.split("\n"), start=1) if said and line.strip() == said)


def path_is_right(said: Collection[int], following: Collection[int]) -> bool:
    """Whether any line that was meant is one that ran next."""
    return any(line in following for line in said)


def completed_test(response: str, assertion: str) -> str | None:
    """The test that the output task runs; None where the answer fails outright.

    An answer with fewer lines than the test is padded with the test's first ones. It fails if it has fewer assertions
    than the test, or one that says nothing.
    """
    given, said = assertion.strip().split("\n"), answer_text(response).split("\n")
    text = "\n".join(given[: max(0, len(given) - len(said))] + said)
    if any(trivial in text for trivial in _TRIVIAL) or text.count("assert") < assertion.count("assert"):
        return None
    return text


@dataclass(frozen=True, slots=True)
class CoverageFigures:
    """How well the coverage task was answered; a rate of nothing is 0."""

    accuracy: float
    precision: float
    recall: float
    f1: float


def coverage_figures(said: Sequence[bool], ran: Sequence[bool]) -> CoverageFigures:
    """Accuracy, precision, recall and F1 of "this line runs".

    Raises:
        ValueError: there is no answer, or not one for each truth.
    """
    if not said or len(said) != len(ran):
        raise ValueError(f"coverage: {len(said)} answers to {len(ran)} probes")
    hits = sum(answer and truth for answer, truth in zip(said, ran, strict=True))
    precision = hits / sum(said) if any(said) else 0.0
    recall = hits / sum(ran) if any(ran) else 0.0
    return CoverageFigures(
        accuracy=sum(answer == truth for answer, truth in zip(said, ran, strict=True)) / len(said),
        precision=precision,
        recall=recall,
        f1=2 * precision * recall / (precision + recall) if hits else 0.0,
    )


_CREDIT = {(True, True, True, True): 1.0, (True, True, True, False): 0.5, (True, True, False, False): 0.25} | {
    (True, False, False, False): 0.125
}


def incremental_consistency(verdicts: Sequence[tuple[bool, bool, bool, bool]]) -> float:
    """IC in per cent: the mean credit of the probes' verdicts on (coverage, state, path, output), in that order.

    Each task builds on those before it, so a right answer after a wrong one earns nothing, and spoils the rest. The
    output verdict of a run counts for each of its probes.

    Raises:
        ValueError: there is no probe.
    """
    if not verdicts:
        raise ValueError("verdicts: none, consistency is a mean over at least one probe")
    return 100 * sum(_CREDIT.get(verdict, 0.0) for verdict in verdicts) / len(verdicts)
