"""pass@k and its interval."""

from itertools import combinations, product
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl.benchmarks.passes import bootstrap_interval, exact_interval, mean_with_interval, pass_at_k


@pytest.mark.parametrize(
    ("samples", "passing", "k", "expected"),
    [(1, 0, 1, 0.0), (1, 1, 1, 1.0), (4, 1, 1, 0.25), (4, 1, 2, 0.5), (4, 2, 2, 5 / 6), (4, 2, 3, 1.0), (10, 3, 5, 11 / 12)],
)
def test_small_cases(samples, passing, k, expected):
    assert pass_at_k(samples, passing, k) == pytest.approx(expected, abs=1e-12)


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_it_is_the_share_of_draws_that_hold_a_pass(case):
    samples, passing, k = case
    draws = [any(index < passing for index in draw) for draw in combinations(range(samples), k)]
    assert pass_at_k(samples, passing, k) == pytest.approx(fmean(draws), abs=1e-12)


@pytest.mark.parametrize(("samples", "passing", "k"), [(3, 1, 4), (3, 1, 0), (3, 4, 1), (3, -1, 1), (0, 0, 1)])
def test_what_cannot_be_drawn_is_refused(samples, passing, k):
    with pytest.raises(ValueError, match=r"^(k|passing): "):
        pass_at_k(samples, passing, k)


def test_exact_intervals():
    # Of none in n the upper bound solves (1 - p)^n = 0.025; of all in n the lower one p^n = 0.025.
    assert exact_interval(0, 10) == (0.0, pytest.approx(1 - 0.025**0.1, abs=1e-9))
    assert exact_interval(10, 10) == (pytest.approx(0.025**0.1, abs=1e-9), 1.0)
    # One in two: 1 - (1 - p)^2 = 0.025 below, p^2 = 0.975 above.
    assert exact_interval(1, 2) == (pytest.approx(1 - 0.975**0.5, abs=1e-9), pytest.approx(0.975**0.5, abs=1e-9))
    low, high = exact_interval(400, 800)
    assert (low, high) == (pytest.approx(0.46479, abs=1e-4), pytest.approx(0.53521, abs=1e-4))


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_an_exact_interval_holds_the_rate_seen_and_mirrors(case):
    passing, problems = case
    low, high = exact_interval(passing, problems)
    assert 0 <= low <= passing / problems <= high <= 1
    other_low, other_high = exact_interval(problems - passing, problems)
    assert (other_low, other_high) == (pytest.approx(1 - high, abs=1e-9), pytest.approx(1 - low, abs=1e-9))


def test_the_bootstrap_finds_the_percentiles_of_all_draws():
    values = [0.0, 0.25, 0.5, 1.0]
    means = sorted(fmean(draw) for draw in product(values, repeat=4))
    low, high = means[round(0.025 * 255)], means[round(0.975 * 255)]
    found = bootstrap_interval(values, seed=1, resamples=20_000)
    assert found == (pytest.approx(low, abs=0.063), pytest.approx(high, abs=0.063))
    assert bootstrap_interval(values, seed=1) == bootstrap_interval(values, seed=1)
    assert bootstrap_interval([0.5, 0.5]) == (0.5, 0.5)


def test_the_interval_is_exact_where_problems_are_right_or_wrong():
    found = mean_with_interval([1.0, 0.0])
    assert (found.mean, found.low, found.high) == (0.5, *exact_interval(1, 2))
    graded = mean_with_interval([1.0, 0.5, 0.0, 0.5])
    assert graded.mean == 0.5
    assert (graded.low, graded.high) == bootstrap_interval([1.0, 0.5, 0.0, 0.5])
    with pytest.raises(ValueError, match="problems: none"):
        mean_with_interval([])
