"""Anchors from the teacher (StepCodeReasoner 3.2: GPT-4o places them), verified and held against our engine's."""

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cluster.commands.program_files import Source
from cluster.config import BadInput, RunSettings
from cluster.data.teacher.answers import NoAnswer, Question, TeacherDown
from cluster.data.teacher.client import Ask, Teacher, open_teacher
from cluster.data.teacher.prompts import anchor_messages
from cluster.session import connected
from reward.sandbox import Sandbox
from reward.tracing import Trace, trace
from rl.anchors import Instrumented, ProgramError
from rl.anchors.teacher import Agreement, Inserted, TeacherError, identical_share, verified
from rl.verdicts import Verdict

_BLOCK = re.compile(r"^```[^\n`]*\n(.*?)^```[ \t]*$", re.DOTALL | re.MULTILINE)


def teacher_anchors(
    sources: Sequence[Source], settings: RunSettings, folder: Path, sandbox: Sandbox
) -> list[dict[str, Any]]:
    """For every program what the teacher made of it: its instrumented form with its states, or why that is refused.

    Args:
        sources: the programs, each with a call or none.
        settings: whose `data.teacher` is asked.
        folder: where its answers are kept.
        sandbox: runs each program as it was and with its anchors.

    Raises:
        BadInput: there is no teacher, or it answers nobody; what was answered is kept.
    """
    teacher = open_teacher(settings.data, folder)
    if teacher is None:
        raise BadInput("data.teacher: missing; it says who is asked, by model and base_url or in_process")
    with connected(settings.cluster) if teacher.settings.in_process else nullcontext():
        try:
            answers = _answers(sources, teacher)
        except TeacherDown as error:
            raise BadInput(f"{error}; what was answered is kept") from None
    return [_row(source, answer, sandbox) for source, answer in zip(sources, answers, strict=True)]


def _answers(sources: Sequence[Source], teacher: Teacher) -> list[str | NoAnswer]:
    async def asked(ask: Ask, source: Source) -> str | NoAnswer:
        question = Question(anchor_messages(source.code), 0.0, 1.0, teacher.settings.max_tokens, 0)
        try:
            return await ask(question)
        except NoAnswer as reason:
            return reason

    return teacher.each(asked, sources)


def _row(source: Source, answer: str | NoAnswer, sandbox: Sandbox) -> dict[str, Any]:
    named: dict[str, Any] = {} if source.id is None else {"id": source.id}
    if isinstance(answer, NoAnswer):
        return {**named, "verified": False, "kind": answer.reason, "reason": str(answer), "code": ""}
    seen: list[Trace] = []

    def execute(program: Instrumented) -> object:
        seen.append(trace(sandbox, program))
        if seen[-1].verdict not in (Verdict.OK, Verdict.EXCEPTION):
            raise TeacherError(f"execution: {seen[-1].verdict}")
        return {name: value for name, value in asdict(seen[-1]).items() if name != "states"}

    text = _code(answer)
    try:
        inserted: Inserted = verified(source.code, source.call, text, execute)
    except (ProgramError, TeacherError, ValueError) as error:
        kind = "not a program" if isinstance(error, ProgramError) else "refused"
        return {**named, "verified": False, "kind": kind, "reason": str(error), "code": text}
    agreed = inserted.agreement
    return {
        **named,
        "verified": True,
        "code": text,
        "anchors": [{"line": anchor.line, "name": anchor.name} for anchor in inserted.program.anchors],
        "states": list(seen[-1].states),
        "agreement": {**asdict(agreed), "rate": agreed.rate, "identical": agreed.identical},
    }


def _code(answer: str) -> str:
    """The program in an answer: its one code block, or all of it where there is none."""
    said = answer.rpartition("</think>")[2]
    blocks = _BLOCK.findall(said)
    return blocks[0] if len(blocks) == 1 else said.strip("\n") + "\n"


def summary_of(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What the rows come to: the verified share, agreement with the engine among those, and why the others are refused."""
    agreements = [
        Agreement(**{name: row["agreement"][name] for name in ("both", "teacher_only", "engine_only")})
        for row in rows
        if row["verified"]
    ]
    both = sum(one.both for one in agreements)
    placed = both + sum(one.teacher_only + one.engine_only for one in agreements)
    return {
        "programs": len(rows),
        "verified": len(agreements),
        "verified_share": len(agreements) / len(rows),
        "identical_share": identical_share(agreements) if agreements else None,
        "shared_anchors": both / placed if placed else None,
        "refused": dict(Counter(row["kind"] for row in rows if not row["verified"])),
    }


def told(row: dict[str, Any]) -> str:
    """A row or the summary for people."""
    if "programs" in row:
        agree = (
            ""
            if row["identical_share"] is None
            else (
                f"\nplaced as our engine places them: {row['identical_share']:.1%} of the verified programs "
                f"(between two of the paper's teachers: 84.2%), {row['shared_anchors']:.1%} of the anchors of either"
            )
        )
        refused = "".join(f"\n  {count:>5}  {kind}" for kind, count in sorted(row["refused"].items()))
        return f"verified: {row['verified']} of {row['programs']} programs ({row['verified_share']:.1%}){refused}{agree}"
    head = f"{row['id']}: " if "id" in row else ""
    if not row["verified"]:
        return f"{head}{row['reason']}"
    if "id" in row:
        return f"{head}verified, {len(row['anchors'])} anchors, agreement {row['agreement']['rate']:.2f}"
    states = "\n".join(row["states"])
    return f"{row['code'].rstrip()}\n\n{states}\n".encode(errors="backslashreplace").decode()
