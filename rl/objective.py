"""What is learned from a scored group: the settings of `rl.advantages` and of `rl.losses`, without their tensors."""

from typing import Literal

from pydantic import Field, model_validator

from rl.settings import Settings

Deviation = Literal["population", "sample", "none"]
"""What centred rewards are divided by: the paper's deviation, the one over n - 1, or nothing (Dr. GRPO)."""


class Credit(Settings):
    """How a group's rewards become advantages."""

    algorithm: Literal["terminal", "step", "bilevel", "rloo", "dr_grpo", "gspo", "dapo"] = "bilevel"
    lam: float = Field(0.3, ge=0)
    """Weight of the intra-trajectory part of Bi-Level GRPO (paper: 0.3)."""
    std: Deviation = "population"
    """Deviation that group-relative rewards are divided by; the paper's is the population's, most peers' the sample's."""
    centred_intra: bool = False
    """Whether Bi-Level's intra-trajectory part counts against the group's mean, so that an all-right group earns nothing."""
    step_tokens: Literal["reasoning", "prints"] = "reasoning"
    """Whether a step's advantage reaches its reasoning and print block, or the print block alone."""
    overlong: Literal["keep", "mask", "penalise"] = "keep"
    """Responses at the limit: as any other, left out of the loss, or their final reward lowered on the way there (DAPO)."""
    overlong_buffer: float = Field(0.2, gt=0, le=1)
    """Share of `max_tokens` at its end over which the penalty grows from 0 to 1."""
    max_tokens: int = Field(256, ge=1)
    """Longest response."""

    @model_validator(mode="after")
    def _nothing_idle(self) -> "Credit":
        if self.centred_intra and self.algorithm != "bilevel":
            raise ValueError(f"centred_intra: needs algorithm bilevel, {self.algorithm} has no intra-trajectory part")
        if self.step_tokens == "prints" and self.algorithm not in ("step", "bilevel"):
            raise ValueError(f"step_tokens: needs algorithm step or bilevel, {self.algorithm} gives steps no credit")
        if self.std != "population" and self.algorithm == "rloo":
            raise ValueError("std: must be left out with algorithm rloo, which divides by no deviation")
        return self


class Objective(Settings):
    """How advantages become a loss."""

    clip: float = Field(0.2, gt=0)
    """How far below 1 a ratio still earns gradient, and above, unless `clip_high` says otherwise."""
    clip_high: float | None = Field(None, gt=0)
    """How far above 1 (DAPO's clip-higher: 0.28)."""
    ratio: Literal["token", "segment", "sequence"] = "token"
    """Whose probability is compared with the sampling policy's: each token's; each step's for its advantage and the whole
    response's for the final one (equations 13 and 14 to the letter); or the response's geometric mean (GSPO)."""
    aggregation: Literal["token", "sequence", "segment", "constant"] = "token"
    """The mean is over response tokens; over responses, of their tokens' means; over responses, of the sum of their steps'
    means and their own (equations 13 and 14); or every token counts one `max_tokens`-th of a response (Dr. GRPO)."""
    kl: float = Field(0.0, ge=0)
    """Weight of the divergence from the model RL started from (equation 15)."""
    kl_estimator: Literal["k1", "k2", "k3"] = "k3"
    """How that divergence is estimated, see `rl.losses.kl_penalty`."""
    mismatch: Literal["measure", "truncate", "mask"] = "measure"
    """What is done where the learner and the engine that sampled give a token other probabilities: it is measured only, or
    importance weights correct it, cut off at the cap, or set to 0 beyond it (and below its inverse)."""
    mismatch_cap: float = Field(2.0, gt=1)
