"""CRUXEval's official rules: extraction, the text that is run, which verdicts count, and pass@k."""

import gzip
import json
from math import comb
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl.benchmarks.cruxeval import check, counted, mean_pass_at_k, pass_at_k, prediction
from rl.problems import Task

SCORED = Path(__file__).parents[1] / "data" / "cruxeval_codellama7b_scored_output.json.gz"

PREDICTIONS = {
    # (task, reasoned, response): prediction
    (Task.OUTPUT, False, "[1, 2]\n"): "[1, 2]",
    (Task.OUTPUT, False, " assert f(1) == 2[/ANSWER] and more == 3"): "2",
    (Task.OUTPUT, False, "f(1) == 2 == 3"): "2",
    (Task.OUTPUT, False, "'a == b'"): "b'",
    (Task.OUTPUT, False, "so [ANSWER]2"): "so [ANSWER]2",
    (Task.OUTPUT, True, "1 + 1 is 2, so [ANSWER] assert f(1) == 2 [/ANSWER]"): "2",
    (Task.OUTPUT, True, "[ANSWER]2[ANSWER]3"): "2",
    (Task.OUTPUT, True, "x == 1, so it is 2"): "1, so it is 2",
    (Task.INPUT, False, "assert f(1) == 2"): "f(1)",
    (Task.INPUT, False, "f(1)"): "f(1)",
    (Task.INPUT, False, "assert f(1)\nassert f(2) == 2"): "f(1)",
    (Task.INPUT, False, "f('a == b') == 2"): "f('a",
    (Task.INPUT, True, "f(2) == 3 is no answer [ANSWER]assert f(1) == 2[/ANSWER]"): "f(1)",
    (Task.INPUT, True, "f(1)"): "f(1)",
}


@pytest.mark.parametrize(("task", "reasoned", "response"), PREDICTIONS)
def test_what_a_response_predicts(task, reasoned, response):
    assert prediction(response, task, reasoned=reasoned) == PREDICTIONS[task, reasoned, response]


CODE = "def f(x):\n    return x + 1"
CHECKS = {
    (Task.OUTPUT, "2"): f"{CODE}\nassert 2 == 2",
    (Task.OUTPUT, "f( 1)"): f"{CODE}\nassert 2 == f( 1)",
    (Task.OUTPUT, "f(1)"): None,
    (Task.OUTPUT, "2 or f(1)"): None,
    (Task.OUTPUT, ""): f"{CODE}\nassert 2 == ",
    (Task.INPUT, "f(1)"): f"{CODE}\nassert 2 == f(1)",
    (Task.INPUT, "2 # f("): f"{CODE}\nassert 2 == 2 # f(",
    (Task.INPUT, "1"): None,
    (Task.INPUT, "f (1)"): None,
}


@pytest.mark.parametrize(("task", "predicted"), CHECKS)
def test_the_text_that_is_run(task, predicted):
    assert check(CODE, "1", "2", predicted, task) == CHECKS[task, predicted]


def test_skipped_predictions_make_the_sample_smaller_unless_nothing_passed():
    assert counted([True, None, False, None]) == [True, False]
    assert counted([True, False]) == [True, False]
    assert counted([False, None, None]) == [False, False, False]
    assert counted([None]) == [False]
    assert counted([]) == []


def test_pass_at_k_by_hand():
    assert pass_at_k(10, 3, 1) == pytest.approx(0.3)
    # The five drawn are all among the seven that fail: 21 of 252 ways.
    assert pass_at_k(10, 3, 5) == pytest.approx(1 - 21 / 252)
    assert pass_at_k(10, 0, 5) == 0.0
    assert pass_at_k(10, 6, 5) == 1.0
    assert pass_at_k(3, 0, 5) == 1.0


@given(st.integers(1, 40), st.data())
def test_pass_at_k_counts_the_ways_to_draw(samples, data):
    passing = data.draw(st.integers(0, samples))
    k = data.draw(st.integers(1, samples))
    expected = 1 - comb(samples - passing, k) / comb(samples, k)
    assert pass_at_k(samples, passing, k) == pytest.approx(expected, abs=1e-12)


def test_the_mean_over_problems_is_in_per_cent():
    assert mean_pass_at_k([[True, False], [False, False]], 1) == pytest.approx(25.0)
    with pytest.raises(ValueError, match="problems: empty"):
        mean_pass_at_k([], 1)


def test_the_shipped_figures_follow_from_the_shipped_verdicts():
    scored = json.loads(gzip.decompress(SCORED.read_bytes()))
    verdicts = scored["raw_scored_generations"].values()
    assert mean_pass_at_k(verdicts, 1) == pytest.approx(scored["pass_at_1"], abs=1e-9)
    assert mean_pass_at_k(verdicts, 5) == pytest.approx(scored["pass_at_5"], abs=1e-9)
