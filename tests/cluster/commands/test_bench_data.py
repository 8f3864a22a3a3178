"""`codereason bench data`: what it refuses to measure, and what it measures by itself."""

import pytest

from benchmarks.data import measure, speed
from cluster.commands.bench import _GRID, _SMALLER
from cluster.config import BadInput, RunSettings, load
from cluster.data.sources import open_sources

SMALL = {"problems": 1, "chains": True}


def settings(filters=None, **splits):
    teacher = {"base_url": "http://localhost:1/v1", "model": "m"}
    data = dict.fromkeys(("sft", "validation", "rl", "heldout"), SMALL)
    return RunSettings.model_validate(
        {"name": "b", "data": {**data, "teacher": teacher, "filters": filters or {}, **splits}}
    )


@pytest.mark.parametrize("split", [{"problems": 1, "teacher": {}}, {"problems": 1, "chains": "teacher"}])
def test_what_a_teacher_would_write_is_not_replaced_in_silence(split):
    with pytest.raises(BadInput, match=r"^data.rl: asks a teacher, and none is asked here"):
        measure(settings(rl=split), slots=1)


def test_the_speed_of_a_measured_model_is_not_ours():
    with pytest.raises(BadInput, match=r"^data.filters.difficulty: "):
        measure(settings({"difficulty": {"model": "m"}}), slots=1)


def test_without_a_configuration_it_is_the_grid():
    config = load(_GRID, list(_SMALLER))
    splits = [getattr(config.data, name) for name in ("sft", "validation", "rl", "heldout")]
    assert sum(split.problems for split in splits) == 3000
    assert {split.source for split in splits} == {"grid"}
    assert open_sources(config.data, 1)["rl"].candidates(0, 1)[0].cell


def test_the_start_is_told_apart():
    told = speed(10.0, [14.0, 14.0, 14.5, 15.0, 15.5], 16.0, 4.0)
    assert (told["first_problem_s"], told["problems_per_s"], told["share_of_bare_runs"]) == (4.0, 5 / 6, 5 / 24)
    assert (told["problems_per_s_after_the_first"], told["share_of_bare_runs_after_the_first"]) == (2.0, 0.5)


def test_a_real_build_is_measured_from_its_own_start():
    small = {"problems": 2, "chains": True, "grid": {"mutations": 0}}
    told = measure(settings(**dict.fromkeys(("sft", "validation", "rl", "heldout"), small)), slots=1)
    assert told["problems"] == 8
    assert min(told.values()) > 0
    assert told["problems_per_s"] < told["problems_per_s_after_the_first"]
