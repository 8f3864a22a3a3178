"""Losses over response tokens, each normalised by a count the caller gives for the whole batch.

A micro-batch adds up its part and divides by the global number of response tokens, so the sum over micro-batches and ranks
is the same however the batch was cut.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class PolicyLoss:
    """A micro-batch's share of the policy loss, and sums over its response tokens for the metrics."""

    loss: Tensor
    clipped: Tensor
    """Tokens whose ratio was clipped, sum."""
    mismatch: Tensor
    """|log-probability of the learner - of the engine|, sum."""


def token_logprobs(logits: Tensor, targets: Tensor, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """Log-probability of each target and entropy of each distribution.

    Args:
        logits: `[B, T, V]`.
        targets: `[B, T]` token ids.
        temperature: what the engine sampled with; the log-probabilities are those of that distribution.

    Returns:
        Two `[B, T]` tensors in fp32; the entropy, in nats, carries no gradient.
    """
    distribution = torch.log_softmax(logits.float() / temperature, dim=-1)
    logprobs = distribution.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    with torch.no_grad():
        entropy = -(distribution.exp() * distribution).sum(dim=-1)
    return logprobs, entropy


def supervised_loss(logprobs: Tensor, response_mask: Tensor, total_tokens: float) -> Tensor:
    """Negative log-likelihood of the response tokens (equation 2), divided by the batch's response tokens."""
    return -(logprobs * response_mask).sum() / total_tokens


def policy_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    response_mask: Tensor,
    total_tokens: float,
    *,
    clip: float = 0.2,
) -> PolicyLoss:
    """The clipped surrogate with token-level ratios for equations 13 and 14 together.

    The paper writes no clipping; without it one off-policy token can dominate a step, so PPO's is the default.

    Args:
        logprobs: `[B, T]` of the policy being trained.
        old_logprobs: `[B, T]` of the policy that sampled.
        advantages: `[B, T]`, as `rl.advantages.annotate` spreads them.
        response_mask: `[B, T]`, 1 on response tokens.
        total_tokens: response tokens of the whole batch, over all micro-batches and ranks.
        clip: half-width of the interval of ratios that still earn gradient.
    """
    difference = torch.where(response_mask.bool(), logprobs - old_logprobs, 0.0)
    ratio = difference.exp()
    surrogate = torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    with torch.no_grad():
        clipped = (((ratio - 1).abs() > clip) & response_mask.bool()).sum()
        mismatch = difference.abs()
    return PolicyLoss(
        loss=-(surrogate * response_mask).sum() / total_tokens,
        clipped=clipped,
        mismatch=mismatch.sum(),
    )


def kl_penalty(logprobs: Tensor, ref_logprobs: Tensor, response_mask: Tensor, total_tokens: float) -> Tensor:
    """The divergence term of equation 15 by the k3 estimator: never negative, unbiased, low in variance."""
    difference = torch.where(response_mask.bool(), ref_logprobs - logprobs, 0.0)
    return ((difference.exp() - difference - 1) * response_mask).sum() / total_tokens
