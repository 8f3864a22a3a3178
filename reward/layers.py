"""What holds a program back here, layer by layer, and what does not and why: nothing is left out in silence."""

from collections.abc import Mapping
from typing import NamedTuple

NAMES = (
    "limits",
    "process namespace",
    "namespaces",
    "own user",
    "landlock",
    "landlock TCP",
    "landlock signals",
    "no new code",
    "seccomp",
    "control group memory",
    "control group processes",
)
"""Every layer there is, whatever the level; `docs/sandbox.md` says what each holds back."""


class Layers(NamedTuple):
    """The level that was reached, and what it lacks."""

    level: str
    missing: Mapping[str, str]
    """Layers that do not hold here, each with the reason."""

    @property
    def holding(self) -> list[str]:
        """Layers that hold."""
        return [name for name in NAMES if name not in self.missing]

    def __str__(self) -> str:
        missing = "; ".join(f"{name} ({why})" for name, why in self.missing.items())
        return f"level {self.level}; holds: {', '.join(self.holding)}; does not hold: {missing or 'nothing'}"

    def as_json(self) -> dict[str, object]:
        """For JSON."""
        return {"level": self.level, "holds": self.holding, "missing": dict(self.missing)}
