"""A study of real arms: stopped after some, gone on with, and reported from its CSV."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cluster.runs import RunFolder, read_jsonl
from cluster.study.figures import FIGURES, read_figures
from cluster.study.outcomes import NO_ANCHORS
from cluster.study.tables import Numbers
from rl.synthesis.generator import called

pytestmark = pytest.mark.slow

SMOKE = Path(__file__).parents[3] / "configs" / "smoke.yaml"
UNSEEN = ["append", "max", "sorted"]
STUDY = {
    "name": "toy",
    "recipe": str(SMOKE),
    "set": {
        "data": {split: {"grammar": {"without": UNSEEN}} for split in ("sft", "validation", "rl", "heldout")},
        "sft": {"epochs": 1, "decay_epochs": 1},
        "rl": {"steps": 2, "checkpoint_every": 2},
        "evaluation": {"samples": 1, "every": None},
    },
    "further": {"unseen": {"problems": 8, "grammar": {"statements": [1, 2], "calls": UNSEEN}}},
    "arms": {
        "bilevel": {"label": "Bi-Level GRPO"},
        "rl-only": {"label": "without SFT", "start": "base"},
        "sft-time": {"label": "more SFT", "learns": "sft", "seconds_of": "bilevel"},
    },
    "comparisons": {"all": {"title": "All", "arms": ["sft", "bilevel", "rl-only", "sft-time"], "against": "bilevel"}},
    "claims": [{"more": "bilevel", "than": "rl-only", "measure": "final_accuracy", "source": "table 5"}],
}


def codereason(*arguments):
    command = [sys.executable, "-m", "cluster", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """First one arm, then all of them."""
    folder = tmp_path_factory.mktemp("study")
    config = folder / "study.yaml"
    config.write_text(yaml.safe_dump(STUDY))
    command = ["study", config, "--seeds", "1", "--runs", folder / "runs"]
    first = codereason(*command, "arms=[bilevel]")
    assert first.returncode == 0, first.stderr[-3000:]
    before = RunFolder(folder / "runs" / "toy" / "seed-1" / "bilevel").finished_stages()
    rest = codereason(*command, "--json")
    assert rest.returncode == 0, rest.stderr[-3000:]
    return folder / "runs" / "toy", before, json.loads(rest.stdout), codereason(*command)


def test_arms_that_are_done_are_not_repeated(study):
    folder, before, _, again = study
    assert RunFolder(folder / "seed-1" / "bilevel").finished_stages() == before
    assert again.returncode == 0


def test_every_arm_starts_from_the_models_of_one_sft(study):
    folder = study[0]
    for arm in ("bilevel", "rl-only", "sft-time"):
        for part in ("data", "models/base", "models/sft"):
            assert (folder / "seed-1" / arm / part).resolve() == (folder / "seed-1" / "sft" / part).resolve()


def test_every_arm_is_measured_on_every_split_with_and_without_anchors(study):
    folder = study[0]
    numbers = Numbers(read_figures(folder / FIGURES))
    for arm in ("sft", "bilevel", "rl-only", "sft-time"):
        for split in ("heldout", "unseen", NO_ANCHORS):
            for decoding in ("greedy", "sampled"):
                assert 0 <= numbers.whole(arm, split, decoding, "final_accuracy").value <= 1
        assert (numbers.whole(arm, "heldout", "greedy", "final_gain") is None) == (arm == "sft")
    bare = read_jsonl(RunFolder(folder / "seed-1" / "sft").evaluation("sft", anchors=False))
    assert all("print(" not in row["instrumented"] for row in bare)
    unseen = read_jsonl(RunFolder(folder / "seed-1" / "sft").evaluation("sft", "unseen"))
    assert all(called(row["instrumented"]) & set(UNSEEN) for row in unseen)


def test_equal_samples_and_equal_wall_time(study):
    folder = study[0]
    numbers = Numbers(read_figures(folder / FIGURES))
    assert numbers.by_seed("bilevel", "training", "", "responses") == [2 * 4 * 4]
    assert numbers.by_seed("rl-only", "training", "", "responses") == [2 * 4 * 4]
    (bilevel,), (longer,) = (numbers.by_seed(arm, "training", "", "seconds") for arm in ("bilevel", "sft-time"))
    # An epoch that has begun is finished.
    assert bilevel * 0.5 <= longer


def test_the_tables_hold_all_arms(study):
    folder, _, found, _ = study
    text = Path(found["tables"]).read_text()
    assert text.count("| without SFT | greedy |") == 2  # By itself, and against the other.
    assert "| final answer: Bi-Level GRPO above without SFT | table 5 | greedy |" in text
    assert (folder / "tables" / "all-gains.svg").exists()
    assert (folder / "tables" / "all-entropy.svg").exists()
