"""Numbers of arms from what lies in their folders."""

import math
import re
import subprocess
from pathlib import Path

import pytest

from cluster.config import BadInput
from cluster.runs import RunFolder, read_jsonl, write_jsonl
from cluster.study.arms import stage_of
from cluster.study.document import mean_curve, write_document, write_tables
from cluster.study.figures import (
    ALL_SEEDS,
    FIGURES,
    TRAINING,
    WRONG_STEPS,
    Figure,
    figures_of,
    finished_arms,
    read_figures,
    read_training,
    write_figures,
)
from cluster.study.outcomes import (
    HELDOUT,
    NO_ANCHORS,
    OUTCOMES,
    code_version,
    kinds,
    note_code,
    outcome,
    read_outcomes,
    write_outcomes,
)
from cluster.study.settings import SETTINGS, SFT, StudySettings, keep_settings, load_study
from cluster.study.tables import Numbers, claims_table, half_width, verdict
from rl.benchmarks.passes import exact_interval

PROGRAM = 'def f(a, b):\n    a.append(b)\n    print("a:", a)\n    return a\n'
STUDY = StudySettings(
    name="toy",
    recipe="smoke.yaml",
    arms={"one": {"label": "Arm | one"}, "more": {"label": "More SFT", "learns": "sft", "seconds_of": "one"}},
    comparisons={
        "both": {"title": "Both", "arms": [SFT, "one"]},
        "time": {"title": "Time", "arms": ["more", "one"], "against": "one"},
    },
    claims=[
        {"more": "one", "than": SFT, "measure": "final_accuracy", "source": "table 5"},
        {"more": SFT, "than": "one", "measure": "final_accuracy", "source": "nowhere"},
        {"more": "one", "than": "no-anchors", "measure": "final_accuracy", "source": "table 7"},
        {"more": "more", "than": "one", "measure": "final_accuracy", "source": "nowhere"},
    ],
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
    found = outcome(right_and_hacked, 1, "one", "heldout", anchors=True, with_kinds=True)
    assert (found.right_answer_wrong_steps, found.tokens, found.kinds) == (0.5, 10.0, kinds(right_and_hacked))
    none_right = outcome(row("b", response(0.0, 0.0)), 1, "one", "heldout", anchors=True, with_kinds=False)
    assert (none_right.right_answer_wrong_steps, none_right.kinds) == (None, ())
    bare = outcome(right_and_hacked, 1, "one", NO_ANCHORS, anchors=False, with_kinds=False)
    assert (bare.final_accuracy, bare.tokens) == (2 / 3, 10.0)
    assert (bare.step_accuracy, bare.trace_accuracy, bare.right_answer_wrong_steps) == (None, None, None)


def test_outcomes_are_read_as_they_were_written(tmp_path):
    rows = [
        outcome(row("a", response(1.0, 1.0, 0.0)), seed, "one", split, anchors=anchors, with_kinds=anchors)
        for seed, split, anchors in ((1, "heldout", True), (2, NO_ANCHORS, False))
    ]
    write_outcomes(tmp_path / OUTCOMES, rows)
    assert read_outcomes(tmp_path / OUTCOMES) == rows
    before = (tmp_path / OUTCOMES).read_bytes()
    write_outcomes(tmp_path / OUTCOMES, rows)
    assert (tmp_path / OUTCOMES).read_bytes() == before
    (tmp_path / OUTCOMES).write_bytes(before[:40])
    with pytest.raises(BadInput, match=r"outcomes\.csv\.gz: no outcomes of a study"):
        read_outcomes(tmp_path / OUTCOMES)


def reported(study, place):
    """The document of a study that was reported, and every file beside it."""
    document = place / "study.md"
    place.mkdir(exist_ok=True)
    document.write_text("<!-- study: both -->\n<!-- /study -->\n<!-- study: spent -->\n<!-- /study -->\n")
    write_figures(study, document.with_suffix(""))
    write_document(study, document)
    return document.read_text(), {name: (place / "study" / name).read_bytes() for name in (OUTCOMES, FIGURES, TRAINING)}


@pytest.mark.parametrize("there", [[(1, SFT), (1, "one")], [(1, SFT), (2, SFT)], [(2, SFT), (2, "one")]])
def test_arms_that_were_done_elsewhere_and_reported_are_as_if_done_here(study, tmp_path, there):
    places = {}
    for name in ("there", "here"):
        keep_settings(STUDY, tmp_path / name / SETTINGS)
    for seed, after in ((1, (1.0, 1.0)), (2, (1.0, 0.0))):
        for one, stage, rights in ((SFT, SFT, (1.0, 0.0)), ("one", "rl", after)):
            place = "there" if (seed, one) in there else "here"
            places.setdefault(place, []).append((seed, one))
            arm(tmp_path / place, seed, one, stage, rights)
    whole, _ = reported(study, tmp_path / "whole")
    reported(tmp_path / "there", tmp_path / "pieces")
    text, files = reported(tmp_path / "here", tmp_path / "pieces")
    assert text == whole
    # Again, and with what is in no folder any more.
    assert reported(tmp_path / "here", tmp_path / "pieces") == (text, files)
    assert sorted(read_outcomes(study / OUTCOMES), key=str) == sorted(
        read_outcomes(tmp_path / "pieces" / "study" / OUTCOMES), key=str
    )


def test_arms_of_another_model_are_not_joined(study, tmp_path):
    reported(study, tmp_path / "docs")
    keep_settings(STUDY, tmp_path / "other" / SETTINGS)
    arm(tmp_path / "other", 1, SFT, SFT, (0.0, 0.0))
    with pytest.raises(BadInput, match="seed 1: the SFT model answers otherwise"):
        reported(tmp_path / "other", tmp_path / "docs")


def test_arms_of_another_study_are_not_joined(study, tmp_path):
    reported(study, tmp_path / "docs")
    for changed, said in (
        ({"set": {"rl": {"steps": 3}}}, "started with another set"),
        (
            {"arms": {**STUDY.arms, "one": STUDY.arms["one"].model_copy(update={"set": {"rl": {"lam": 0.7}}})}},
            "arms.one: was",
        ),
    ):
        other = tmp_path / said[:5]
        keep_settings(STUDY.model_copy(update=changed), other / SETTINGS)
        arm(other, 3, SFT, SFT, (1.0, 0.0))
        with pytest.raises(BadInput, match=said):
            reported(other, tmp_path / "docs")


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


def test_pieces_are_merged_and_arms_are_compared_in_the_seeds_they_share(study):
    # SFT is right about one problem of two; this arm, of the first seed alone, about the other one.
    arm(study, 1, "more", "sft_longer", (0.0, 1.0))
    assert finished_arms(STUDY, study) == {1: [SFT, "one", "more"], 2: [SFT, "one"]}
    write_figures(study)
    numbers = Numbers(read_figures(study / FIGURES))
    assert (numbers.seeds_of("one"), numbers.seeds_of("more")) == (["1", "2"], ["1"])
    assert numbers.whole("one", "heldout", "greedy", "final_accuracy").value == 0.75
    assert numbers.whole("more", "heldout", "greedy", "final_accuracy").value == 0.5
    # In seed 1 `one` is right about both. Over both seeds it is at 0.75, which would make the difference 0.25.
    assert numbers.whole("more", "heldout", "greedy", "final_accuracy over one").value == -0.5
    assert numbers.by_seed("more", "heldout", "greedy", "final_gain") == [0.0]
    # A second seed's SFT, that this arm has not, is no part of its gain.
    assert numbers.whole("more", "heldout", "greedy", "final_gain").problems == 2
    text = write_tables(study).read_text()
    assert "seeds 1, 2, but not for every arm (More SFT: 1)." in text
    assert "| More SFT | greedy | -50.0 [-148.0, +48.0] |" in text


def test_a_seed_whose_sft_alone_is_done_counts_for_sft(study):
    arm(study, 3, SFT, SFT, (1.0, 1.0))
    write_figures(study)
    numbers = Numbers(read_figures(study / FIGURES))
    assert (numbers.seeds_of(SFT), numbers.seeds_of("one")) == (["1", "2", "3"], ["1", "2"])
    assert numbers.whole("one", "heldout", "greedy", "final_gain").value == 0.25


def difference(value, low, high):
    return Figure(ALL_SEEDS, "a", "heldout", "greedy", "", "final_accuracy over b", value, low, high, 9)


@pytest.mark.parametrize(
    ("found", "by_seed", "said"),
    [
        (difference(0.2, 0.1, 0.3), [0.2, 0.21, 0.19], ("yes", True)),
        (difference(0.2, 0.1, 0.3), [0.5, 0.0, 0.1], ("yes", False)),
        (difference(0.2, 0.1, 0.3), [0.2], ("yes", False)),
        (difference(0.2, -0.1, 0.3), [0.2, 0.2, 0.2], ("not told apart", False)),
        (difference(0.0, 0.0, 0.0), [0.0, 0.0], ("not told apart", False)),
        (difference(-0.2, -0.3, -0.1), [-0.2, -0.21, -0.19], ("no, the other way round", True)),
        (difference(-0.2, -0.3, -0.1), [-0.5, 0.1, 0.0], ("no, the other way round", False)),
    ],
)
def test_a_claim_is_judged_by_both_intervals(found, by_seed, said):
    assert verdict(found, by_seed) == said


def test_claims_are_judged_from_the_figures(tmp_path):
    """Forty problems, two seeds: SFT has none right, RL three of four in both seeds; without anchors the same."""
    keep_settings(STUDY, tmp_path / SETTINGS)
    for seed in (1, 2):
        arm(tmp_path, seed, SFT, SFT, (0.0,) * 40)
        arm(tmp_path, seed, "one", "rl", (1.0, 1.0, 1.0, 0.0) * 10)
    write_figures(tmp_path)
    numbers = Numbers(read_figures(tmp_path / FIGURES))
    text = claims_table(STUDY, numbers)
    assert text.startswith("Of 3 statements, by greedy answers: yes: 1; not told apart: 1; no, the other way round: 1.")
    rows = {
        tuple(line.split(" | ")[:1] + line.split(" | ")[2:3]): line for line in text.splitlines() if " | greedy | " in line
    }
    assert [line.rstrip(" |").rpartition(" | ")[2] for line in rows.values()] == [
        "yes",
        "no, the other way round",
        "not told apart",
    ]
    assert "| final answer: Arm \\| one above SFT only | table 5 | greedy | +75.0 [" in text
    assert "Arm \\| one above the same without anchors at test time | table 7 | greedy | +0.0 [+0.0, +0.0] | ± 0.0 |" in text


def answers(arm_name, right, wrong_steps, seed=1):
    """One greedy answer to each problem: whether it is right, and whether a step of it is wrong."""
    return [
        outcome(row(f"p{n}", response(float(r), float(not w))), seed, arm_name, HELDOUT, anchors=True, with_kinds=False)
        for n, (r, w) in enumerate(zip(right, wrong_steps, strict=True))
    ]


def test_wrong_steps_of_two_arms_are_compared_over_all_problems():
    """One arm is right everywhere, half of it by wrong steps; the other half as often, always by right ones."""
    one = answers("one", [1] * 80, [0] * 40 + [1] * 40)
    other = answers(SFT, [1] * 40 + [0] * 40, [0] * 40 + [1] * 40)
    claims = [{"more": "one", "than": SFT, "measure": WRONG_STEPS, "source": "table 6"}]
    settings = StudySettings.model_validate({**STUDY.model_dump(), "claims": claims})
    numbers = Numbers(figures_of(settings, [*one, *other]))
    rates = {name: numbers.whole(name, HELDOUT, "greedy", WRONG_STEPS) for name in ("one", SFT)}
    assert (rates["one"].value, rates[SFT].value) == (0.5, 0.0)
    assert (rates[SFT].low, rates[SFT].high) == exact_interval(0, 40)
    difference = numbers.whole("one", HELDOUT, "greedy", f"{WRONG_STEPS} over sft")
    assert (difference.value, difference.problems) == (0.5, 80)
    assert difference.low > 0
    assert "Of 1 statements, by greedy answers: yes: 0; not told apart: 0; no, the other way round: 0; yes, for one" in (
        claims_table(settings, numbers)
    )


def test_the_rate_of_wrong_steps_is_over_right_answers():
    often = outcome(row("a", *[response(1.0, 1.0)] * 3), 1, "one", HELDOUT, anchors=True, with_kinds=False)
    once = outcome(
        row("b", response(1.0, 0.0), *[response(0.0, 0.0)] * 2), 1, "one", HELDOUT, anchors=True, with_kinds=False
    )
    rate = Numbers(figures_of(STUDY, [often, once])).whole("one", HELDOUT, "greedy", WRONG_STEPS)
    assert rate.value == pytest.approx(1 / 4)
    wrong = answers("one", [0, 0], [1, 1])
    assert Numbers(figures_of(STUDY, wrong)).whole("one", HELDOUT, "greedy", WRONG_STEPS) is None


def test_an_arm_that_is_never_right_has_an_exact_interval():
    found = Numbers(figures_of(STUDY, answers("one", [0] * 50, [1] * 50))).whole("one", HELDOUT, "greedy", "final_accuracy")
    assert (found.value, found.low, found.high) == (0.0, *exact_interval(0, 50))


def read_codes(run):
    return [path.read_text() for path in run.path.glob("code.txt")]


def test_seeds_of_different_code_are_told(study, tmp_path, monkeypatch):
    text, _ = reported(study, tmp_path / "same")
    assert "version of the code" not in text
    for seed, version in ((1, "aaa"), (2, "bbb"), (2, "ccc-dirty")):
        monkeypatch.setattr("cluster.study.outcomes.code_version", lambda version=version: version)
        run = RunFolder(study / f"seed-{seed}" / "one")
        before = read_codes(run)
        note_code(run, "rl")
        assert read_codes(run) == before  # It is done.
        (run.path / "stages.json").rename(run.path / "kept")
        note_code(run, "rl")
        (run.path / "kept").rename(run.path / "stages.json")
    write_figures(study)
    assert {(one.seed, one.code) for one in read_outcomes(study / OUTCOMES) if one.arm == "one"} == {
        (1, "aaa"),
        (2, "bbb ccc-dirty"),
    }
    told = "Not all seeds were done by the same version of the code (1: unknown, aaa; 2: unknown, bbb, ccc-dirty)."
    assert told in reported(study, tmp_path / "same")[0]


def test_the_version_of_the_code_is_that_of_its_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr("cluster.study.outcomes.__file__", str(tmp_path / "cluster" / "study" / "outcomes.py"))
    assert code_version() == "unknown"
    git = ["git", "-C", str(tmp_path), "-c", "user.name=x", "-c", "user.email=x"]
    report, code = tmp_path / "docs" / "study.md", tmp_path / "rl" / "credit.py"
    for path in (report, code):
        path.parent.mkdir()
        path.write_text("as committed")
    subprocess.run([*git, "init", "-q"], check=True)
    assert code_version() == "unknown"
    for command in (["add", "."], ["commit", "-q", "-m", "x"]):
        subprocess.run([*git, *command], check=True)
    committed = code_version()
    assert re.fullmatch("[0-9a-f]{12}", committed)
    report.write_text("filled by a report")
    assert code_version() == committed
    code.write_text("changed")
    assert code_version() == f"{committed}-dirty"


def test_one_seed_is_told_from_several(study):
    for seed in (1, 2):
        arm(study, seed, SFT, SFT, (0.0,) * 40)
    arm(study, 1, "one", "rl", (1.0,) * 40)
    (study / "seed-2" / "one" / "stages.json").unlink()
    write_figures(study)
    text = claims_table(STUDY, Numbers(read_figures(study / FIGURES)))
    assert "| greedy | +100.0 [+100.0, +100.0] |  | yes, for one seed |" in text


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
        "## Time",
        "## Claims",
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
    with pytest.raises(BadInput, match="nowhere is none of both, time, claims, spent"):
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


def test_the_document_that_comes_along_has_a_place_for_everything(tmp_path):
    """Filled from a study of its own arms, with figures made up, every place gets its table."""
    root = Path(__file__).parents[3]
    settings = load_study(root / "configs" / "study.yaml", []).settings
    keep_settings(settings, tmp_path / SETTINGS)
    for name in (SFT, *settings.arms):
        stage = stage_of(name, settings.arms.get(name))
        arm(tmp_path, 1, name, stage, (1.0, 0.0, 1.0))
        for split in settings.further:
            run = RunFolder(tmp_path / "seed-1" / name)
            write_jsonl(run.evaluation(stage, split), read_jsonl(run.evaluation(stage)))
    write_figures(tmp_path)
    document = tmp_path / "study.md"
    document.write_text((root / "docs" / "study.md").read_text())
    write_document(tmp_path, document)
    text = document.read_text()
    places = re.findall(r"<!-- study: (\S+) -->\n(.*?)<!-- /study -->", text, re.DOTALL)
    assert {name for name, _ in places} == {*settings.comparisons, "claims", "spent", "anchors", "generalisation", "kinds"}
    assert all(" | " in made and "seeds 1" in made for _, made in places)
    assert text.count("table 7 | greedy") == 1
    assert "Of 12 statements, by greedy answers: yes: 0; not told apart: 12;" in text
