"""A Ray session: a local cluster that ends with the run, or a place on one that is already there."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray import serve
from ray.serve.handle import DeploymentHandle

import reward.deployment
import rollout.deployment
from cluster.config import RunSettings


def worker_environment() -> dict[str, str]:
    """Environment of every worker process: this checkout is importable, and no hub is asked."""
    root = str(Path(__file__).resolve().parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    return {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


@contextmanager
def ray_session(settings: RunSettings) -> Iterator[None]:
    """Connect to Ray for the length of the block; what the run started on it is gone afterwards."""
    environment = worker_environment()
    os.environ.setdefault("RAY_TRAIN_ENABLE_STATE_TRACKING", "1")
    ray.init(
        address=settings.cluster.address,
        include_dashboard=settings.cluster.dashboard if settings.cluster.address is None else None,
        log_to_driver=False,
        logging_level=logging.ERROR,
        runtime_env={"env_vars": environment},
    )
    logging.getLogger("ray.serve").setLevel(logging.WARNING)
    serve.start(proxy_location="Disabled", logging_config={"log_level": "WARNING"})
    try:
        yield
    finally:
        # Deleting lets a replica end its engine's process; killing it with the cluster would leave that behind.
        for name in serve.status().applications:
            if name in (rollout.deployment.NAME, reward.deployment.NAME):
                serve.delete(name)
        ray.shutdown()


class Pools:
    """The two Serve pools, started when first needed."""

    def __init__(self, settings: RunSettings, base_model: Path, weights_folder: Path) -> None:
        self._settings = settings
        self._base_model = base_model
        self._weights_folder = weights_folder
        self._rollout: DeploymentHandle[Any] | None = None
        self._reward: DeploymentHandle[Any] | None = None

    def start(self) -> tuple[DeploymentHandle[Any], DeploymentHandle[Any]]:
        """Handles of the rollout and the reward pool, healthy."""
        if self._rollout is None or self._reward is None:
            environment = worker_environment()
            self._reward = reward.deployment.deploy(self._settings.reward, environment)
            self._rollout = rollout.deployment.deploy(
                str(self._base_model),
                str(self._weights_folder),
                self._settings.rollout,
                self._settings.seed,
                environment,
            )
        return self._rollout, self._reward
