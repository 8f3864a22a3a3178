"""From sequences of any length to micro-batches that every rank can run in step.

ZeRO reduces gradients during each backward pass, so all ranks need the same number of passes. Sequences are sorted by
length and cut so that a micro-batch holds at most a budget of tokens, padding included.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt with its response, and what the loss needs on each response token."""

    prompt_ids: list[int]
    response_ids: list[int]
    advantages: list[float]
    old_logprobs: list[float]

    @property
    def length(self) -> int:
        """Tokens of prompt and response."""
        return len(self.prompt_ids) + len(self.response_ids)


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Right-padded tensors `[B, T]`; position `t` holds what belongs to predicting token `t + 1`.

    Padding stands at the right of causal attention, so it needs no attention mask: no real token sees it.
    """

    token_ids: Tensor
    targets: Tensor
    response_mask: Tensor
    advantages: Tensor
    old_logprobs: Tensor


def plan(lengths: Sequence[int], ranks: int, token_budget: int) -> list[list[list[int]]]:
    """Cut a batch into micro-batches: as many for every rank, of similar lengths, at most `token_budget` padded tokens.

    Args:
        lengths: tokens of each example.
        ranks: data-parallel ranks.
        token_budget: padded tokens a micro-batch may hold; an example longer than that travels alone.

    Returns:
        For each rank its micro-batches, each a list of indices into `lengths`; some are empty if there is too little.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    cuts: list[list[int]] = []
    for index in order:
        if cuts and (len(cuts[-1]) + 1) * lengths[cuts[-1][0]] <= token_budget:
            cuts[-1].append(index)
        else:
            cuts.append([index])
    while len(cuts) % ranks:
        largest = max(cuts, key=len)
        half = len(largest) // 2
        cuts[cuts.index(largest)] = largest[:half]
        cuts.append(largest[half:])
    # Neighbours in length go to different ranks, in alternating order, so that ranks carry like loads.
    cuts.sort(key=lambda cut: -sum(lengths[index] for index in cut))
    shares: list[list[list[int]]] = [[] for _ in range(ranks)]
    for turn, begin in enumerate(range(0, len(cuts), ranks)):
        row = cuts[begin : begin + ranks]
        for share, cut in zip(shares, row if turn % 2 == 0 else row[::-1], strict=True):
            share.append(cut)
    return shares


def collate(examples: Sequence[Example], pad_id: int) -> MicroBatch:
    """Pad examples to one length; an empty list gives one padded row with no response token, a pass without effect."""
    width = max((example.length for example in examples), default=2)
    rows = max(len(examples), 1)
    token_ids = torch.full((rows, width), pad_id, dtype=torch.long)
    response_mask = torch.zeros(rows, width - 1)
    advantages = torch.zeros(rows, width - 1)
    old_logprobs = torch.zeros(rows, width - 1)
    for row, example in enumerate(examples):
        token_ids[row, : example.length] = torch.tensor(example.prompt_ids + example.response_ids)
        response = slice(len(example.prompt_ids) - 1, example.length - 1)
        response_mask[row, response] = 1.0
        advantages[row, response] = torch.tensor(example.advantages)
        old_logprobs[row, response] = torch.tensor(example.old_logprobs)
    return MicroBatch(token_ids[:, :-1], token_ids[:, 1:], response_mask, advantages, old_logprobs)
