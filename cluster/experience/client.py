"""The stream of experience as the learner's workers reach it."""

from dataclasses import dataclass
from typing import Any

import ray

from learner.policy import Share
from rl.batching import Example


@dataclass(frozen=True)
class StreamClient:
    """The stream as the learner sees it; see `learner.policy.Experience`."""

    actor: Any
    deadline_s: float = 900.0

    def batch(self, step: int, rank: int, ranks: int) -> Share | None:
        """See `ExperienceStream.batch`."""
        share: Share | None = ray.get(self.actor.batch.remote(step, rank, ranks), timeout=self.deadline_s)
        return share

    def sync(self, path: str, version: int) -> list[Example]:
        """See `ExperienceStream.sync`."""
        probes: list[Example] = ray.get(self.actor.sync.remote(path, version), timeout=self.deadline_s)
        return probes

    def log(self, metrics: dict[str, Any]) -> None:
        """See `ExperienceStream.log`."""
        ray.get(self.actor.log.remote(metrics), timeout=self.deadline_s)

    def stop(self, reason: str) -> None:
        """See `ExperienceStream.stop`."""
        ray.get(self.actor.stop.remote(reason), timeout=self.deadline_s)
