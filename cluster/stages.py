"""What each stage of a run does."""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from rich.console import Console
from transformers.utils.logging import disable_progress_bar

import learner.launch
import learner.policy
import learner.supervised
from cluster.config import BadInput, RunSettings
from cluster.data.difficulty import Difficulty, PoolMeasure
from cluster.data.factory import build
from cluster.data.numbered import Source
from cluster.data.sources import open_sources
from cluster.data.splits import SPLITS, read_split
from cluster.data.teacher import Teacher, open_teacher
from cluster.evaluation.answering import model_folder
from cluster.evaluation.heldout import evaluate_weights
from cluster.evaluation.live import LONGEST_WAIT_S
from cluster.events import Events
from cluster.experience.client import StreamClient
from cluster.experience.flight import first_in_flight
from cluster.experience.stream import ExperienceStream, StreamJob
from cluster.guard import Guard
from cluster.jobs.placement import learner_role
from cluster.jobs.transfer import transfer
from cluster.monitoring.log import MetricsLog
from cluster.monitoring.progress import counting, following
from cluster.resuming import flat
from cluster.runs import RunFolder, link_model
from cluster.scaling.scaler import Autoscaling
from cluster.session import ASKING_FROM_ITS_LOOP, Pools, beside_the_driver, training_name
from cluster.starting import not_started
from learner.scratch import write_scratch_model
from learner.settings import PolicySettings, SupervisedSettings
from learner.transfer import Channel
from rl.batching import Example
from rl.prompts import chain_ids, leaves_room, prompt, prompt_ids
from rl.tokens import load_tokenizer

disable_progress_bar()

Stage = tuple[str, Callable[[], None]]
"""Its name, and its work."""


@dataclass(frozen=True)
class Job:
    """One run being carried out."""

    settings: RunSettings
    run: RunFolder
    console: Console
    pools: Pools
    events: Events
    guard: Guard

    @property
    def weights(self) -> Path:
        """Where its policy versions go."""
        return self.pools.weights

    def stage(self, name: str, work: Callable[[], None]) -> None:
        """Do a stage unless it is done, and note how long it took."""
        finished = self.run.finished_stages()
        if name in finished:
            self.console.print(f"[dim]{name:<18} done before ({finished[name]:.0f} s)[/dim]")
            return
        began = time.monotonic()
        try:
            work()
        except BaseException:
            with suppress(OSError):  # On a full disk, say, which is why it ends.
                self.run.interrupt_stage(name, time.monotonic() - began)
            raise
        self.run.finish_stage(name, time.monotonic() - began)
        self.events.progressed(("learner", "experience", "driver"), f"{name} is done")


def data_stage(job: Job) -> Stage:
    """Filling the four splits. What they come from is read now, before anything starts, so that a wrong file is told soon.

    Raises:
        BadInput: a file, a teacher or the model that measures difficulty is wrong.
    """
    data, sources = job.settings.data, dict[str, Source]()
    teacher = difficulty = None
    if "data" not in job.run.finished_stages():
        teacher = open_teacher(data, job.run.path / "data")
        sources = open_sources(data, job.settings.seed, teacher)
        difficulty = _difficulty(job)
    return "data", lambda: _data(job, sources, teacher, difficulty)


def _difficulty(job: Job) -> Difficulty | None:
    """What measures problems, if that is asked for. Raises BadInput where there is no model to measure them by."""
    wanted, settings = job.settings.data.filters.difficulty, job.settings
    if wanted is None:
        return None
    if not (wanted.model / "config.json").is_file():
        raise BadInput(f"data.filters.difficulty.model: {wanted.model} is no model's folder (config.json is missing)")
    # Ray's workers have working directories of their own.
    wanted = wanted.model_copy(update={"model": wanted.model.resolve()})
    pools = partial(job.pools.of_model, wanted.model)
    return Difficulty(wanted, PoolMeasure(wanted, pools, settings.rollout.max_length, settings.seed))


def _data(job: Job, sources: dict[str, Source], teacher: Teacher | None, difficulty: Difficulty | None) -> None:
    splits = [getattr(job.settings.data, name) for name in SPLITS]
    with counting(job.console, "data", sum(split.problems for split in splits)) as advance:
        build(job.settings, sources, job.run, advance, teacher, difficulty)


def make_base_model(job: Job) -> None:
    """Leave the model that training starts from."""
    if job.settings.pretrained is not None:
        link_model(model_folder(job.settings.pretrained, "pretrained:"), job.run.model("base"))
        return
    problems = read_split(job.run.split("sft"))
    texts = [prompt(problem) + problem.chain for problem in problems]
    write_scratch_model(job.settings.model, texts, job.settings.seed, job.run.model("base"))


def _examples(job: Job, split: str) -> list[Example]:
    """A split's prompts and chains as tokens."""
    tokenizer = load_tokenizer(job.run.model("base"))
    examples = []
    for problem in read_split(job.run.split(split)):
        response_ids = chain_ids(problem, tokenizer)
        nothing = [0.0] * len(response_ids)
        examples.append(Example(prompt_ids(problem, tokenizer), response_ids, nothing, [*nothing]))
    return examples


def train_supervised(job: Job, stage: str, start_from: str, settings: SupervisedSettings) -> None:
    """SFT of the model that another stage left; `stage` is what it is called."""
    run = job.run
    metrics_log: Any = ray.remote(MetricsLog)
    log = metrics_log.options(num_cpus=0, scheduling_strategy=beside_the_driver()).remote(
        run, stage, job.settings.loggers, flat(job.settings.model_dump(mode="json"))
    )
    supervised = learner.supervised.SupervisedJob(
        model_folder=str(run.model(start_from)),
        output_folder=str(run.model(stage)),
        training=_examples(job, "sft"),
        validation=_examples(job, "validation"),
        settings=settings,
        learner=job.settings.learner,
        seed=job.settings.seed,
        log=lambda row: ray.get(log.append.remote(row), timeout=60),
        ending=lambda: ray.get(log.ending.remote(), timeout=60),
    )
    _followed(
        job,
        stage,
        partial(train, job, stage, learner.supervised.train, supervised),
        asked=log,
        total=("epoch", settings.epochs) if settings.max_seconds is None else ("seconds", settings.max_seconds),
        note=lambda row: f"validation {row['validation_accuracy']:.1%}, loss {row['loss']:.3f}",
    )
    ray.get(log.close.remote(), timeout=60)


def _followed(
    job: Job,
    stage: str,
    work: Callable[[], None],
    *,
    asked: Any,
    total: tuple[str, float],
    note: Callable[[dict[str, Any]], str],
) -> None:
    """Let the learner work under a bar.

    Args:
        asked: the actor that the learner's workers ask whether to write a checkpoint and return; told so on Ctrl-C.
        total: the figure of a row of metrics that says how far it is, and where that ends.
        note: what is shown of a row beside the bar.
    """
    figure, end = total

    def ask_to_end() -> None:
        # One that has just died is replaced by one that does not know: then the grace runs out.
        with suppress(RayError):
            ray.get(asked.end.remote(), timeout=10)

    following(
        job.console,
        job.run,
        stage,
        int(end),
        place=lambda row: int(row[figure]),
        note=note,
        work=work,
        end=ask_to_end,
        grace_s=job.settings.cluster.grace,
    )


def train(job: Job, stage: str, function: Callable[[Any], None], work: object) -> None:
    """Let Ray Train do a stage's work, from its last checkpoint on.

    Raises:
        LearnerFailed: its workers failed too often, or found no place in `cluster.start_deadline_s` seconds.
    """
    settings, deadline_s = job.settings.learner, job.settings.cluster.start_deadline_s
    name = training_name(job.settings.name, stage)
    broke = partial(
        job.events.broke, "learner", done="Ray Train starts the workers again from the last checkpoint, if it may"
    )
    try:
        learner.launch.run(function, work, settings, job.run.checkpoints, name, deadline_s, broke)
    except learner.launch.NoRoom as error:
        raise learner.launch.LearnerFailed(not_started(learner_role(settings), deadline_s)) from error


def train_policy(job: Job, stage: str, start_from: str, settings: PolicySettings) -> None:
    """Let a stage's policy learn from the model that another stage left, through the run's pools.

    Raises:
        LearnerFailed: training ended with an error, or the engines did not compute with its weights.
    """
    rollout, reward = job.pools.start()
    run = job.run
    actor: Any = ray.remote(ExperienceStream)
    # Another takes its place if it dies: all it knows is on disk, and the learner goes on from its last checkpoint.
    stream = actor.options(
        num_cpus=0,
        max_concurrency=1000,
        max_restarts=job.settings.learner.max_failures,
        scheduling_strategy=beside_the_driver(),
        runtime_env=ASKING_FROM_ITS_LOOP,
    ).remote(_stream_job(job, stage, rollout, reward, settings))
    policy = learner.policy.PolicyJob(
        model_folder=str(run.model(start_from)),
        output_folder=str(run.model(stage)),
        weights_folder=str(job.weights),
        # The stream itself waits so long for a pool that is away.
        experience=StreamClient(stream, StreamClient.deadline_s + job.settings.cluster.start_deadline_s),
        settings=settings,
        learner=job.settings.learner,
        tolerance=settings.tolerance(job.settings.learner.precision, job.settings.rollout.precision),
        channel=Channel(
            transfer(job.settings.learner, job.settings.rollout),
            job.settings.rollout.tensor_parallel,
            job.settings.rollout.sync_deadline_s + job.settings.rollout.round_deadline_s,
            job.settings.rollout.colocated,
        ),
    )
    _followed(
        job,
        stage,
        partial(train, job, stage, learner.policy.train, policy),
        asked=stream,
        total=("step", settings.steps) if settings.max_seconds is None else ("seconds", settings.max_seconds),
        note=lambda row: f"final {row['final_reward']:.1%}, steps {row['step_accuracy']:.1%}",
    )
    stopped: str = ray.get(stream.stopped.remote(), timeout=60)
    if stopped:
        raise learner.launch.LearnerFailed(stopped)
    ray.get(stream.settled.remote(), timeout=LONGEST_WAIT_S + 60)
    ray.kill(stream)


def _stream_job(job: Job, stage: str, rollout: Any, reward: Any, settings: PolicySettings) -> StreamJob:
    run, whole = job.run, job.settings
    return StreamJob(
        name=whole.name,
        run_folder=run.path,
        stage=stage,
        model_folder=str(run.model("base")),
        rollout=rollout,
        reward=reward,
        settings=settings,
        seed=whole.seed,
        token_budget=whole.learner.token_budget,
        packing=whole.learner.packing,
        max_length=whole.rollout.max_length,
        group_deadline_s=whole.rollout.group_deadline_s,
        colocated=whole.rollout.colocated,
        autoscaling=Autoscaling(
            run=whole.name,
            dashboard=run.dashboard or "",
            log=run.scalings,
            cluster=whole.cluster,
            rollout=whole.rollout,
            reward=whole.reward,
            samples_ahead=settings.max_staleness > 0,
        ),
        in_flight=first_in_flight(whole.rollout, settings.group_size),
        adaptive=whole.rollout.in_flight == "adaptive",
        applications=job.pools.applications,
        loggers=whole.loggers,
        shown=flat(whole.model_dump(mode="json")),
        evaluation=whole.evaluation,
    )


def measure(job: Job, stage: str, split: str = "heldout", *, anchors: bool = True) -> None:
    """Evaluate the model that a stage left on a split, whose programs are shown with their anchors or without."""
    rollout, reward = job.pools.start()
    tokenizer = load_tokenizer(job.run.model("base"))
    limits = job.settings.rollout.max_length, job.settings.rl.max_tokens
    problems = read_split(job.run.split(split))
    if not anchors:
        problems = [replace(one, instrumented=one.code) for one in problems]
    # The summary's `problems` says how many prompts left room for their responses.
    problems = [one for one in problems if leaves_room(one, tokenizer, *limits)]
    which = ("" if split == "heldout" else f", {split}") + ("" if anchors else ", no anchors")
    with counting(job.console, f"{stage} evaluation{which}", 2 * len(problems)) as advance:
        evaluate_weights(
            rollout,
            reward,
            job.weights,
            job.run.model(stage),
            problems,
            job.run.evaluation(stage, split, anchors=anchors),
            samples=job.settings.evaluation.samples,
            max_tokens=job.settings.rl.max_tokens,
            in_flight=job.settings.evaluation.in_flight,
            # The same draws for every model, whatever seed it was trained with.
            seed=job.settings.evaluation.seed,
            deadline_s=job.settings.rollout.group_deadline_s,
            advance=advance,
        )
