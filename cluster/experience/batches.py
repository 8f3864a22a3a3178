"""What the stream makes batches of: which problems, which groups, whose share, and what is said of the whole."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache
from statistics import fmean
from typing import Any

from cluster.experience.collection import Seconds
from learner.policy import MiniBatch
from rl.advantages import has_signal, silent_steps
from rl.batching import Example, plan
from rl.benchmarks.accuracy import response_accuracy
from rl.losses import Totals
from rl.problems import Problem
from rl.trajectories import Trajectory
from rl.verdicts import Verdict

Group = tuple[list[Trajectory], list[Trajectory], Seconds]
"""All responses to a problem, those that count with their advantages, and how long it took."""

Batch = tuple[list[list[MiniBatch]], dict[str, Any]]
"""For each optimizer step the mini-batch of each rank, and what is to be said of the whole."""


@lru_cache(maxsize=2)
def epoch_order(seed: int, epoch: int, problems: int) -> tuple[int, ...]:
    """The order in which an epoch goes through the problems; a batch may reach over the end of one into the next."""
    order = list(range(problems))
    random.Random(f"{seed}/{epoch}").shuffle(order)
    return tuple(order)


async def with_signal(
    groups: Sequence[Group], others: Callable[[int], Awaitable[Sequence[Group]]], rounds: int
) -> tuple[list[Group], list[Group]]:
    """DAPO's dynamic sampling: groups without any advantage give their places to groups of other problems.

    Args:
        groups: a batch's groups.
        others: samples so many new ones, or fewer if there are no more.
        rounds: how often at most; what is then still without an advantage stays.

    Returns:
        The batch, and the groups that were dropped from it.
    """
    kept, dropped = list(groups), []
    for _ in range(rounds):
        idle = [place for place, (_, annotated, _) in enumerate(kept) if not has_signal(annotated)]
        if not idle:
            break
        for place, group in zip(idle, await others(len(idle)), strict=False):
            dropped.append(kept[place])
            kept[place] = group
    return kept, dropped


def replacements(problems: Sequence[Problem], tried: Sequence[Problem], count: int, seed: str) -> list[Problem]:
    """At most `count` problems, drawn by `seed` from those a batch has not tried yet; fewer where fewer are left."""
    ids = {problem.id for problem in tried}
    left = [problem for problem in problems if problem.id not in ids]
    return random.Random(f"{seed}/{len(tried)}").sample(left, min(count, len(left)))


def mini_batch(
    groups: Sequence[Sequence[Trajectory]], ranks: int, max_tokens: int, token_budget: int, *, packing: bool
) -> list[MiniBatch]:
    """What one optimizer step is taken on, by rank."""
    examples = [
        Example(
            trajectory.prompt_ids,
            trajectory.completion.token_ids,
            trajectory.advantages,
            trajectory.completion.rollout_logprobs,
            trajectory.segments,
            trajectory.final_advantage,
        )
        for group in groups
        for trajectory in group
    ]
    totals = Totals(sum(len(example.response_ids) for example in examples), len(examples), max_tokens)
    cuts = plan([example.length for example in examples], ranks, token_budget, padded=not packing)
    return [MiniBatch([[examples[index] for index in cut] for cut in share], totals) for share in cuts]


def batch_metrics(groups: Sequence[Group], step: int) -> dict[str, Any]:
    """Figures over all that was sampled, groups that others took the place of included."""
    collected = [trajectory for group, _, _ in groups for trajectory in group]
    counted = [trajectory for _, annotated, _ in groups for trajectory in annotated]
    seconds = [time for _, _, time in groups]
    silent, steps = (sum(counts) for counts in zip(*(silent_steps(group) for group, _, _ in groups), strict=True))
    judged = [trajectory for trajectory in collected if not trajectory.score.verdict.is_fault]
    accuracies = [response_accuracy(t.score.final_reward, t.score.step_rewards) for t in judged]
    verdicts = Counter(trajectory.score.verdict.value for trajectory in collected)
    return {
        "mean_reward": fmean([fmean([*t.score.step_rewards, t.score.final_reward]) for t in judged] or [0.0]),
        "verdicts": {verdict.value: verdicts[verdict.value] / len(collected) for verdict in Verdict},
        "final_reward": fmean([accuracy["final"] for accuracy in accuracies] or [0.0]),
        "step_accuracy": fmean([accuracy["step"] for accuracy in accuracies] or [0.0]),
        "trace_accuracy": fmean([accuracy["trace"] for accuracy in accuracies] or [0.0]),
        "judged": float(len(judged)),
        "response_length": fmean(len(trajectory.completion.token_ids) for trajectory in collected),
        "unfinished": fmean(not trajectory.completion.finished for trajectory in collected),
        "masked": float(len(collected) - len(counted)),
        "idle_groups": fmean(not has_signal(annotated) for _, annotated, _ in groups),
        "silent_steps": silent / max(steps, 1),
        "staleness": fmean(step - version for trajectory in collected for version in trajectory.completion.policy_versions),
        "rollout_s": max(second.rollout for second in seconds),
        "group_s": fmean(second.rollout for second in seconds),
        "reward_s": fmean(second.reward for second in seconds),
    }
