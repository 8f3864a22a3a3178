"""Settings of the reward pool."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from reward.programs import Limits
from reward.zygote_process import PACKAGES
from rl.settings import Settings


class RewardSettings(Settings):
    """How many reward workers there are, what each takes, and what one sandboxed run may use."""

    replicas: int = Field(2, ge=1)
    """Reward workers; with `max_replicas`, the fewest."""
    max_replicas: int | None = Field(None, ge=1)
    """The most workers that load may bring while a model is trained by reinforcement; none keeps their number."""
    target_in_flight: float = Field(16.0, gt=0)
    """Groups a worker should have, waiting or being scored: more bring another worker, fewer let one go."""
    target_latency_s: float = Field(5.0, gt=0)
    """How long a group's scores should take: longer brings another worker, where groups wait for one another."""
    slots: int = Field(1, ge=1)
    """Sandboxes of each worker, run side by side."""
    max_in_flight: int = Field(1024, ge=1)
    """Calls a worker takes at a time; each is a group. For a caller with more in flight Serve's router sleeps in between."""
    max_waiting: int = Field(4096, ge=1)
    """Calls that may wait at a caller for a worker; one more is refused, and the caller tries again later."""
    num_cpus: float = Field(0.25, gt=0)
    resources: dict[str, float] = {}
    """Custom resources of Ray that each takes: they keep it to one kind of node."""
    mode: Literal["full", "userns", "nons"] | None = None
    """Isolation level; None takes the strongest that works on the host."""
    packages: list[str] = []
    """Third-party packages that programs may import; each makes every run dearer."""
    wall_s: float = Field(5.0, gt=0)
    cpu_s: float = Field(1.0, gt=0)
    memory_mib: int = Field(512, ge=16)
    output_bytes: int = Field(65536, ge=256)

    @field_validator("packages")
    @classmethod
    def _known(cls, packages: list[str]) -> list[str]:
        unknown = sorted(set(packages) - PACKAGES.keys())
        if unknown:
            raise ValueError(f"{unknown[0]} is none of those programs may use: {', '.join(PACKAGES)}")
        return packages

    @model_validator(mode="after")
    def _grows(self) -> "RewardSettings":
        if self.max_replicas is not None and self.max_replicas < self.replicas:
            raise ValueError(f"max_replicas ({self.max_replicas}) is less than replicas ({self.replicas})")
        return self


def sandbox_limits(settings: RewardSettings) -> Limits:
    """The part of the settings that bounds one run."""
    return Limits(settings.wall_s, settings.cpu_s, settings.memory_mib, settings.output_bytes)
