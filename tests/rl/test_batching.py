"""Cutting batches, padding them, and the probabilities of their tokens."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from rl.batching import Example, collate, plan
from rl.losses import token_logprobs


@given(st.lists(st.integers(2, 60), min_size=1, max_size=40), st.integers(1, 4), st.integers(8, 200))
def test_every_example_once_and_as_many_passes_on_every_rank(lengths, ranks, budget):
    shares = plan(lengths, ranks, budget)
    assert len(shares) == ranks
    assert len({len(share) for share in shares}) == 1
    seen = sorted(index for share in shares for cut in share for index in cut)
    assert seen == list(range(len(lengths)))
    for share in shares:
        for cut in share:
            padded = len(cut) * max((lengths[index] for index in cut), default=0)
            assert padded <= budget or len(cut) == 1


def test_collate_places_targets_and_masks():
    long, short = Example([7, 8], [9, 2], [0.5, -0.5], [-1.0, -2.0], [0, 1], 0.25), Example([7], [3], [1.0], [-3.0])
    batch = collate([long, short], pad_id=0)
    assert batch.token_ids.tolist() == [[7, 8, 9], [7, 3, 0]]
    assert batch.targets.tolist() == [[8, 9, 2], [3, 0, 0]]
    assert batch.response_mask.tolist() == [[0, 1, 1], [1, 0, 0]]
    assert batch.advantages.tolist() == [[0, 0.5, -0.5], [1, 0, 0]]
    assert batch.old_logprobs.tolist() == batch.rollout_logprobs.tolist() == [[0, -1, -2], [-3, 0, 0]]
    assert batch.segments.tolist() == [[0, 0, 1], [0, 0, 0]]
    assert batch.final_advantages.tolist() == [0.25, 0]


def test_temperature_scales_the_distribution():
    logits = torch.tensor([[[2.0, 0.0]]])
    logprobs, entropy = token_logprobs(logits, torch.tensor([[0]]), temperature=2.0)
    assert torch.isclose(logprobs.exp(), torch.sigmoid(torch.tensor(1.0))).all()
    assert 0 < entropy.item() < 0.7
