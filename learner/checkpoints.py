"""Checkpoints as Ray Train keeps them: every rank adds its share to one folder, the last ones stay."""

import tempfile
from typing import Any

import ray.train

from learner.engine import LearnerEngine


def restore(engine: LearnerEngine) -> dict[str, Any]:
    """Load the last committed checkpoint into the engine.

    Returns:
        How far training had come, or an empty mapping at a fresh start.
    """
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return {}
    with checkpoint.as_directory() as folder:
        return engine.restore(folder)


def commit(engine: LearnerEngine, progress: dict[str, Any], metrics: dict[str, float]) -> None:
    """Write a checkpoint and hand it to Ray Train; all ranks together."""
    with tempfile.TemporaryDirectory(prefix="codereason-") as folder:
        engine.save(folder, progress)
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))
