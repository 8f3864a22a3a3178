"""Running a training function under Ray Train: workers, restarts, checkpoint retention."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ray import cloudpickle
from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig, TrainingFailedError
from ray.train.torch import TorchConfig, TorchTrainer

from learner.settings import LearnerSettings


class LearnerFailed(RuntimeError):
    """Training ended with an error in a worker."""


def run(function: Callable[[Any], None], job: object, settings: LearnerSettings, storage: Path, name: str) -> None:
    """Run `function(job)` in every worker until it returns; a run of the same name and storage goes on where it stopped.

    Raises:
        LearnerFailed: the workers failed more often than `settings.max_failures` allows; says which and why.
    """
    trainer = TorchTrainer(
        _started,
        # Pickled here, so that Ray Train's controller, which only hands it on, does not load what training needs.
        train_loop_config={"work": cloudpickle.dumps(partial(function, job))},
        torch_config=TorchConfig(backend="nccl" if settings.num_gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=settings.workers,
            use_gpu=settings.num_gpus > 0,
            resources_per_worker={
                "CPU": settings.num_cpus,
                **({"GPU": settings.num_gpus} if settings.num_gpus else {}),
                **settings.resources,
            },
        ),
        run_config=RunConfig(
            name=name,
            storage_path=str(storage.resolve()),
            checkpoint_config=CheckpointConfig(num_to_keep=2),
            failure_config=FailureConfig(max_failures=settings.max_failures),
        ),
    )
    try:
        trainer.fit()
    except TrainingFailedError as error:
        raise LearnerFailed(_cause(error)) from error


def _cause(error: TrainingFailedError) -> str:
    """The worker and the last line of what it raised."""
    failures: dict[int, Exception] = getattr(error, "worker_failures", {})
    for rank, failure in sorted(failures.items()):
        lines = [line for line in str(failure).splitlines() if line.strip()]
        return f"learner rank {rank}: {lines[-1] if lines else type(failure).__name__}"
    return " ".join(str(error).split())


def _started(config: dict[str, Any]) -> None:
    """What every worker runs."""
    cloudpickle.loads(config["work"])()
