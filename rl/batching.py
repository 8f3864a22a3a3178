"""From sequences of any length to micro-batches that every rank can run in step.

ZeRO reduces gradients during each backward pass, so all ranks need the same number of passes. A micro-batch holds at most a
budget of tokens. Packed, those are the examples' own tokens, and the cuts are as even as can be; padded, sequences of like
length stand together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from heapq import heappop, heappush

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Example:
    """A prompt with its response, and what the loss needs on each response token."""

    prompt_ids: list[int]
    response_ids: list[int]
    advantages: list[float]
    old_logprobs: list[float]
    segments: list[int] = field(default_factory=list)
    """The step, from 1, whose advantage each response token carries, 0 for none; empty if there are no steps."""
    final_advantage: float = 0.0
    """The part of `advantages` that is not a step's."""

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
    """Of the policy that the ratios compare with."""
    rollout_logprobs: Tensor
    """Of the engine that sampled."""
    segments: Tensor
    final_advantages: Tensor
    """`[B]`."""
    lengths: Tensor
    """`[B]`: real positions of each row, the rest is padding."""

    def to(self, device: torch.device) -> "MicroBatch":
        """The same on `device`."""
        return MicroBatch(*(getattr(self, tensor.name).to(device) for tensor in fields(self)))


def plan(lengths: Sequence[int], ranks: int, token_budget: int, *, padded: bool = False) -> list[list[list[int]]]:
    """Cut a batch into micro-batches, as many for every rank.

    Args:
        lengths: tokens of each example.
        ranks: data-parallel ranks.
        token_budget: tokens a micro-batch may hold; an example longer than that travels alone.
        padded: whether every example of a micro-batch takes as many tokens as its longest.

    Returns:
        For each rank its micro-batches, each a list of indices into `lengths`; some are empty if there is too little.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    cuts = _padded_cuts(lengths, order, ranks, token_budget) if padded else _even_cuts(lengths, order, ranks, token_budget)
    # Neighbours in size go to different ranks, in alternating order, so that ranks carry like loads.
    cuts.sort(key=lambda cut: -sum(lengths[index] for index in cut))
    shares: list[list[list[int]]] = [[] for _ in range(ranks)]
    for turn, begin in enumerate(range(0, len(cuts), ranks)):
        row = cuts[begin : begin + ranks]
        for share, cut in zip(shares, row if turn % 2 == 0 else row[::-1], strict=True):
            share.append(cut)
    return shares


def _even_cuts(lengths: Sequence[int], order: Sequence[int], ranks: int, token_budget: int) -> list[list[int]]:
    """The fewest cuts, a multiple of `ranks`, into which longest-first filling of the emptiest fits."""
    count = max(-(-sum(lengths) // token_budget), 1)
    while True:
        count = -(-count // ranks) * ranks
        cuts: list[list[int]] = [[] for _ in range(count)]
        sizes = [(0, place) for place in range(count)]
        for index in order:
            size, place = heappop(sizes)
            cuts[place].append(index)
            heappush(sizes, (size + lengths[index], place))
        if all(size <= token_budget or len(cuts[place]) == 1 for size, place in sizes):
            return cuts
        count += 1


def _padded_cuts(lengths: Sequence[int], order: Sequence[int], ranks: int, token_budget: int) -> list[list[int]]:
    """Stretches of like lengths, each within the budget by its longest; some halved until they are a multiple of `ranks`."""
    cuts: list[list[int]] = []
    for index in order:
        if cuts and (len(cuts[-1]) + 1) * lengths[cuts[-1][0]] <= token_budget:
            cuts[-1].append(index)
        else:
            cuts.append([index])
    while len(cuts) % ranks or not cuts:
        largest = max(cuts, key=len, default=[])
        half = len(largest) // 2
        if largest:
            cuts[cuts.index(largest)] = largest[:half]
        cuts.append(largest[half:])
    return cuts


def collate(examples: Sequence[Example], pad_id: int) -> MicroBatch:
    """Pad examples to one length; an empty list gives one padded row with no response token, a pass without effect."""
    width = max((example.length for example in examples), default=2)
    rows = max(len(examples), 1)
    token_ids = torch.full((rows, width), pad_id, dtype=torch.long)
    response_mask = torch.zeros(rows, width - 1)
    advantages = torch.zeros(rows, width - 1)
    old_logprobs = torch.zeros(rows, width - 1)
    segments = torch.zeros(rows, width - 1, dtype=torch.long)
    final_advantages = torch.zeros(rows)
    lengths = torch.ones(rows, dtype=torch.long)
    for row, example in enumerate(examples):
        token_ids[row, : example.length] = torch.tensor(example.prompt_ids + example.response_ids)
        response = slice(len(example.prompt_ids) - 1, example.length - 1)
        response_mask[row, response] = 1.0
        advantages[row, response] = torch.tensor(example.advantages)
        old_logprobs[row, response] = torch.tensor(example.old_logprobs)
        if example.segments:
            segments[row, response] = torch.tensor(example.segments)
        final_advantages[row] = example.final_advantage
        lengths[row] = example.length - 1
    return MicroBatch(
        token_ids[:, :-1],
        token_ids[:, 1:],
        response_mask,
        advantages,
        old_logprobs,
        old_logprobs,
        segments,
        final_advantages,
        lengths,
    )
