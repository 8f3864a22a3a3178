"""The rows of a wave, a row a candidate: screened, measured, taught, and cut to what the split still needs.

A row has the problem that was made of a candidate, or says why there is none.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cluster.data.difficulty import Difficulty
from cluster.data.making import not_made
from cluster.data.plain_rows import as_row, from_row
from cluster.data.teacher import Teacher
from cluster.data.teacher.chains import with_chains
from rl.problems import Problem
from rl.synthesis.candidates import Candidate, Rejected


def screened(candidate: Candidate, outcome: Problem | Rejected, *checks: Callable[[Problem], None]) -> dict[str, Any]:
    """What is kept of a candidate: the problem, or why it is none."""
    try:
        if isinstance(outcome, Rejected):
            raise outcome
        for check in checks:
            check(outcome)
    except Rejected as reason:
        return {"rejected": _aside(candidate, reason)}
    except (RecursionError, MemoryError) as error:
        return {"rejected": _aside(candidate, not_made(error))}
    return {"problem": as_row(outcome)}


def _aside(candidate: Candidate, reason: Rejected) -> dict[str, str]:
    """A row of `rejected.jsonl`."""
    told = {key: value or "" for key, value in asdict(candidate).items() if key != "fault"}
    return {**told, "reason": str(reason), "kind": reason.reason}


def _set_aside(problem: Problem, reason: Rejected) -> dict[str, Any]:
    """The row of a problem that was screened: it stays known to the screen, so its row says as what."""
    cell = problem.tags.get("cell", "")
    candidate = Candidate(problem.id, problem.code, problem.call, None, problem.source, cell)
    return {"rejected": {**_aside(candidate, reason), "tags": problem.tags}, "screened": as_row(problem)}


def measured(rows: list[dict[str, Any]], difficulty: Difficulty, known: Path) -> list[dict[str, Any]]:
    """A wave's rows after its problems were measured; those outside of the band are set aside."""
    told = list(rows)
    asked = [number for number, row in enumerate(rows) if "problem" in row]
    outcomes = difficulty.outcomes([from_row(rows[number]["problem"]) for number in asked], known)
    for number, (problem, reason) in zip(asked, outcomes, strict=True):
        told[number] = {"problem": as_row(problem)} if reason is None else _set_aside(problem, reason)
    return told


def taught(
    rows: list[dict[str, Any]], teacher: Teacher, missing: int, accept: Callable[[Problem], None]
) -> list[dict[str, Any]]:
    """A wave's rows with the teacher's chains; a problem without one, or that is not accepted with it, is set aside.

    The teacher is asked for no more than the split still needs, and for the next ones where it failed.
    """
    told = list(rows)
    waiting = [number for number, row in enumerate(rows) if "problem" in row]
    while waiting and missing:
        asked, waiting = waiting[:missing], waiting[missing:]
        problems = [from_row(rows[number]["problem"]) for number in asked]
        for number, problem, outcome in zip(asked, problems, with_chains(problems, teacher, accept), strict=True):
            if isinstance(outcome, Rejected):
                told[number] = _set_aside(problem, outcome)
            else:
                told[number] = {"problem": as_row(outcome)}
                missing -= 1
    return told


def cut(rows: list[dict[str, Any]], missing: int) -> list[dict[str, Any]]:
    """A wave's rows without the problems beyond what the split still needs: those are set aside as well."""
    told: list[dict[str, Any]] = []
    for row in rows:
        if "problem" in row and not missing:
            told.append(_set_aside(from_row(row["problem"]), Rejected("the split was full")))
        else:
            told.append(row)
            missing -= "problem" in row
    return told
