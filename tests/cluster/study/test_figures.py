"""Numbers of arms from what lies in their folders."""

import math

import pytest

from cluster.config import BadInput
from cluster.runs import RunFolder, write_jsonl
from cluster.study.document import mean_curve, write_document, write_tables
from cluster.study.figures import (
    ALL_SEEDS,
    FIGURES,
    NO_ANCHORS,
    TRAINING,
    finished_arms,
    kinds,
    per_problem,
    read_figures,
    read_training,
    write_figures,
)
from cluster.study.settings import SETTINGS, SFT, StudySettings, keep_settings
from cluster.study.tables import Numbers, half_width

PROGRAM = 'def f(a, b):\n    a.append(b)\n    print("a:", a)\n    return a\n'
STUDY = StudySettings(
    name="toy",
    recipe="smoke.yaml",
    arms={"one": {"label": "Arm | one"}, "more": {"label": "More SFT", "learns": "sft", "seconds_of": "one"}},
    comparisons={"both": {"title": "Both", "arms": [SFT, "one"]}},
)


def response(final, *steps, tokens=10):
    return {"final_reward": final, "step_rewards": list(steps), "states": ["s"] * len(steps), "tokens": tokens}


def row(name, *responses, decoding="greedy"):
    finals = [one["final_reward"] for one in responses]
    measures = {"final": sum(finals) / len(finals), "step": 0.5, "trace": 0.0}
    return {"id": name, "decoding": decoding, "instrumented": PROGRAM, "responses": list(responses), **measures}


def arm(folder, seed, name, stage, rights):
    """An arm that is done: greedy and sampled answers to as many problems as there are rights."""
    run = RunFolder(folder / f"seed-{seed}" / name)
    rows = [
        row(f"p{n}", response(right, 1.0, 0.0), decoding=how)
        for n, right in enumerate(rights)
        for how in ("greedy", "sampled")
    ]
    for anchors in (True, False):
        write_jsonl(run.evaluation(stage, anchors=anchors), rows)
    trained = {"step": 1, "seconds": 2.0, "judged": 8.0, "response_tokens": 80, "final_reward": 0.5, "trace_accuracy": 0.25}
    run.log(stage, {**trained, "step_accuracy": 0.5, "entropy": 0.1, "response_length": 10.0})
    for part in (stage, f"{stage}_evaluation"):
        run.finish_stage(part, 1.0)


@pytest.fixture
def study(tmp_path):
    """Two seeds; RL gains in the first by one problem of two, in the second by none."""
    keep_settings(STUDY, tmp_path / SETTINGS)
    for seed, after in ((1, (1.0, 1.0)), (2, (1.0, 0.0))):
        arm(tmp_path, seed, SFT, SFT, (1.0, 0.0))
        arm(tmp_path, seed, "one", "rl", after)
    return tmp_path


def test_kinds_of_a_problem():
    assert kinds(row("p", response(1.0, 1.0, 0.0))) == ("anchors 1-2", "lines 0-5", "methods of list")


def test_wrong_steps_count_of_right_answers_alone():
    right_and_hacked = row("a", response(1.0, 1.0, 0.0), response(1.0, 1.0, 1.0), response(0.0, 0.0))
    found = per_problem([right_and_hacked, row("b", response(0.0, 0.0))], anchors=True)
    assert found["right_answer_wrong_steps"] == {"a": 0.5}
    assert found["tokens"] == {"a": 10.0, "b": 10.0}
    assert set(per_problem([right_and_hacked], anchors=False)) == {"final_accuracy", "tokens"}


def test_gains_are_over_the_sft_of_the_same_seed_and_all_seeds_are_pooled_by_problem(study):
    write_figures(study)
    numbers = Numbers(read_figures(study / FIGURES))
    assert numbers.seeds == ["1", "2"]
    assert numbers.by_seed("one", "heldout", "greedy", "final_gain") == [0.5, 0.0]
    pooled = numbers.whole("one", "heldout", "greedy", "final_gain")
    # The problems' gains over both seeds are 0 and 1/2.
    assert pooled.value == 0.25
    assert pooled.low == pytest.approx(0.25 - 1.959964 * 0.25, abs=1e-5)
    assert numbers.whole(SFT, "heldout", "greedy", "final_gain") is None
    assert numbers.whole("one", NO_ANCHORS, "greedy", "final_accuracy").value == 0.75
    assert numbers.whole("one", NO_ANCHORS, "greedy", "step_accuracy") is None
    assert numbers.whole("one", "heldout", "greedy", "final_accuracy", "methods of list").problems == 2
    assert numbers.by_seed("one", "training", "", "responses") == [8.0, 8.0]


def test_training_keeps_each_step_and_the_share_of_right_answers_with_a_wrong_step(study):
    write_figures(study)
    rows = read_training(study / TRAINING)
    assert [(one["seed"], one["arm"], one["step"], one["right_answer_wrong_steps"]) for one in rows] == [
        ("1", "one", 1.0, 0.5),
        ("2", "one", 1.0, 0.5),
    ]
    assert mean_curve([*rows, {**rows[0], "step": 2.0}], "entropy") == [(1.0, 0.1)]


def test_seeds_with_all_arms_count_once_there_is_one(study):
    arm(study, 1, "more", "sft_longer", (1.0, 1.0))
    assert finished_arms(STUDY, study) == {1: [SFT, "one", "more"]}
    arm(study, 2, "more", "sft_longer", (1.0, 1.0))
    assert set(finished_arms(STUDY, study)) == {1, 2}


def test_without_an_arm_there_are_no_figures(tmp_path):
    keep_settings(STUDY, tmp_path / SETTINGS)
    with pytest.raises(BadInput, match="no arm is evaluated yet"):
        write_figures(tmp_path)


def test_the_spread_over_seeds_is_students():
    assert half_width([0.0, 1.0]) == pytest.approx(12.706 * 0.5, abs=1e-3)
    assert half_width([1.0, 2.0, 3.0]) == pytest.approx(4.303 / math.sqrt(3))
    assert half_width([1.0]) is None


def test_a_document_is_filled_from_the_csv_alone_and_again(study, tmp_path):
    write_figures(study)
    document = tmp_path / "docs" / "study.md"
    document.parent.mkdir()
    document.write_text(
        "Before.\n<!-- study: both -->\nold\n<!-- /study -->\nAfter.\n<!-- study: spent -->\n<!-- /study -->\n"
    )
    write_document(study, document)
    first = document.read_text()
    assert "old" not in first
    assert first.startswith("Before.\n<!-- study: both -->\n")
    assert "| Arm \\| one | greedy | 75.0 [26.0, 124.0] |" in first
    assert "| +25.0 [-24.0, +74.0] | ± 317.6 |" in first
    assert "| Arm \\| one | 1 | 8 | 80 | 2 |" in first
    assert "(study/both-gains.svg)" in first
    assert (document.parent / "study" / "both-gains.svg").read_text().startswith("<svg")
    # From the copies beside it, without the runs.
    write_document(document.parent / "study", document)
    assert document.read_text() == first


def test_a_document_that_is_missing_is_named(study, tmp_path):
    write_figures(study)
    with pytest.raises(BadInput, match="no such file"):
        write_document(study, tmp_path / "docs.md")


def test_a_studys_own_tables_have_every_place(study):
    write_figures(study)
    text = write_tables(study).read_text()
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## Both",
        "## Spent",
        "## Anchors",
        "## Generalisation",
        "## Kinds",
    ]
    assert "| methods of list | 2 |" in text


def test_an_unknown_place_is_named(study, tmp_path):
    write_figures(study)
    document = tmp_path / "x.md"
    document.write_text("<!-- study: nowhere -->\n<!-- /study -->\n")
    with pytest.raises(BadInput, match="nowhere is none of both, spent"):
        write_document(study, document)


def test_figures_that_are_none_are_named(tmp_path):
    (tmp_path / FIGURES).write_text("seed,arm\n1,one\n")
    with pytest.raises(BadInput, match=r"figures\.csv: no figures of a study"):
        read_figures(tmp_path / FIGURES)
    with pytest.raises(BadInput, match="no figures of a study"):
        read_figures(tmp_path / "missing.csv")


def test_what_was_measured_stands_in_the_csv_as_text(study):
    write_figures(study)
    lines = (study / FIGURES).read_text().splitlines()
    assert lines[0] == "seed,arm,split,decoding,group,metric,value,low,high,problems"
    assert "1,one,training,,,seconds,2,,,0" in lines
    assert any(line.startswith(f"{ALL_SEEDS},one,heldout,greedy,,final_gain,0.25,") for line in lines)
