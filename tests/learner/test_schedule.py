"""The learning rate by hand: warm-up, cosine, end."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.schedule import learning_rate


@pytest.mark.parametrize(
    ("step", "warmup_steps", "progress", "final", "rate"),
    [
        (0, 0, 0.0, 0.1, 2.0),
        (0, 3, 0.0, 1.0, 0.5),
        (1, 3, 0.0, 1.0, 1.0),
        (3, 3, 0.0, 1.0, 2.0),
        (99, 3, 0.5, 1.0, 2.0),
        (99, 0, 0.5, 0.0, 1.0),
        (99, 0, 0.5, 0.5, 1.5),
        (99, 0, 1.0, 0.1, 0.2),
        (99, 0, 1.7, 0.1, 0.2),
        (0, 1, 1.0, 0.5, 0.5),
    ],
)
def test_by_hand(step, warmup_steps, progress, final, rate):
    assert learning_rate(2.0, step, warmup_steps, progress, final) == pytest.approx(rate)


SHARE = st.floats(0, 1)


@given(st.integers(0, 100), st.integers(0, 50), SHARE, SHARE, SHARE)
def test_after_the_warm_up_it_only_falls_and_stays_between_its_ends(step, warmup_steps, early, late, final):
    early, late = sorted((early, late))
    first, second = (learning_rate(1.0, step + warmup_steps, warmup_steps, progress, final) for progress in (early, late))
    assert 1.0 >= first >= second >= final - 1e-12


@given(st.integers(0, 50), st.integers(1, 50))
def test_the_warm_up_only_rises(step, warmup_steps):
    first, second = (learning_rate(1.0, at, warmup_steps, 0.0, 0.5) for at in (step, step + 1))
    assert 0 < first <= second <= 1.0
    assert (first < second) == (step < warmup_steps)
