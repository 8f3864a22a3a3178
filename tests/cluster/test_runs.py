"""A run on disk: what may go on, what is done, and metrics that survive a crash."""

import errno
import json
import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from cluster import runs
from cluster.config import BadInput, RunSettings, dump
from cluster.resuming import MAY_CHANGE, flat
from cluster.runs import RunFolder, read_jsonl, write_jsonl, write_whole

SPLIT = {"problems": 4, "chains": True}
SETTINGS = RunSettings.model_validate(
    {"name": "run", "data": {"sft": SPLIT, "validation": SPLIT, "rl": SPLIT, "heldout": SPLIT}}
)


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path / "run")


def changed(settings, **sections):
    """The settings with some fields of some sections changed."""
    raw = settings.model_dump()
    for section, fields in sections.items():
        raw[section] = raw[section] | fields if isinstance(fields, dict) else fields
    return RunSettings.model_validate(raw)


def test_a_run_goes_on_with_the_same_settings(run):
    assert run.open(SETTINGS) == []
    written = (run.path / "config.yaml").read_text()
    assert RunFolder(run.path).open(SETTINGS) == []
    assert (run.path / "config.yaml").read_text() == written


def test_how_a_run_is_carried_out_may_change_and_is_told(run):
    run.open(SETTINGS)
    other = changed(
        SETTINGS,
        learner={"workers": 4, "resources": {"learner": 1.0}},
        rollout={"replicas": 3, "max_replicas": 8, "drain_s": 5.0, "dtype": "float32"},
        rl={"mismatch_tolerance": 0.2},
        cluster={"address": "auto", "stop_wait_s": 9.0},
        loggers=["wandb"],
    )
    assert sorted(run.open(other)) == [
        "cluster.address was None, is now auto",
        "cluster.stop_wait_s was 120.0, is now 9.0",
        "learner.resources.learner was nothing, is now 1.0",
        "learner.workers was 2, is now 4",
        "loggers was nothing, is now ['wandb']",
        "rl.mismatch_tolerance was None, is now 0.2",
        "rollout.drain_s was 20.0, is now 5.0",
        "rollout.max_replicas was None, is now 8",
        "rollout.replicas was 1, is now 3",
    ]
    assert (run.path / "config.yaml").read_text() == dump(other)
    assert run.open(other) == []


DECIDING = {
    "seed was 1, is now 2": {"seed": 2},
    "model.layers was 4, is now 3": {"model": {"layers": 3}},
    "sft.lr was 0.002, is now 0.1": {"sft": {"lr": 0.1}},
    "rl.steps was 50, is now 51": {"rl": {"steps": 51}},
    "evaluation.samples was 4, is now 5": {"evaluation": {"samples": 5}},
    "reward.wall_s was 5.0, is now 6.0": {"reward": {"wall_s": 6.0, "replicas": 7}},
    "rollout.dtype was float32, is now float16": {"rollout": {"dtype": "float16"}},
    "controls was nothing, is now ['step']": {"controls": ["step"]},
    # Without a dtype of their own learner and engines take bfloat16 on GPUs.
    "learner.dtype was float32, is now bfloat16": {"learner": {"num_gpus": 1.0}},
    "rollout.dtype was float32, is now bfloat16": {"rollout": {"num_gpus": 1.0}},
}


@pytest.mark.parametrize("told", DECIDING)
def test_what_decides_results_may_not_change_and_the_first_is_named(run, told):
    run.open(SETTINGS)
    written = (run.path / "config.yaml").read_text()
    with pytest.raises(
        BadInput, match=re.escape(f"config.yaml: this run was started with other settings: {told};")
    ) as error:
        run.open(changed(SETTINGS, **DECIDING[told]))
    assert "\n" not in str(error.value)
    assert (run.path / "config.yaml").read_text() == written


def test_every_setting_that_may_change_is_one():
    endpoint = {"base_url": "http://HOST/v1", "model": "m"}
    engines = {"in_process": {"max_length": 8192, "resources": {"rollout": 1.0}}, "model": "m"}
    pools = {pool: {"resources": {"kind": 1.0}} for pool in ("rollout", "reward", "learner")}
    keys = set()
    for teacher in (endpoint, engines):
        keys |= set(flat(changed(SETTINGS, data={"teacher": teacher}, **pools).model_dump(mode="json")))
    for one in MAY_CHANGE:
        assert any(key == one or key.startswith(f"{one}.") for key in keys), one


@pytest.mark.parametrize("text", ["", "- 1", "a: [1"])
def test_a_run_whose_configuration_is_damaged_is_named(run, text):
    run.open(SETTINGS)
    (run.path / "config.yaml").write_text(text)
    with pytest.raises(BadInput, match=r"config\.yaml: (not YAML|must hold a mapping)"):
        run.open(SETTINGS)


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


def test_what_is_no_regular_file_is_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(BadInput, match=f"{pipe}: is no regular file"):
        write_whole(pipe, "new")
    assert pipe.is_fifo()


def test_rows_that_cannot_be_written_leave_the_old_file(tmp_path):
    path = tmp_path / "rows"
    write_jsonl(path, [{"a": 1}])
    with pytest.raises(TypeError):
        write_jsonl(path, [{"a": 2}, {"a": object()}])
    assert read_jsonl(path) == [{"a": 1}]
    assert [entry.name for entry in tmp_path.iterdir()] == ["rows"]


def test_who_only_looks_keeps_nobody_from_starting(run):
    looking = threading.Event()

    def look():
        with run.locked():
            looking.set()
            time.sleep(0.3)

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(look)
        looking.wait()
        with run.locked():
            pass
        done.result()


def test_a_file_system_without_locks_is_named(run, monkeypatch):
    def flock(file, how):
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(runs.fcntl, "flock", flock)
    with (
        pytest.raises(BadInput, match=r"run: a run needs a file system with locks \(flock\): Operation not supported"),
        run.locked(),
    ):
        pass
