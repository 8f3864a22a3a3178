"""Figures in TensorBoard's, Weights & Biases' and MLflow's own files, read back with their own readers."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from cluster.config import BadInput, load
from cluster.monitoring.loggers import figures, open_loggers, require_installed
from cluster.resuming import flat

ROOT = Path(__file__).parents[3]

ROW = {"step": 3, "loss": 0.5, "verdicts": {"ok": 0.25}, "note": "text"}


def test_the_numbers_of_a_row_are_flat_under_their_stage():
    assert figures("rl", ROW) == {"rl/loss": 0.5, "rl/verdicts/ok": 0.25}


def test_settings_are_shown_by_the_names_that_overrides_have():
    shown = flat(load(ROOT / "configs" / "smoke.yaml", ["rl.steps=9"]).model_dump(mode="json"))
    assert shown["rl.steps"] == 9
    assert shown["data.rl.problems"] == 32
    assert shown["name"] == "smoke"


def test_a_logger_that_nobody_knows_is_refused():
    with pytest.raises(BadInput, match=r"loggers.0: .*'tensorboard', 'wandb' or 'mlflow'"):
        load(ROOT / "configs" / "smoke.yaml", ["loggers=[printer]"])


def test_a_package_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BadInput, match=r"loggers: mlflow needs the package mlflow: pip install -r requirements/loggers.txt"):
        require_installed(["mlflow"])


def test_tensorboard_event_files_hold_every_step(tmp_path):
    from tensorboardX.proto.event_pb2 import Event

    (logger,) = open_loggers(["tensorboard"], tmp_path, {})
    for step in (1, 2):
        logger.log(step, {"rl/loss": step / 4})
    logger.close()
    (file,) = (tmp_path / "tensorboard").iterdir()
    assert [(e.step, v.tag, v.simple_value) for e in events(file, Event) for v in e.summary.value] == [
        (1, "rl/loss", 0.25),
        (2, "rl/loss", 0.5),
    ]


def events(file, kind):
    """TFRecord: length, its checksum, the bytes, their checksum."""
    content = file.read_bytes()
    while content:
        length = int.from_bytes(content[:8], "little")
        event = kind()
        event.ParseFromString(content[12 : 12 + length])
        yield event
        content = content[16 + length :]


def test_mlflow_goes_on_with_the_same_run(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for step in (1, 2):
        (logger,) = open_loggers(["mlflow"], tmp_path / "seed-1", {"name": "study-seed-1", "rl.steps": 9})
        logger.log(step, {"rl/loss": step / 4})
    client = mlflow.MlflowClient((tmp_path / "seed-1" / "mlflow").as_uri())
    experiment = client.get_experiment_by_name("codereason")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "study-seed-1"
    assert run.data.params == {"name": "study-seed-1", "rl.steps": "9"}
    assert [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, "rl/loss")] == [
        (1, 0.25),
        (2, 0.5),
    ]


@pytest.fixture
def packages(monkeypatch):
    """Stand-ins for the two packages that need not be installed: they note what a run is called."""
    told = []

    class Client:
        def __init__(self, uri):
            self.experiment_id = "1"

        def get_experiment_by_name(self, name):
            return self

        def search_runs(self, places, filter_string, max_results):
            told.append(filter_string)
            return []

        def create_run(self, place, run_name):
            told.append(run_name)
            return SimpleNamespace(info=SimpleNamespace(run_id="1"))

        def log_param(self, *parameter): ...

    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(MlflowClient=Client))
    opened = SimpleNamespace(init=lambda **given: told.extend([given["name"], given["id"]]))
    monkeypatch.setitem(sys.modules, "wandb", opened)
    return told


def test_a_run_of_a_study_is_called_by_its_name_and_not_by_its_folder(tmp_path, packages):
    open_loggers(["wandb", "mlflow"], tmp_path / "study" / "seed-1", {"name": "study-seed-1"})
    assert packages == ["study-seed-1", "study-seed-1", "attributes.run_name = 'study-seed-1'", "study-seed-1"]


def test_weights_and_biases_is_offline_without_a_key(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    for variable in ("WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(variable, raising=False)
    (logger,) = open_loggers(["wandb"], tmp_path, {"name": "study-seed-1", "rl.steps": 9})
    logger.log(1, {"rl/loss": 0.25})
    logger.close()
    (folder,) = (tmp_path / "wandb").glob("offline-run-*-study-seed-1")
    (file,) = folder.glob("*.wandb")
    assert b"rl/loss" in file.read_bytes()
