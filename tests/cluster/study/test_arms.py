"""What arms share, and where their results lie. Real arms are carried out in `test_study.py`."""

from pathlib import Path

import pytest
from rich.console import Console

from cluster.config import BadInput
from cluster.runs import RunFolder
from cluster.study.arms import carry_out_arms, rl_seconds, share, stage_of
from cluster.study.settings import Arm, load_study


def test_data_and_models_are_shared_by_links_that_survive_a_move(tmp_path):
    trunk, place = tmp_path / "study" / "seed-1" / "sft", tmp_path / "study" / "seed-1" / "one"
    for part in ("data", "models/base", "models/sft"):
        (trunk / part).mkdir(parents=True)
        (trunk / part / "file").write_text(part)
    share(trunk, place)
    share(trunk, place)
    moved = (tmp_path / "study").rename(tmp_path / "moved")
    for part in ("data", "models/base", "models/sft"):
        assert (moved / "seed-1" / "one" / part / "file").read_text() == part


@pytest.mark.parametrize(
    ("arm", "stage"),
    [
        (None, "sft"),
        (Arm(label="x"), "rl"),
        (Arm(label="x", start="base"), "rl"),
        (Arm(label="x", learns="sft", seconds_of="y"), "sft_longer"),
    ],
)
def test_an_arms_own_training_is_a_stage_of_its_run(arm, stage):
    assert stage_of("sft" if arm is None else "other", arm) == stage


def test_wall_time_is_that_of_the_last_step(tmp_path):
    run = RunFolder(tmp_path)
    run.log("rl", {"step": 1, "seconds": 4.5})
    run.log("rl", {"step": 2, "seconds": 9.25})
    assert rl_seconds(run) == 9.25


def test_a_wall_time_that_nobody_has_measured_is_named_before_anything_starts(tmp_path):
    study = load_study(Path(__file__).parents[3] / "configs" / "study.yaml", ["arms=[sft-time]"])
    RunFolder(tmp_path / "seed-1" / "bilevel").finish_stage("rl", 1.0)
    with pytest.raises(BadInput, match=r"^arms: sft-time wants the wall time of bilevel, which is not done for seed 2"):
        carry_out_arms(study, [1, 2], tmp_path, Console())
    assert not (tmp_path / "study.yaml").exists()
