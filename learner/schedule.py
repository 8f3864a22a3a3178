"""The learning rate as a function of how far training has come."""

import math


def learning_rate(peak: float, step: int, warmup_steps: int, progress: float, final: float) -> float:
    """Linear warm-up, then a cosine from `peak` to `final * peak`.

    Args:
        peak: the highest rate.
        step: updates made so far.
        warmup_steps: updates until the peak.
        progress: 0 at the start of training, 1 at its end; beyond 1 counts as 1.
        final: share of the peak left at the end.
    """
    warmup = min(1.0, (step + 1) / (warmup_steps + 1))
    cosine = 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
    return peak * warmup * (final + (1 - final) * cosine)
