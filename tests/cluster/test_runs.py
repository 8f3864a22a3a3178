"""A run on disk: what may go on, what is done, and metrics that survive a crash."""

import json

import pytest

from cluster import runs
from cluster.config import BadInput, RunSettings
from cluster.runs import RunFolder, read_jsonl, write_jsonl, write_whole

SPLIT = {"problems": 4, "chains": True}
SETTINGS = RunSettings.model_validate(
    {"name": "run", "data": {"sft": SPLIT, "validation": SPLIT, "rl": SPLIT, "heldout": SPLIT}}
)


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path / "run")


def test_a_run_goes_on_with_the_same_settings_only(run):
    run.open(SETTINGS)
    written = (run.path / "config.yaml").read_text()
    RunFolder(run.path).open(SETTINGS)
    with pytest.raises(BadInput, match=r"config\.yaml: this run was started with other settings") as error:
        run.open(SETTINGS.model_copy(update={"seed": 2}))
    assert "\n" not in str(error.value)
    assert (run.path / "config.yaml").read_text() == written


def test_finished_stages_are_remembered_in_order(run):
    assert run.finished_stages() == {}
    run.finish_stage("data", 1.5)
    run.finish_stage("base", 0.5)
    assert list(RunFolder(run.path).finished_stages().items()) == [("data", 1.5), ("base", 0.5)]


def test_the_trained_model_is_the_one_of_rl(run):
    assert run.model("rl") == run.trained_model == run.path / "model"
    assert run.model("sft") == run.path / "models" / "sft"
    assert run.split("rl") == run.path / "data" / "rl.parquet"


def log(run, stage, *steps, mark="first"):
    for step in steps:
        run.log(stage, {"step": step, "mark": mark})


def logged(run, stage):
    return [(row["step"], row["mark"]) for row in run.rows(stage)]


def test_rows_are_kept_by_stage(run):
    run.open(SETTINGS)
    log(run, "sft", 1, 2)
    log(run, "rl", 1)
    assert logged(run, "sft") == [(1, "first"), (2, "first")]
    assert logged(run, "rl") == [(1, "first")]
    assert run.rows("terminal") == []


def test_a_try_that_resumes_drops_what_the_interrupted_one_logged_after_its_checkpoint(run):
    run.open(SETTINGS)
    log(run, "sft", 1, 2)
    log(run, "rl", 1, 2, 3, 4)
    log(RunFolder(run.path), "rl", 3, 4, 5, mark="second")
    assert logged(run, "rl") == [(1, "first"), (2, "first"), (3, "second"), (4, "second"), (5, "second")]
    assert logged(run, "sft") == [(1, "first"), (2, "first")]


def test_so_does_a_worker_that_goes_back_within_one_try_also_after_another_stage_logged(run):
    run.open(SETTINGS)
    log(run, "rl", 1, 2, 3)
    log(run, "terminal", 1)
    log(run, "rl", 2, mark="again")
    assert logged(run, "rl") == [(1, "first"), (2, "again")]
    assert logged(run, "terminal") == [(1, "first")]


def test_a_last_line_cut_short_is_left_out_and_then_replaced(run):
    run.open(SETTINGS)
    log(run, "rl", 1, 2)
    with run.metrics.open("a") as file:
        file.write('{"stage": "rl", "step": 3, "ma')
    assert logged(run, "rl") == [(1, "first"), (2, "first")]
    log(RunFolder(run.path), "rl", 3, mark="second")
    assert logged(run, "rl") == [(1, "first"), (2, "first"), (3, "second")]
    assert all(json.loads(line) for line in run.metrics.read_text().splitlines())


def test_a_line_that_is_whole_but_has_no_end_yet_is_not_read(tmp_path):
    (tmp_path / "rows").write_text('{"a": 1}\n{"a": 12}')
    assert read_jsonl(tmp_path / "rows") == [{"a": 1}]
    assert read_jsonl(tmp_path / "not there") == []


def test_jsonl_comes_back_also_with_line_breaks_of_other_alphabets(tmp_path):
    rows = [{"text": "a\u2028b\x85c\x0bd\ne"}, {}, {"number": float("inf")}]
    write_jsonl(tmp_path / "deep" / "rows", rows)
    assert read_jsonl(tmp_path / "deep" / "rows") == rows


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_whole(path, "old")

    def fails(source, target):
        raise OSError("no space left")

    monkeypatch.setattr(runs.os, "replace", fails)
    with pytest.raises(OSError, match="no space"):
        write_whole(path, "new")
    assert path.read_text() == "old"


def test_rows_that_cannot_be_written_leave_the_old_file(tmp_path):
    path = tmp_path / "rows"
    write_jsonl(path, [{"a": 1}])
    with pytest.raises(TypeError):
        write_jsonl(path, [{"a": 2}, {"a": object()}])
    assert read_jsonl(path) == [{"a": 1}]
    assert [entry.name for entry in tmp_path.iterdir()] == ["rows"]
