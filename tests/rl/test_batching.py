"""Cutting batches and their losses: the same whatever the cut."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from rl.batching import Example, collate, plan
from rl.losses import kl_penalty, policy_loss, supervised_loss, token_logprobs


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
    batch = collate([Example([7, 8], [9, 2], [0.5, -0.5], [-1.0, -2.0]), Example([7], [3], [1.0], [-3.0])], pad_id=0)
    assert batch.token_ids.tolist() == [[7, 8, 9], [7, 3, 0]]
    assert batch.targets.tolist() == [[8, 9, 2], [3, 0, 0]]
    assert batch.response_mask.tolist() == [[0, 1, 1], [1, 0, 0]]
    assert batch.advantages.tolist() == [[0, 0.5, -0.5], [1, 0, 0]]
    assert batch.old_logprobs.tolist() == [[0, -1, -2], [-3, 0, 0]]


def test_an_empty_micro_batch_has_no_effect():
    batch = collate([], pad_id=0)
    logits = torch.zeros(*batch.targets.shape, 5, requires_grad=True)
    logprobs, _ = token_logprobs(logits, batch.targets)
    loss = policy_loss(logprobs, batch.old_logprobs, batch.advantages, batch.response_mask, 10.0).loss
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().sum() == 0


@given(st.integers(1, 4), st.sampled_from([16, 40, 1000]))
def test_loss_and_gradient_do_not_depend_on_the_cut(ranks, budget):
    generator = torch.Generator().manual_seed(3)
    examples = [
        Example(
            torch.randint(0, 11, (1 + i % 3,), generator=generator).tolist(),
            torch.randint(0, 11, (1 + i % 5,), generator=generator).tolist(),
            torch.randn(1 + i % 5, generator=generator).tolist(),
            (-torch.rand(1 + i % 5, generator=generator)).tolist(),
        )
        for i in range(9)
    ]
    total = float(sum(len(example.response_ids) for example in examples))
    embedding = torch.randn(11, 11, generator=generator).requires_grad_()

    def loss(cut):
        batch = collate([examples[index] for index in cut], pad_id=0)
        logprobs, _ = token_logprobs(embedding[batch.token_ids], batch.targets)
        policy = policy_loss(logprobs, batch.old_logprobs, batch.advantages, batch.response_mask, total).loss
        supervised = supervised_loss(logprobs, batch.response_mask, total)
        return policy + supervised + kl_penalty(logprobs, batch.old_logprobs, batch.response_mask, total)

    whole = loss(range(len(examples)))
    (expected,) = torch.autograd.grad(whole, embedding)
    parts = [loss(cut) for share in plan([e.length for e in examples], ranks, budget) for cut in share]
    (found,) = torch.autograd.grad(sum(parts), embedding)
    torch.testing.assert_close(sum(parts), whole)
    torch.testing.assert_close(found, expected)


def test_policy_loss_by_hand():
    logprobs = torch.log(torch.tensor([[0.5, 0.9, 0.1]]))
    old = torch.log(torch.tensor([[0.5, 0.5, 0.5]]))
    advantages = torch.tensor([[2.0, 1.0, -1.0]])
    mask = torch.tensor([[1.0, 1.0, 1.0]])
    result = policy_loss(logprobs, old, advantages, mask, 3.0, clip=0.2)
    # Ratios 1, 1.8, 0.2: the second is clipped to 1.2; the third, with a negative advantage, to 0.8.
    assert torch.isclose(result.loss, torch.tensor(-(2.0 + 1.2 - 0.8) / 3))
    assert result.clipped.item() == 2


def test_temperature_scales_the_distribution():
    logits = torch.tensor([[[2.0, 0.0]]])
    logprobs, entropy = token_logprobs(logits, torch.tensor([[0]]), temperature=2.0)
    assert torch.isclose(logprobs.exp(), torch.sigmoid(torch.tensor(1.0))).all()
    assert 0 < entropy.item() < 0.7
