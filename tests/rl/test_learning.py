"""Every algorithm teaches a tiny policy, from annotated groups to its loss; and the paper's credit costs entropy."""

import pytest
import torch

from learner.settings import PolicySettings
from rl.advantages import annotate
from rl.batching import Example, collate
from rl.losses import Totals, policy_loss, token_logprobs
from rl.responses import Span
from rl.trajectories import Completion, Score, Trajectory
from rl.verdicts import Verdict

RIGHT = [1, 2, 3]
"""Two steps and an answer, a token each."""

GROUP, GROUPS, STEPS = 16, 2, 30


def sampled(table, generator, rewarded):
    """A trajectory of the policy that holds for each token the logits of the next."""
    ids, logprobs = [0], []
    for _ in RIGHT:
        distribution = torch.log_softmax(table[ids[-1]], 0).detach()
        ids.append(int(torch.multinomial(distribution.exp(), 1, generator=generator)))
        logprobs.append(float(distribution[ids[-1]]))
    hits = [float(token == right or not rewarded) for token, right in zip(ids[1:], RIGHT, strict=True)]
    score = Score(Verdict.OK if hits[2] else Verdict.WRONG, hits[2], hits[:2], ["", ""])
    spans = [Span(0, 1), Span(1, 2)]
    return Trajectory("p", [0], Completion(ids[1:], logprobs, [0] * 3, True), "", score, spans, spans)


def trained(settings, rewarded=True):
    """The policy's table after some steps; everything counts as right unless `rewarded`."""
    generator = torch.Generator().manual_seed(1)
    table = torch.zeros(4, 4, requires_grad=True)
    optimizer = torch.optim.Adam([table], lr=0.1)
    for _ in range(STEPS):
        groups = [[sampled(table, generator, rewarded) for _ in range(GROUP)] for _ in range(GROUPS)]
        examples = [
            Example([0], t.completion.token_ids, t.advantages, t.completion.rollout_logprobs, t.segments, t.final_advantage)
            for group in groups
            for t in annotate(group, settings)
        ]
        batch = collate(examples, 0)
        logprobs, _ = token_logprobs(table[batch.token_ids], batch.targets)
        optimizer.zero_grad()
        policy_loss(logprobs, batch, Totals(3 * len(examples), len(examples), 3), settings).loss.backward()
        optimizer.step()
    return torch.softmax(table.detach(), 1)


ALGORITHMS = ["terminal", "step", "bilevel", "rloo", "dr_grpo", "gspo", "dapo"]

READINGS = {
    "prints": {"step_tokens": "prints"},
    "centred": {"centred_intra": True},
    "literal": {"ratio": "segment", "aggregation": "segment"},
    "sample": {"std": "sample", "aggregation": "sequence"},
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_learns_the_answer(algorithm):
    # A quarter of the responses end right at first.
    policy = trained(PolicySettings(algorithm=algorithm))
    first, second = policy[0], policy[0] @ policy
    assert (second @ policy)[3] > 0.8
    if algorithm in ("step", "bilevel"):
        assert first[1] > 0.8
        assert second[2] > 0.8


@pytest.mark.parametrize("reading", READINGS)
def test_every_reading_of_bilevel_learns_steps_and_answer(reading):
    policy = trained(PolicySettings(**READINGS[reading]))
    path = policy[0, 1] * policy[1, 2] * policy[2, 3]
    assert path > 0.5


def test_where_everything_is_right_only_the_uncentred_intra_part_moves_the_policy():
    uniform = torch.full((4, 4), 0.25)
    assert torch.equal(trained(PolicySettings(centred_intra=True), rewarded=False), uniform)
    pushed = trained(PolicySettings(), rewarded=False)
    entropy = -(pushed[0] * pushed[0].log()).sum()
    assert entropy < 0.97 * torch.tensor(4.0).log()
