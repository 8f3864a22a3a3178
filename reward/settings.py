"""Settings of the reward pool."""

from typing import Literal

from pydantic import Field

from reward.sandbox import Limits
from rl.settings import Settings


class RewardSettings(Settings):
    """How many reward workers there are, what each takes, and what one sandboxed run may use."""

    replicas: int = Field(2, ge=1)
    num_cpus: float = Field(0.25, gt=0)
    mode: Literal["full", "userns", "nons"] | None = None
    """Isolation level; None takes the strongest that works on the host."""
    wall_s: float = Field(5.0, gt=0)
    cpu_s: float = Field(1.0, gt=0)
    memory_mib: int = Field(512, ge=16)
    output_bytes: int = Field(65536, ge=256)


def sandbox_limits(settings: RewardSettings) -> Limits:
    """The part of the settings that bounds one run."""
    return Limits(settings.wall_s, settings.cpu_s, settings.memory_mib, settings.output_bytes)
