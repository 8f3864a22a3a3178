"""Losses over response tokens, each normalised by counts the caller gives for the whole batch.

A micro-batch adds up its part and divides by global counts, so the sum over micro-batches and ranks is the same however
the batch was cut.
"""

from dataclasses import dataclass
from math import log
from typing import NamedTuple

import torch
from torch import Tensor

from rl.batching import MicroBatch
from rl.objective import Objective

_LARGEST_LOG_RATIO = 20.0
"""A product of many ratios may overflow, and the clipped side of the surrogate would turn its gradient to NaN."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts over everything one optimizer step is taken on: all micro-batches, all ranks."""

    tokens: int
    """Response tokens."""
    sequences: int
    longest: int
    """Tokens a response may have."""


@dataclass(frozen=True, slots=True)
class PolicyLoss:
    """A micro-batch's share of the policy loss, and sums over its response tokens for the metrics."""

    loss: Tensor
    clipped: Tensor
    """Tokens whose ratio was clipped, sum."""
    mismatch: Tensor
    """|log-probability of the learner - of the engine|, sum."""
    divergence: Tensor
    """Divergence of the learner from the engine (k3), sum of the tokens'."""
    beyond_cap: Tensor
    """Tokens whose probabilities differ by more than a factor of the cap, sum."""


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


class _Term(NamedTuple):
    """A part of the loss: advantages, the units whose ratio they go with, and the weight of each token."""

    advantages: Tensor
    units: Tensor
    """`[B, T]`: tokens of one row with one number share one ratio."""
    weights: Tensor


def policy_loss(logprobs: Tensor, batch: MicroBatch, totals: Totals, objective: Objective) -> PolicyLoss:
    """The clipped surrogate for equations 13 and 14 together.

    The paper writes no clipping; without it one off-policy token can dominate a step, so PPO's is the default. Steps and
    the final answer share a token's ratio, clipped once on the sum of their advantages, unless `ratio` or `aggregation`
    treats them as units of their own.

    Args:
        logprobs: `[B, T]` of the policy being trained.
        batch: what the tokens are; its `old_logprobs` are the ratios' denominators and its `rollout_logprobs` the
            engine's, both the same unless the mismatch between learner and engine is to be corrected.
        totals: counts over the whole mini-batch.
        objective: the kind of loss.
    """
    mask = batch.response_mask.bool()
    difference = torch.where(mask, logprobs - batch.old_logprobs, 0.0)
    drift = torch.where(mask, batch.old_logprobs - batch.rollout_logprobs, 0.0)
    high = objective.clip if objective.clip_high is None else objective.clip_high
    loss, clipped = torch.zeros((), device=logprobs.device), torch.zeros_like(mask)
    for term in _terms(batch, objective):
        ratio = _of_units(difference, term.units, mask, objective).exp()
        surrogate = torch.minimum(ratio * term.advantages, ratio.clamp(1 - objective.clip, 1 + high) * term.advantages)
        if objective.mismatch != "measure":
            surrogate = surrogate * _mismatch_weights(_of_units(drift, term.units, mask, objective), objective)
        loss = loss - (surrogate * term.weights).sum() / _divisor(totals, objective)
        clipped |= ((ratio - 1 > high) | (1 - ratio > objective.clip)) & (term.weights > 0)
    with torch.no_grad():
        learner = logprobs if objective.mismatch == "measure" else batch.old_logprobs
        apart = torch.where(mask, learner - batch.rollout_logprobs, 0.0)
        beyond = apart.abs() > log(objective.mismatch_cap)
    return PolicyLoss(loss, clipped.sum(), apart.abs().sum(), (apart.exp() - apart - 1).sum(), beyond.sum())


def _terms(batch: MicroBatch, objective: Objective) -> list[_Term]:
    """One part for all advantages where steps and answer share ratios and weights, else one for each."""
    mask = batch.response_mask
    whole = torch.zeros_like(batch.segments)
    if objective.ratio != "segment" and objective.aggregation != "segment":
        return [_Term(batch.advantages, whole, _token_weights(mask, objective))]
    in_step = mask * (batch.segments > 0)
    final = batch.final_advantages.unsqueeze(1) * mask
    step_weights = in_step
    if objective.aggregation == "segment":
        step_weights = in_step / _sums(in_step, batch.segments).clamp(min=1)
    elif objective.aggregation == "sequence":
        step_weights = in_step / _lengths(mask)
    return [
        _Term((batch.advantages - final) * in_step, batch.segments, step_weights),
        _Term(final, whole, _token_weights(mask, objective)),
    ]


def _of_units(values: Tensor, units: Tensor, mask: Tensor, objective: Objective) -> Tensor:
    """Each token's own log-ratio, or that of the unit it belongs to; `values` are 0 off the mask."""
    if objective.ratio == "token":
        return values
    if objective.ratio == "sequence":
        return (values.sum(dim=1, keepdim=True) / _lengths(mask)).expand_as(values)
    return _sums(values, units).clamp(-_LARGEST_LOG_RATIO, _LARGEST_LOG_RATIO)


def _sums(values: Tensor, units: Tensor) -> Tensor:
    """For each token the sum of its unit's values, `[B, T]`."""
    count = int(units.max()) + 1 if units.numel() else 1
    return torch.zeros(len(values), count, device=values.device).scatter_add(1, units, values).gather(1, units)


def _lengths(mask: Tensor) -> Tensor:
    """Tokens of each row, `[B, 1]`, at least 1."""
    return mask.sum(dim=1, keepdim=True).clamp(min=1)


def _mismatch_weights(log_weights: Tensor, objective: Objective) -> Tensor:
    """Importance weights of the learner's probability over the engine's; `log_weights` carries no gradient."""
    weights = log_weights.exp()
    if objective.mismatch == "truncate":
        return weights.clamp(max=objective.mismatch_cap)
    within = (weights <= objective.mismatch_cap) & (weights >= 1 / objective.mismatch_cap)
    return torch.where(within, weights, 0.0)


def _token_weights(mask: Tensor, objective: Objective) -> Tensor:
    """What a token counts before the division by a global count, `[B, T]`."""
    return mask / _lengths(mask) if objective.aggregation in ("sequence", "segment") else mask


def _divisor(totals: Totals, objective: Objective) -> float:
    if objective.aggregation == "token":
        return float(max(totals.tokens, 1))
    return float(max(totals.sequences, 1) * (totals.longest if objective.aggregation == "constant" else 1))


def kl_penalty(
    logprobs: Tensor, ref_logprobs: Tensor, response_mask: Tensor, totals: Totals, objective: Objective
) -> Tensor:
    """The divergence term of equation 15, from a sample of the policy (Schulman's estimators).

    With d = log ref - log policy: k1 is -d, unbiased, of either sign, and its own gradient is 0 on average, so it is given
    k2's; k2 is d^2/2, biased, and its gradient is that of the divergence; k3 is exp(d) - d - 1: unbiased, never negative.
    """
    difference = torch.where(response_mask.bool(), ref_logprobs - logprobs, 0.0)
    if objective.kl_estimator == "k3":
        values = difference.exp() - difference - 1
    else:
        values = difference.square() / 2
        if objective.kl_estimator == "k1":
            values = values - (values + difference).detach()
    return (values * _token_weights(response_mask, objective)).sum() / _divisor(totals, objective)
