"""Credit: how a scored group becomes an advantage for every token.

Every algorithm here is a pure function of a group's rewards. The learner knows none of them: it sees tokens and advantages.

    inter-trajectory   each step's reward against the same step of the other trajectories   (equation 10)
    intra-trajectory   a right step earns more when the steps after it are right too        (equation 11)
    Bi-Level           inter + lambda * intra for the steps, inter alone for the answer     (equations 12, 14)

Equations are those of StepCodeReasoner 3.3. Tensors are float, `G` trajectories by `n` anchors.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rl.trajectories import Trajectory

EPS = 1e-6


def terminal(final_rewards: Tensor, *, eps: float = EPS) -> Tensor:
    """GRPO's advantage of the final answer: equation 10 applied to equation 9.

    Args:
        final_rewards: `[G]`.
        eps: added to the population standard deviation.

    Returns:
        `[G]`.
    """
    centred = final_rewards - final_rewards.mean()
    return centred / (final_rewards.std(correction=0) + eps)


def inter_trajectory(step_rewards: Tensor, step_mask: Tensor, *, eps: float = EPS) -> Tensor:
    """Each step against the same step of the trajectories that have it (equation 10, population deviation).

    Args:
        step_rewards: `[G, n]`.
        step_mask: `[G, n]`, 1 where the trajectory has that anchor.
        eps: added to the deviation.

    Returns:
        `[G, n]`, 0 where masked.
    """
    count = step_mask.sum(dim=0).clamp(min=1)
    mean = (step_rewards * step_mask).sum(dim=0) / count
    centred = (step_rewards - mean) * step_mask
    deviation = (centred.square().sum(dim=0) / count).sqrt()
    return centred / (deviation + eps)


def intra_trajectory(step_rewards: Tensor, step_mask: Tensor) -> Tensor:
    """A right step's reward grows with the share of later steps that are right (equation 11).

    Args:
        step_rewards: `[G, n]`.
        step_mask: `[G, n]`, 1 where the trajectory has that anchor.

    Returns:
        `[G, n]`, 0 where masked.
    """
    rewards = step_rewards * step_mask
    later_right = rewards.flip(1).cumsum(1).flip(1) - rewards
    later = step_mask.flip(1).cumsum(1).flip(1) - step_mask
    return rewards * (1 + later_right / later.clamp(min=1))


def bilevel(
    step_rewards: Tensor,
    final_rewards: Tensor,
    *,
    step_mask: Tensor | None = None,
    lam: float = 0.3,
    eps: float = EPS,
) -> tuple[Tensor, Tensor]:
    """Bi-Level GRPO (equations 10-12).

    Args:
        step_rewards: `[G, n]`.
        final_rewards: `[G]`.
        step_mask: `[G, n]`, 1 where the trajectory has that anchor; all of them if None.
        lam: weight of the intra-trajectory part.
        eps: added to standard deviations.

    Returns:
        Step advantages `[G, n]` and final advantages `[G]`.
    """
    mask = torch.ones_like(step_rewards) if step_mask is None else step_mask.to(step_rewards.dtype)
    steps = inter_trajectory(step_rewards, mask, eps=eps) + lam * intra_trajectory(step_rewards, mask)
    return steps, terminal(final_rewards, eps=eps)


def step(
    step_rewards: Tensor, final_rewards: Tensor, *, step_mask: Tensor | None = None, eps: float = EPS
) -> tuple[Tensor, Tensor]:
    """Step-GRPO, the paper's ablation with lambda = 0; arguments and result as `bilevel`."""
    return bilevel(step_rewards, final_rewards, step_mask=step_mask, lam=0.0, eps=eps)


def _terminal_only(
    step_rewards: Tensor, final_rewards: Tensor, *, step_mask: Tensor | None = None, eps: float = EPS
) -> tuple[Tensor, Tensor]:
    """GRPO in the shape of the others: no step earns anything."""
    return torch.zeros_like(step_rewards), terminal(final_rewards, eps=eps)


ALGORITHMS: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {
    "terminal": _terminal_only,
    "step": step,
    "bilevel": bilevel,
}
"""Annotators by the name a configuration uses."""


def annotate(group: Sequence[Trajectory], algorithm: str, **options: float) -> list[Trajectory]:
    """Give every token of a group's trajectories its advantage.

    A step's advantage reaches the reasoning and print tokens of that step; the final advantage reaches every response
    token. Where both fall on a token they add up, as the two losses of equation 15 do. Problems with one anchor alone
    are trained on the final answer only (paper 4.2).

    Args:
        group: the trajectories of one problem.
        algorithm: a key of `ALGORITHMS`.
        options: passed on to it (`lam`, `eps`).

    Returns:
        The trajectories that count, annotated: those whose verdict is a fault of the machinery are left out, and a
        group with fewer than two others is left out whole, since there is nothing to compare it with.

    Raises:
        KeyError: no such algorithm.
    """
    judged = [trajectory for trajectory in group if not trajectory.score.verdict.is_fault]
    if len(judged) < 2:
        return []
    rewards, mask = _padded_rewards(judged)
    finals = torch.tensor([trajectory.score.final_reward for trajectory in judged])
    step_advantages, final_advantages = ALGORITHMS[algorithm](rewards, finals, step_mask=mask, **options)
    for row, trajectory in enumerate(judged):
        steps = step_advantages[row].tolist() if len(trajectory.score.step_rewards) > 1 else []
        advantages = [float(final_advantages[row])] * len(trajectory.completion.token_ids)
        for span, advantage in zip(trajectory.token_spans, steps, strict=False):
            for token in range(span.start, span.end):
                advantages[token] += advantage
        trajectory.advantages = advantages
    return judged


def _padded_rewards(group: Sequence[Trajectory]) -> tuple[Tensor, Tensor]:
    """Step rewards `[G, n]` and their mask, padded to the longest: inputs that differ reach different anchors."""
    width = max(len(trajectory.score.step_rewards) for trajectory in group)
    rewards = torch.zeros(len(group), width)
    mask = torch.zeros(len(group), width)
    for row, trajectory in enumerate(group):
        reached = len(trajectory.score.step_rewards)
        rewards[row, :reached] = torch.tensor(trajectory.score.step_rewards)
        mask[row, :reached] = 1.0
    return rewards, mask
