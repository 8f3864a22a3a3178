"""Accuracies with their uncertainty, measured over problems: answers of one problem are not independent of one another."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

MEASURES = ("final", "step", "trace")
"""Right final answers; anchors stated exactly; responses with every anchor and the answer right."""

_Z = 1.959963984540054
"""Half-width of a 95 % interval in standard errors."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean and its 95 % interval (normal approximation over problems)."""

    mean: float
    low: float
    high: float


def estimate(per_problem: Sequence[float]) -> Estimate:
    """Mean over problems with its interval; an interval of zero width if there is one problem only."""
    mean = fmean(per_problem)
    error = stdev(per_problem) / math.sqrt(len(per_problem)) if len(per_problem) > 1 else 0.0
    return Estimate(mean, mean - _Z * error, mean + _Z * error)


def paired_gain(before: Mapping[str, float], after: Mapping[str, float]) -> Estimate:
    """Mean of after - before over the problems that both sides could judge.

    Raises:
        ValueError: there is no such problem.
    """
    both = [problem for problem in before if problem in after]
    if not both:
        raise ValueError("the two sides share no problem")
    return estimate([after[problem] - before[problem] for problem in both])


def response_accuracy(final_reward: float, step_rewards: Sequence[float]) -> dict[str, float]:
    """The three measures of one response."""
    return {
        "final": final_reward,
        "step": fmean(step_rewards) if step_rewards else final_reward,
        "trace": float(final_reward == 1.0 and all(reward == 1.0 for reward in step_rewards)),
    }


def guess_accuracy(seen: Sequence[str], asked: Sequence[str]) -> float:
    """Share of the outputs in `asked` that are the most common one in `seen`: what can be had without looking."""
    ((commonest, _),) = Counter(seen).most_common(1)
    return fmean(output == commonest for output in asked)
