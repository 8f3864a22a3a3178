"""Credit assignment: the paper's worked vector, hand-made groups, and properties."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rl.advantages import annotate, bilevel, inter_trajectory, intra_trajectory, step, terminal
from rl.responses import Span
from rl.trajectories import Completion, Score, Trajectory
from rl.verdicts import Verdict

REWARDS = torch.tensor([[1.0, 1, 1], [1, 1, 0], [1, 0, 0], [0, 1, 1], [1, 1, 1]])
FINALS = torch.tensor([1.0, 0, 0, 1, 1])


def test_worked_vector_of_equations_10_to_12():
    ones = torch.ones_like(REWARDS)
    group = [[0.5, 0.5, 0.8165], [0.5, 0.5, -1.2247], [0.5, -2, -1.2247], [-2, 0.5, 0.8165], [0.5, 0.5, 0.8165]]
    intra = [[2, 2, 1], [1.5, 1, 0], [1, 0, 0], [0, 2, 1], [2, 2, 1]]
    both = [[1.1, 1.1, 1.1165], [0.95, 0.8, -1.2247], [0.8, -2, -1.2247], [-2, 1.1, 1.1165], [1.1, 1.1, 1.1165]]
    torch.testing.assert_close(inter_trajectory(REWARDS, ones), torch.tensor(group), atol=1e-4, rtol=0)
    torch.testing.assert_close(intra_trajectory(REWARDS, ones), torch.tensor(intra))
    steps, finals = bilevel(REWARDS, FINALS, lam=0.3)
    torch.testing.assert_close(steps, torch.tensor(both), atol=1e-4, rtol=0)
    expected = torch.tensor([0.8165, -1.2247, -1.2247, 0.8165, 0.8165])
    torch.testing.assert_close(finals, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(terminal(FINALS), expected, atol=1e-4, rtol=0)


def test_step_grpo_is_bilevel_without_the_intra_part():
    torch.testing.assert_close(step(REWARDS, FINALS)[0], inter_trajectory(REWARDS, torch.ones_like(REWARDS)))


def test_a_group_that_agrees_gets_no_final_credit():
    assert terminal(torch.ones(4)).tolist() == [0.0] * 4
    assert terminal(torch.zeros(4)).tolist() == [0.0] * 4


def test_masked_anchors_neither_give_nor_take():
    mask = torch.tensor([[1.0, 1, 0], [1, 1, 1]])
    rewards = torch.tensor([[1.0, 1, 1], [0, 1, 1]])
    steps, _ = bilevel(rewards, torch.tensor([1.0, 0]), step_mask=mask)
    assert steps[0, 2] == 0
    # The first trajectory ends after two anchors: its first step's future is the second alone.
    assert intra_trajectory(rewards, mask)[0].tolist() == [2.0, 1.0, 0.0]
    assert steps[0, 0] == pytest.approx(1 + 0.3 * 2, abs=1e-5)


groups = st.integers(2, 6).flatmap(
    lambda g: st.integers(1, 5).flatmap(
        lambda n: st.lists(st.lists(st.sampled_from([0.0, 1.0]), min_size=n, max_size=n), min_size=g, max_size=g)
    )
)


@given(groups)
def test_inter_sums_to_zero_over_the_group_and_intra_stays_in_its_range(rows):
    rewards = torch.tensor(rows)
    ones = torch.ones_like(rewards)
    assert inter_trajectory(rewards, ones).sum(dim=0).abs().max() < 1e-4
    intra = intra_trajectory(rewards, ones)
    assert ((intra >= 0) & (intra <= 2)).all()
    assert (intra[rewards == 0] == 0).all()


@given(groups, st.randoms())
def test_order_of_trajectories_does_not_matter(rows, rng):
    order = list(range(len(rows)))
    rng.shuffle(order)
    rewards, finals = torch.tensor(rows), torch.tensor([row[-1] for row in rows])
    steps, final = bilevel(rewards, finals)
    shuffled_steps, shuffled_final = bilevel(rewards[order], finals[order])
    torch.testing.assert_close(shuffled_steps, steps[order])
    torch.testing.assert_close(shuffled_final, final[order])


def trajectory(steps, final, verdict=None, tokens=6, spans=((0, 2), (2, 4))):
    verdict = verdict or (Verdict.OK if final else Verdict.WRONG)
    return Trajectory(
        problem_id="p",
        prompt_ids=[1],
        completion=Completion([5] * tokens, [0.0] * tokens, [0] * tokens, True),
        text="",
        score=Score(verdict, final, list(steps), ["s"] * len(steps)),
        token_spans=[Span(*span) for span in spans],
    )


def test_step_credit_reaches_its_own_tokens_and_the_final_credit_all_of_them():
    right, wrong = annotate([trajectory([1.0, 1.0], 1.0), trajectory([1.0, 0.0], 0.0)], "bilevel", lam=0.3)
    assert right.advantages == pytest.approx([0.6 + 1] * 2 + [1 + 0.3 + 1] * 2 + [1.0] * 2, abs=1e-4)
    assert wrong.advantages == pytest.approx([0.3 - 1] * 2 + [-1 - 1] * 2 + [-1.0] * 2, abs=1e-4)


def test_terminal_gives_every_token_the_same():
    right, wrong = annotate([trajectory([1.0, 1.0], 1.0), trajectory([1.0, 0.0], 0.0)], "terminal")
    assert right.advantages == pytest.approx([1.0] * 6, abs=1e-4)
    assert wrong.advantages == pytest.approx([-1.0] * 6, abs=1e-4)


def test_the_return_anchor_alone_is_trained_on_the_final_answer_only():
    group = [trajectory([1.0], 1.0, spans=[(0, 2)]), trajectory([0.0], 0.0, spans=[(0, 2)])]
    right, _ = annotate(group, "bilevel", lam=0.3)
    assert right.advantages == pytest.approx([1.0] * 6, abs=1e-4)


def test_a_sandbox_fault_is_left_out_and_changes_nothing_for_the_others():
    group = [trajectory([1.0, 1.0], 1.0), trajectory([1.0, 0.0], 0.0)]
    fault = trajectory([], 0.0, Verdict.SANDBOX_ERROR)
    without = [t.advantages for t in annotate(group, "bilevel")]
    judged = annotate([group[0], fault, group[1]], "bilevel")
    assert fault not in judged
    assert [t.advantages for t in judged] == without
    assert annotate([group[0], fault], "bilevel") == []


def test_missing_and_extra_steps():
    # The first response stops after one step, the second has one block too many.
    short = trajectory([1.0, 0.0], 0.0, spans=[(0, 2)])
    long = trajectory([1.0, 1.0], 1.0, spans=[(0, 2), (2, 4), (4, 6)])
    short, long = annotate([short, long], "step")
    assert short.advantages == pytest.approx([-1.0] * 6, abs=1e-4)
    assert long.advantages == pytest.approx([1.0] * 2 + [2.0] * 2 + [1.0] * 2, abs=1e-4)
