"""The factory: candidates are made into problems in parallel, screened in order, and kept part by part.

Making is Ray Data's: every worker process holds a sandbox of its own. Screening is sequential, since whether a problem is
kept depends on those before it; so the result is the same however many workers there are. What becomes of a candidate is on
disk at once, and an interrupted build goes on from there.
"""

import json
import logging
import shutil
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import ray
from ray.data import DataContext

from cluster.config import BadInput, RunSettings, SplitSettings
from cluster.data.card import write_card
from cluster.data.cell_counts import write_cells
from cluster.data.difficulty import Difficulty
from cluster.data.lengths import Budget
from cluster.data.numbered import Listed, Source
from cluster.data.parts import Wave, kept_parts
from cluster.data.plain_rows import from_row
from cluster.data.rows import cut, measured, screened, taught
from cluster.data.screening import Screen
from cluster.data.splits import SPLITS, write_split
from cluster.data.tasks import make_chunk
from cluster.data.teacher import Teacher, TeacherDown
from cluster.data.teacher.programs import Taught
from cluster.monitoring.progress import Advance
from cluster.runs import RunFolder, write_jsonl, write_whole
from reward.sandbox import Sandbox, SandboxUnavailable
from reward.settings import sandbox_limits
from rl.problems import Problem
from rl.synthesis.candidates import Candidate, Rejected

_CHUNKS = (16, 256)
"""Candidates that one task makes, at least and at most. Between two a core waits for the driver, a tenth of a second."""

_CHUNKS_PER_CORE = 4
"""Into how many tasks for each core what is left of a wave would be divided."""

_FEWEST, _WAVE = 64, 4096
"""Candidates whose results are kept together, at least and at most."""

_ROUNDS = 8
"""Questions of a wave to an endpoint, for each that it is asked at a time."""

_ENOUGH_TRIES = 20
"""A split is given up when so many times its size were tried: its source is too small for it."""


@dataclass(slots=True)
class Split:
    """A split being filled: its problems so far, what was set aside and why."""

    name: str
    problems: list[Problem] = field(default_factory=list)
    rejected: list[dict[str, str]] = field(default_factory=list)
    tried: int = 0
    """Candidates looked at; the next one's number."""

    def candidates(self, problems: int) -> int:
        """As many as nearly always give so many problems more, by what came of those before, at first nine of ten.

        That is three standard deviations more than what mostly does.
        """
        share = (len(self.problems) + 9) / (self.tried + 10)
        return ceil((problems + 3 * sqrt(problems * (1 - share))) / share)

    @property
    def reasons(self) -> dict[str, int]:
        """How many were set aside for which reason."""
        return dict(Counter(row["kind"] for row in self.rejected))


@dataclass(frozen=True, slots=True)
class Factory:
    """What every split is filled with."""

    settings: RunSettings
    screen: Screen
    teacher: Teacher | None
    difficulty: Difficulty | None
    budget: Budget
    parts: Path
    """Folder of what is kept of each wave until all splits are there."""
    advance: Advance

    def accept(self, problem: Problem) -> None:
        """A problem has got its chain. Raises Rejected where it is too long."""
        self.budget.check(problem)
        self.advance(1)


def build(
    settings: RunSettings,
    sources: dict[str, Source],
    run: RunFolder,
    advance: Advance,
    teacher: Teacher | None = None,
    difficulty: Difficulty | None = None,
) -> None:
    """Fill every split and leave it under the run's `data/`, with what was set aside, a count of why, and a card.

    A split whose teacher is down stops where it is; the others are filled, and a build that is started again goes on there.

    Args:
        settings: the run's.
        sources: each split's.
        run: where it all goes.
        advance: told of every problem that is kept.
        teacher: asked for chains where a split wants its.
        difficulty: measures the problems of the splits it is for; what is not in its band is set aside.

    Raises:
        BadInput: a benchmark's file cannot be read, a split cannot be filled, or the sandbox is not to be had here.
    """
    _quiet()
    try:
        Sandbox(sandbox_limits(settings.reward), settings.reward.mode, settings.reward.packages).close()
    except SandboxUnavailable as error:
        raise BadInput(f"reward.mode: {error}") from None
    parts = run.path / "data" / "parts"
    finished = parts.with_name("parts.finished")
    shutil.rmtree(finished, ignore_errors=True)
    factory = Factory(settings, Screen(settings.data.filters), teacher, difficulty, Budget(settings.data), parts, advance)
    splits = [Split(name) for name in SPLITS]
    # All that is on disk comes first: a split that is still to be filled must not take what a later one already has.
    for split in splits:
        for rows in kept_parts(parts, split.name):
            _know(rows, factory.screen, split.name)
            advance(_take(split, rows))
        _know(Wave(parts, split.name, split.tried).rows, factory.screen, split.name)
    down = []
    for split in splits:
        wanted: SplitSettings = getattr(settings.data, split.name)
        try:
            fill(split, wanted, sources[split.name], factory)
        except TeacherDown as error:
            down.append(f"{error}; {split.name} has {len(split.problems)} of {wanted.problems} problems")
            continue
        require_enough(split, wanted)
        write_split(run.split(split.name), split.problems)
    if down:
        raise BadInput(f"{'; '.join(down)}; everything is kept, the same command goes on from there")
    _conclude(splits, settings, run)
    # At one stroke: with some of its parts gone and others there, a build would go on from the wrong place.
    if parts.exists():
        parts.rename(finished)
        shutil.rmtree(finished)


def _conclude(splits: list[Split], settings: RunSettings, run: RunFolder) -> None:
    """Write what was set aside, the counts, and the card."""
    write_jsonl(run.path / "data" / "rejected.jsonl", [row for split in splits for row in split.rejected])
    write_cells(
        run.path / "data" / "cells.csv",
        (problem.tags.get("cell", "") for split in splits for problem in split.problems),
        (row["cell"] for split in splits for row in split.rejected),
    )
    funnel = {split.name: {"kept": len(split.problems), **split.reasons} for split in splits}
    write_whole(run.path / "data" / "funnel.json", json.dumps(funnel, indent=2))
    write_card(run, settings)


def _quiet() -> None:
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.execution_options.preserve_order = True
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    # It warns of the line above.
    logging.getLogger("ray.data._internal.progress").setLevel(logging.ERROR)


def fill(split: Split, wanted: SplitSettings, source: Source, factory: Factory) -> None:
    """Make, screen, measure and teach waves of candidates until there are enough problems, or no more to try.

    Raises:
        TeacherDown: it is asked for programs or chains, and answers nobody; what came before this wave is on disk.
    """
    difficulty = factory.difficulty if factory.difficulty and split.name in factory.difficulty.settings.splits else None
    teacher = factory.teacher if wanted.chains == "teacher" else None
    most = source.size if source.size is not None else wanted.problems * _ENOUGH_TRIES
    while len(split.problems) < wanted.problems and split.tried < most:
        missing = wanted.problems - len(split.problems)
        end = min(split.tried + min(max(split.candidates(missing), _FEWEST), _longest_wave(source)), most)
        with Wave(factory.parts, split.name, split.tried) as wave:
            enough = None if difficulty else missing
            for done in _decided(wave, split, source, end, wanted, enough, factory):
                if difficulty is None and teacher is None:
                    factory.advance(done)
            rows = wave.rows
            if difficulty is not None:
                rows = measured(rows, difficulty, factory.parts / f"passes-{split.name}.jsonl")
            if teacher is not None:
                rows = taught(rows, teacher, missing, factory.accept)
            rows = cut(rows, missing)
            wave.finish(rows)
        kept = _take(split, rows)
        if difficulty is not None and teacher is None:
            factory.advance(kept)


def _decided(
    wave: Wave, split: Split, source: Source, end: int, wanted: SplitSettings, enough: int | None, factory: Factory
) -> Iterator[int]:
    """Make and screen the candidates of a wave from where it stands up to number `end`, or till it has enough problems.

    Yields how many problems there are more, whenever there are.
    """
    _know(wave.rows, factory.screen, split.name)  # Not known yet where a part before it was spoilt and made again.
    found = sum("problem" in row for row in wave.rows)
    yield found
    begin = split.tried + len(wave.rows)
    if begin >= end or (enough is not None and found >= enough):
        return
    screen = partial(factory.screen.check, split=split.name, calls=source.calls)
    made = _made(source, begin, end, wanted, factory.settings)
    for candidate, outcome in made:
        row = screened(candidate, outcome, screen, factory.budget.check)
        wave.add(row)
        if "problem" in row and isinstance(outcome, Problem):
            factory.screen.take(outcome, split.name)
            found += 1
            yield 1
        if found == enough:
            break
    # What is left, too: Ray may end the driver over a task that is cancelled in the moment it completes.
    deque(made, maxlen=0)


def _longest_wave(source: Source) -> int:
    """Candidates of a wave, at most: as many as an endpoint answers in a while, since the bar moves after its answers."""
    if not isinstance(source, Taught) or source.teacher.settings.in_process is not None:
        return _WAVE
    return min(_WAVE, _ROUNDS * source.teacher.settings.in_flight * source.calls)


def _know(rows: list[dict[str, Any]], screen: Screen, split: str) -> None:
    """Tell the screen of what came through it."""
    for row in rows:
        passed = row.get("problem") or row.get("screened")
        if passed:
            screen.take(from_row(passed), split)


def _take(split: Split, rows: list[dict[str, Any]]) -> int:
    """Put a wave's rows into the split; returns the problems among them."""
    problems = [from_row(row["problem"]) for row in rows if "problem" in row]
    split.problems += problems
    split.rejected += [row["rejected"] for row in rows if "rejected" in row]
    split.tried += len(rows)
    return len(problems)


def require_enough(split: Split, wanted: SplitSettings) -> None:
    """Raises BadInput where a split holds less than it must."""
    told = json.dumps(split.reasons)
    listed = wanted.file or (wanted.dataset.path if wanted.dataset else None)
    if listed is None and len(split.problems) < wanted.problems:
        raise BadInput(
            f"data.{split.name}.{wanted.source}: gave only {len(split.problems)} of "
            f"{wanted.problems} different problems ({told}); widen it or ask for fewer"
        )
    if not split.problems:
        raise BadInput(f"{listed}: no row is a problem that can be used ({told})")


def _made(
    source: Source, begin: int, end: int, wanted: SplitSettings, settings: RunSettings
) -> Iterator[tuple[Candidate, Problem | Rejected]]:
    """Each candidate of a wave with what became of it, in order. The teacher is asked here, not in the tasks."""
    if isinstance(source, Taught):
        source = Listed(tuple(source.candidates(begin, end)), source.calls, begin)
    chunks = list(chunked(begin, end, int(ray.cluster_resources().get("CPU", 1))))
    made = ray.data.from_items(chunks, override_num_blocks=len(chunks)).map(
        partial(
            make_chunk,
            source=source,
            wanted=wanted,
            filters=settings.data.filters,
            state_text=settings.data.state_text,
            reward=settings.reward,
        )
    )
    for row in made.iter_rows():
        for candidate, problem, aside in json.loads(row["made"]):
            # Set here already, so that difficulty is measured by the prompts that are trained on.
            outcome = replace(from_row(problem), decoupled=settings.data.decoupled) if problem else _rejection(*aside)
            yield Candidate(**candidate), outcome


def chunked(begin: int, end: int, cores: int) -> Iterator[dict[str, int]]:
    """The numbers of a wave by tasks, smaller and smaller ones, so that no core waits long for the last."""
    least, most = _CHUNKS
    while begin < end:
        size = min(max(ceil((end - begin) / (_CHUNKS_PER_CORE * cores)), least), most)
        yield {"begin": begin, "end": min(begin + size, end)}
        begin += size


def _rejection(kind: str, told: str) -> Rejected:
    return Rejected(kind, told.removeprefix(f"{kind}: ") if told != kind else "")
