"""Supervised stage: the model learns the output format and its first execution skills from checked chains."""

import math
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from learner import checkpoints
from learner.engine import LearnerEngine
from learner.schedule import learning_rate
from learner.scorer import load_model
from learner.settings import LearnerSettings, SupervisedSettings
from rl.batching import Example, MicroBatch, collate, plan
from rl.losses import supervised_loss
from rl.tokens import load_tokenizer


@dataclass(frozen=True)
class SupervisedJob:
    """Everything a worker of the supervised stage is given."""

    model_folder: str
    """Where training starts."""
    output_folder: str
    """Where the best model goes, in Hugging Face format."""
    training: Sequence[Example]
    validation: Sequence[Example]
    settings: SupervisedSettings
    learner: LearnerSettings
    seed: int
    log: Callable[[dict[str, Any]], None]
    """Takes a row of metrics; called on rank 0."""


def train(job: SupervisedJob) -> None:
    """The function that Ray Train runs in each worker."""
    settings = job.settings
    model = load_model(job.model_folder, job.learner)
    engine = LearnerEngine(model, job.learner, settings.lr, settings.weight_decay)
    tokenizer = load_tokenizer(job.model_folder)
    pad_id = tokenizer.pad_token_id
    progress = checkpoints.restore(engine)
    epoch, step = int(progress.get("epoch", 0)), int(progress.get("step", 0))
    best, stale = float(progress.get("best", -1.0)), int(progress.get("stale", 0))
    spent = float(progress.get("seconds", 0.0))
    steps_per_epoch = math.ceil(len(job.training) / settings.batch_size)
    if not progress and settings.max_seconds is not None:
        # Training that goes on from a finished model may not lead below it: that model is the first candidate.
        best = _exact_match(engine, job.validation, job.learner, pad_id)
        engine.export(job.output_folder, tokenizer)
    started = time.monotonic() - spent
    finished = bool(progress.get("finished", False))
    while not finished:
        losses, batches = 0.0, 0
        for batch in _epoch(job, epoch):
            elapsed = engine.from_first_rank(time.monotonic() - started) if settings.max_seconds else 0.0
            done = (
                elapsed / settings.max_seconds if settings.max_seconds else step / (steps_per_epoch * settings.decay_epochs)
            )
            lr = learning_rate(settings.lr, step, settings.warmup_steps, done, settings.final_lr)
            losses += _update(engine, batch, job.learner, pad_id, lr)
            step, batches = step + 1, batches + 1
            if settings.max_seconds and elapsed >= settings.max_seconds:
                finished = True
                break
        epoch += 1
        finished = finished or (settings.max_seconds is None and epoch >= settings.epochs)
        if epoch % settings.evaluate_every and not finished:
            continue
        accuracy = _exact_match(engine, job.validation, job.learner, pad_id)
        improved = accuracy > best
        # While the rate still falls accuracy is noisy and rises with it: only what comes after can show an end.
        best, stale = max(best, accuracy), 0 if improved or epoch <= settings.decay_epochs else stale + 1
        # A wall-clock budget is a promise to train that long, so nothing but time ends it.
        finished = finished or (settings.max_seconds is None and stale >= settings.patience)
        seconds = engine.from_first_rank(time.monotonic() - started)
        metrics = engine.sum_over_ranks({"loss": losses / batches})
        row = {"epoch": epoch, "step": step, "validation_accuracy": accuracy, "stale": stale, "seconds": seconds, "lr": lr}
        # One rank decides: exporting is collective under ZeRO-3, and the others might look while the first one writes.
        if engine.from_first_rank(improved or not Path(job.output_folder, "config.json").exists()):
            engine.export(job.output_folder, tokenizer)
        if engine.rank == 0:
            job.log(row | metrics)
        progress = {"epoch": epoch, "step": step, "best": best, "stale": stale, "seconds": seconds, "finished": finished}
        checkpoints.commit(engine, progress, {"validation_accuracy": accuracy})


def _epoch(job: SupervisedJob, epoch: int) -> list[list[Example]]:
    """The epoch's batches: shuffled by (seed, epoch), then sorted by length within a stretch, to pad little."""
    rng = random.Random(f"{job.seed}/{epoch}")
    order = list(job.training)
    rng.shuffle(order)
    size, stretch = job.settings.batch_size, job.settings.batch_size * 8
    batches = []
    for begin in range(0, len(order), stretch):
        near = sorted(order[begin : begin + stretch], key=lambda example: example.length)
        batches += [near[cut : cut + size] for cut in range(0, len(near), size)]
    rng.shuffle(batches)
    return batches


def _share(engine: LearnerEngine, batch: Sequence[Example], learner: LearnerSettings, pad_id: int) -> list[MicroBatch]:
    """This rank's micro-batches of a batch that every rank knows."""
    cuts = plan([example.length for example in batch], engine.ranks, learner.token_budget, padded=not learner.packing)[
        engine.rank
    ]
    return [collate([batch[index] for index in cut], pad_id) for cut in cuts]


def _update(engine: LearnerEngine, batch: Sequence[Example], learner: LearnerSettings, pad_id: int, lr: float) -> float:
    total = float(sum(len(example.response_ids) for example in batch))

    def loss(logprobs: Tensor, entropies: Tensor, micro_batch: MicroBatch) -> Tensor:
        return supervised_loss(logprobs, micro_batch.response_mask.to(logprobs.device), total)

    return engine.update(_share(engine, batch, learner, pad_id), loss, lr)


def _exact_match(engine: LearnerEngine, examples: Sequence[Example], learner: LearnerSettings, pad_id: int) -> float:
    """Share of examples whose whole chain greedy decoding would reproduce, token by token.

    One forward pass tells: if every token is the likeliest after the right ones before it, decoding arrives there.
    """
    right = 0.0
    for batch in _share(engine, examples, learner, pad_id):
        missed = batch.response_mask.bool() & ~engine.hits(batch).cpu()
        right += float((~missed.any(dim=1) & batch.response_mask.any(dim=1)).sum())
    return engine.sum_over_ranks({"right": right})["right"] / max(len(examples), 1)
