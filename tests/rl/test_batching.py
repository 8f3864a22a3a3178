"""Cutting batches, padding them, and the probabilities of their tokens."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from rl.batching import Example, collate, plan
from rl.losses import token_logprobs

LENGTHS = st.lists(st.integers(2, 60), min_size=1, max_size=40)


@given(LENGTHS, st.integers(1, 4), st.integers(8, 200), st.booleans())
def test_every_example_once_and_as_many_passes_on_every_rank(lengths, ranks, budget, padded):
    shares = plan(lengths, ranks, budget, padded=padded)
    assert len(shares) == ranks
    assert len({len(share) for share in shares}) == 1
    seen = sorted(index for share in shares for cut in share for index in cut)
    assert seen == list(range(len(lengths)))
    for cut in (cut for share in shares for cut in share if len(cut) > 1):
        own = [lengths[index] for index in cut]
        assert (len(own) * max(own) if padded else sum(own)) <= budget


@given(LENGTHS, st.integers(1, 4), st.integers(60, 200))
def test_packed_cuts_are_even(lengths, ranks, budget):
    shares = plan(lengths, ranks, budget)
    sizes = [sum(lengths[index] for index in cut) for share in shares for cut in share]
    # Filling the emptiest leaves no two further apart than one example.
    assert max(sizes) - min(sizes) <= max(lengths)
    loads = [sum(lengths[index] for cut in share for index in cut) for share in shares]
    assert max(loads) - min(loads) <= 2 * max(lengths)


def test_packing_takes_the_fewest_micro_batches_that_hold_the_tokens():
    assert [len(share) for share in plan([60, 20, 20, 20, 40, 40], 1, 100)] == [2]
    assert [len(share) for share in plan([60, 20, 20, 20, 40, 40], 1, 100, padded=True)] == [3]


def test_a_batch_of_nothing_is_a_pass_of_nothing():
    for padded in (False, True):
        assert plan([], 2, 100, padded=padded) == [[[]], [[]]]


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
    assert batch.lengths.tolist() == [3, 1]


def test_temperature_scales_the_distribution():
    logits = torch.tensor([[[2.0, 0.0]]])
    logprobs, entropy = token_logprobs(logits, torch.tensor([[0]]), temperature=2.0)
    assert torch.isclose(logprobs.exp(), torch.sigmoid(torch.tensor(1.0))).all()
    assert 0 < entropy.item() < 0.7
