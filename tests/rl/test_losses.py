"""Losses: small cases by hand, a naive reference under autograd, and the same numbers whatever the cut."""

from dataclasses import replace
from math import log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rl.batching import Example, MicroBatch, collate, plan
from rl.losses import Totals, kl_penalty, policy_loss, supervised_loss, token_logprobs
from rl.objective import Objective

VOCABULARY = 11


def one_row(ratios, advantages, segments=None, final=0.0, engine=None):
    """A micro-batch of one response, and the log-probabilities that give each token its ratio."""
    count = len(ratios)
    old = torch.full((1, count), -1.0)
    drift = torch.zeros(1, count) if engine is None else torch.log(torch.tensor([engine]))
    batch = MicroBatch(
        token_ids=torch.zeros(1, count, dtype=torch.long),
        targets=torch.zeros(1, count, dtype=torch.long),
        response_mask=torch.ones(1, count),
        advantages=torch.tensor([advantages]),
        old_logprobs=old,
        rollout_logprobs=old - drift,
        segments=torch.tensor([segments or [0] * count]),
        final_advantages=torch.tensor([final]),
        lengths=torch.tensor([count]),
    )
    return old + torch.log(torch.tensor([ratios])), batch


def loss_of(logprobs, batch, totals=None, **options):
    totals = totals or Totals(tokens=batch.response_mask.shape[1], sequences=1, longest=10)
    return policy_loss(logprobs, batch, totals, Objective(**options))


def test_the_default_by_hand():
    # Ratios 1, 1.8, 0.2: the second is clipped to 1.2; the third, with a negative advantage, to 0.8.
    result = loss_of(*one_row([1.0, 1.8, 0.2], [2.0, 1.0, -1.0]))
    assert result.loss.item() == pytest.approx(-(2.0 + 1.2 - 0.8) / 3)
    assert result.clipped.item() == 2


def test_clip_higher_lets_good_tokens_rise_further():
    row = one_row([1.25, 1.4, 0.7], [1.0, 1.0, -1.0])
    result = loss_of(*row, clip_high=0.3)
    assert result.loss.item() == pytest.approx(-(1.25 + 1.3 - 0.8) / 3)
    assert result.clipped.item() == 2


def test_segment_ratios_are_equations_13_and_14():
    # Step 1 has ratios 1.1 and 1.05, step 2 has 0.9; a last token belongs to the answer alone. Final advantage 2.
    row = one_row([1.1, 1.05, 0.9, 1.02], [2.5, 2.5, 1.0, 2.0], segments=[1, 1, 2, 0], final=2.0)
    result = loss_of(*row, ratio="segment", aggregation="segment")
    whole = 1.1 * 1.05 * 0.9 * 1.02
    assert result.loss.item() == pytest.approx(-(1.1 * 1.05 * 0.5 + 0.9 * -1.0 + whole * 2.0), rel=1e-5)


def test_segment_ratios_are_clipped_as_units():
    row = one_row([1.1, 1.2], [3.0, 3.0], segments=[1, 1], final=1.0)
    result = loss_of(*row, ratio="segment", aggregation="segment")
    # 1.32 is beyond 1.2 for the step and for the whole, whose tokens are the same.
    assert result.loss.item() == pytest.approx(-(1.2 * 2 + 1.2 * 1), rel=1e-5)
    assert result.clipped.item() == 2


def test_a_product_of_ratios_that_overflows_has_a_gradient():
    logprobs, batch = one_row([1.0] * 3, [1.0] * 3, final=1.0)
    moved = (logprobs + 200).requires_grad_()
    loss_of(moved, batch, ratio="segment").loss.backward()
    assert moved.grad.abs().max() == 0


def test_sequence_ratios_are_the_geometric_mean():
    result = loss_of(*one_row([1.1, 0.9, 1.05, 1.1], [2.0] * 4), ratio="sequence", aggregation="sequence")
    assert result.loss.item() == pytest.approx(-2 * (1.1 * 0.9 * 1.05 * 1.1) ** 0.25, rel=1e-5)


def test_aggregations_by_hand():
    # Two responses of 1 and 3 tokens, ratios 1; the longer one has a step of two tokens with advantage 3 beyond its 1.
    examples = [Example([1], [2], [2.0], [-1.0], [0], 2.0), Example([1], [2, 3, 4], [4.0, 4, 1], [-1.0] * 3, [1, 1, 0], 1.0)]
    batch = collate(examples, 0)
    totals = Totals(tokens=4, sequences=2, longest=10)
    expected = {
        "token": (2 + 4 + 4 + 1) / 4,
        "sequence": (2 + 9 / 3) / 2,
        "segment": (2 + 3 + 1) / 2,
        "constant": (2 + 9) / 20,
    }
    for aggregation, value in expected.items():
        found = loss_of(batch.old_logprobs, batch, totals, aggregation=aggregation).loss
        assert found.item() == pytest.approx(-value), aggregation


def test_kl_estimators_by_hand():
    ref, mask = torch.tensor([[-1.0, -2.0, -9.0]]), torch.tensor([[1.0, 1, 0]])
    expected = {
        "k1": (log(2) - log(2)) / 2,
        "k2": 2 * log(2) ** 2 / 2 / 2,
        "k3": ((0.5 + log(2) - 1) + (2 - log(2) - 1)) / 2,
    }
    gradients = {
        "k1": [log(2) / 2, -log(2) / 2, 0],
        "k2": [log(2) / 2, -log(2) / 2, 0],
        "k3": [(1 - 0.5) / 2, (1 - 2) / 2, 0],
    }
    for estimator, value in expected.items():
        logprobs = torch.tensor([[-1.0 + log(2), -2.0 - log(2), -1.0]], requires_grad=True)
        penalty = kl_penalty(logprobs, ref, mask, Totals(2, 1, 9), Objective(kl_estimator=estimator))
        penalty.backward()
        assert penalty.item() == pytest.approx(value, abs=1e-6), estimator
        assert logprobs.grad[0].tolist() == pytest.approx(gradients[estimator], abs=1e-6), estimator


@pytest.mark.parametrize("estimator", ["k1", "k2"])
def test_the_gradient_of_k1_and_k2_is_that_of_the_divergence(estimator):
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(VOCABULARY, generator=generator, dtype=torch.float64, requires_grad=True)
    ref = torch.log_softmax(torch.randn(VOCABULARY, generator=generator, dtype=torch.float64), 0)
    policy = torch.log_softmax(logits, 0)
    (exact,) = torch.autograd.grad((policy.exp() * (policy - ref)).sum(), logits, retain_graph=True)
    # Every token once as if sampled; its gradient counts as often as the policy draws it.
    expected = torch.zeros_like(logits)
    for token in range(VOCABULARY):
        one = torch.ones(1, 1, dtype=torch.float64)
        value = kl_penalty(
            policy[token].view(1, 1), ref[token].view(1, 1), one, Totals(1, 1, 1), Objective(kl_estimator=estimator)
        )
        (gradient,) = torch.autograd.grad(value, logits, retain_graph=True)
        expected += policy[token].exp().detach() * gradient
    torch.testing.assert_close(expected, exact)


def test_mismatch_is_measured_and_left_alone_by_default():
    logprobs, batch = one_row([1.0, 1.0, 1.0], [1.0] * 3)
    batch = replace(batch, rollout_logprobs=batch.old_logprobs, old_logprobs=batch.old_logprobs)
    apart = loss_of(logprobs + torch.log(torch.tensor([[1.0, 1.1, 3.0]])), batch, mismatch_cap=2.0)
    assert apart.mismatch.item() == pytest.approx(log(1.1) + log(3), rel=1e-5)
    assert apart.divergence.item() == pytest.approx(1.1 - log(1.1) - 1 + 3 - log(3) - 1, rel=1e-5)
    assert apart.beyond_cap.item() == 1


def test_importance_weights_are_truncated_or_masked():
    # The learner gives the three tokens 1.5, 3 and 0.4 times the engine's probability.
    row = one_row([1.0, 1.0, 1.0], [1.0, 2.0, 4.0], engine=[1.5, 3.0, 0.4])
    truncated = loss_of(*row, mismatch="truncate", mismatch_cap=2.0)
    assert truncated.loss.item() == pytest.approx(-(1.5 + 2 * 2.0 + 0.4 * 4) / 3, rel=1e-5)
    assert truncated.beyond_cap.item() == 2
    assert truncated.mismatch.item() == pytest.approx(log(1.5) + log(3) - log(0.4), rel=1e-5)
    masked = loss_of(*row, mismatch="mask", mismatch_cap=2.0)
    assert masked.loss.item() == pytest.approx(-1.5 / 3, rel=1e-5)


def test_a_unit_has_one_importance_weight():
    row = one_row([1.0, 1.0], [1.0, 1.0], engine=[4.0, 1.0])
    weighted = loss_of(*row, ratio="sequence", aggregation="sequence", mismatch="truncate", mismatch_cap=3.0)
    assert weighted.loss.item() == pytest.approx(-2.0, rel=1e-5)


def drawn(count, seed=3, steps=True):
    """Examples of many lengths, with steps, and a distribution to train."""
    generator = torch.Generator().manual_seed(seed)
    examples = []
    for i in range(count):
        length = 1 + i % 5
        segments = [[0, 1, 1, 2, 0][t] if steps else 0 for t in range(length)]
        final = float(torch.randn((), generator=generator))
        step = [0.0, *torch.randn(2, generator=generator).tolist()]
        examples.append(
            Example(
                torch.randint(0, VOCABULARY, (1 + i % 3,), generator=generator).tolist(),
                torch.randint(0, VOCABULARY, (length,), generator=generator).tolist(),
                [final + step[number] for number in segments],
                (-2.4 + 0.2 * torch.randn(length, generator=generator)).tolist(),
                segments,
                final,
            )
        )
    return examples, (0.2 * torch.randn(VOCABULARY, VOCABULARY, generator=generator)).requires_grad_()


def totals_of(examples):
    return Totals(sum(len(example.response_ids) for example in examples), len(examples), 10)


def combined(examples, totals, table, objective):
    """All losses of a micro-batch together."""
    batch = collate(examples, pad_id=0)
    logprobs, _ = token_logprobs(table[batch.token_ids], batch.targets)
    if objective.mismatch != "measure":
        batch = replace(batch, old_logprobs=batch.rollout_logprobs + 0.5 * torch.sin(7 * batch.rollout_logprobs))
    penalty = kl_penalty(logprobs, batch.rollout_logprobs, batch.response_mask, totals, objective)
    supervised = supervised_loss(logprobs, batch.response_mask, totals.tokens)
    return policy_loss(logprobs, batch, totals, objective).loss + penalty + supervised


objectives = st.builds(
    Objective,
    clip=st.sampled_from([0.05, 0.2]),
    clip_high=st.sampled_from([None, 0.28]),
    ratio=st.sampled_from(["token", "segment", "sequence"]),
    aggregation=st.sampled_from(["token", "sequence", "segment", "constant"]),
    kl_estimator=st.sampled_from(["k1", "k2", "k3"]),
    mismatch=st.sampled_from(["measure", "truncate", "mask"]),
    mismatch_cap=st.sampled_from([1.2, 2.0]),
)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.sampled_from([16, 40, 1000]), objectives, st.randoms())
def test_loss_and_gradient_do_not_depend_on_the_cut_nor_on_the_order(ranks, budget, objective, rng):
    examples, table = drawn(9)
    totals = totals_of(examples)
    whole = combined(examples, totals, table, objective)
    (expected,) = torch.autograd.grad(whole, table)
    rng.shuffle(examples)
    shares = plan([example.length for example in examples], ranks, budget)
    parts = sum(combined([examples[i] for i in cut], totals, table, objective) for share in shares for cut in share)
    (found,) = torch.autograd.grad(parts, table)
    torch.testing.assert_close(parts, whole)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)


def naive(examples, table, objective):
    """The policy loss again, response by response and token by token, from the definitions."""
    tokens = sum(len(example.response_ids) for example in examples)
    high = objective.clip if objective.clip_high is None else objective.clip_high
    loss = 0.0

    def surrogate(log_ratio, advantage):
        ratio = torch.exp(log_ratio)
        return torch.minimum(ratio * advantage, torch.clamp(ratio, 1 - objective.clip, 1 + high) * advantage)

    for example in examples:
        ids = example.prompt_ids + example.response_ids
        size, first = len(example.response_ids), len(example.prompt_ids)
        log_ratios = [
            torch.log_softmax(table[ids[first + t - 1]], 0)[ids[first + t]] - example.old_logprobs[t] for t in range(size)
        ]
        everything = list(range(size))
        steps = [[t for t in everything if example.segments[t] == n] for n in (1, 2)]
        parts = [(unit, example.advantages[unit[0]] - example.final_advantage) for unit in steps if unit]
        parts.append((everything, example.final_advantage))
        if objective.ratio != "segment" and objective.aggregation != "segment":
            parts = [([t], example.advantages[t]) for t in everything]
        for unit, advantage in parts:
            shared = sum(log_ratios) / size if objective.ratio == "sequence" else sum(log_ratios[t] for t in unit)
            for t in unit:
                value = surrogate(log_ratios[t] if objective.ratio == "token" else shared, advantage)
                per_response = 1 / len(unit) if objective.aggregation == "segment" else 1 / size
                weight = {"token": 1 / tokens, "constant": 1 / (10 * len(examples))}.get(
                    objective.aggregation, per_response / len(examples)
                )
                loss = loss - weight * value
    return loss


@settings(max_examples=40, deadline=None)
@given(objectives.filter(lambda objective: objective.mismatch == "measure"), st.integers(0, 20))
def test_loss_and_gradient_are_those_of_a_naive_reference(objective, seed):
    examples, table = drawn(6, seed)
    batch = collate(examples, 0)
    logprobs, _ = token_logprobs(table[batch.token_ids], batch.targets)
    found = policy_loss(logprobs, batch, totals_of(examples), objective).loss
    expected = naive(examples, table, objective)
    torch.testing.assert_close(found, expected)
    (gradient,) = torch.autograd.grad(found, table)
    (reference,) = torch.autograd.grad(expected, table)
    torch.testing.assert_close(gradient, reference, atol=1e-6, rtol=1e-4)


@settings(max_examples=40, deadline=None)
@given(objectives, st.integers(0, 20))
def test_one_token_is_its_own_segment_and_sequence(objective, seed):
    examples, table = drawn(6, seed, steps=False)
    single = [replace(example, response_ids=example.response_ids[:1], segments=[]) for example in examples]
    single = [
        replace(example, advantages=example.advantages[:1], old_logprobs=example.old_logprobs[:1]) for example in single
    ]
    values = [
        combined(single, totals_of(single), table, objective.model_copy(update={"ratio": ratio}))
        for ratio in ("token", "segment", "sequence")
    ]
    torch.testing.assert_close(values[1], values[0])
    torch.testing.assert_close(values[2], values[0])


@settings(max_examples=40, deadline=None)
@given(objectives, st.integers(0, 20))
def test_clip_high_equal_to_clip_changes_nothing(objective, seed):
    examples, table = drawn(6, seed)
    same = [objective.model_copy(update={"clip_high": high}) for high in (None, objective.clip)]
    first, second = (combined(examples, totals_of(examples), table, each) for each in same)
    assert torch.equal(first, second)


@settings(max_examples=40, deadline=None)
@given(objectives)
def test_an_empty_micro_batch_has_no_effect(objective):
    batch = collate([], pad_id=0)
    logits = torch.zeros(*batch.targets.shape, 5, requires_grad=True)
    logprobs, _ = token_logprobs(logits, batch.targets)
    loss = policy_loss(logprobs, batch, Totals(10, 2, 10), objective).loss
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().sum() == 0


def test_on_policy_token_and_sequence_ratios_push_alike():
    examples, table = drawn(6, steps=False)
    batch = collate(examples, 0)
    logprobs, _ = token_logprobs(table[batch.token_ids], batch.targets)
    batch = replace(batch, old_logprobs=logprobs.detach(), rollout_logprobs=logprobs.detach())
    gradients = []
    for ratio in ("token", "sequence"):
        loss = loss_of(logprobs, batch, totals_of(examples), ratio=ratio, aggregation="sequence").loss
        gradients += torch.autograd.grad(loss, table, retain_graph=True)
    torch.testing.assert_close(gradients[0], gradients[1])
