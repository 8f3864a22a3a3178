"""Where a run's figures go beside `metrics.jsonl`: TensorBoard, Weights & Biases, MLflow.

Each writes into the run's folder unless its own environment variables name a server; keys come from the environment alone.
"""

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from cluster.config import BadInput

_PACKAGES = {"tensorboard": "tensorboardX", "wandb": "wandb", "mlflow": "mlflow"}


class Logger(Protocol):
    """Takes the figures of a step."""

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Figures of one step, each under STAGE/NAME."""
        ...

    def close(self) -> None:
        """Write down what is still in memory; nothing comes after."""
        ...


class TensorBoard:
    """Event files under `tensorboard/` of the run."""

    def __init__(self, run: Path, config: Mapping[str, Any]) -> None:
        from tensorboardX import SummaryWriter

        self._writer: Any = SummaryWriter(str(run / "tensorboard"), flush_secs=2)

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """See `Logger.log`."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """See `Logger.close`."""
        self._writer.close()


class WeightsAndBiases:
    """One run of Weights & Biases, the same one after a restart; offline, in the run's folder, without WANDB_API_KEY."""

    def __init__(self, run: Path, config: Mapping[str, Any]) -> None:
        import wandb

        mode: Any = os.environ.get("WANDB_MODE") or ("online" if os.environ.get("WANDB_API_KEY") else "offline")
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "codereason"),
            name=config["name"],
            id=config["name"],
            resume="allow",
            dir=str(run),
            config=dict(config),
            mode=mode,
        )

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """See `Logger.log`; each stage counts its own steps, so the step is a figure too."""
        (stage,) = {name.partition("/")[0] for name in figures}
        self._run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
        self._run.log({**figures, f"{stage}/step": step})

    def close(self) -> None:
        """See `Logger.close`."""
        self._run.finish()


class MLflow:
    """One run of MLflow, the same one after a restart; in a store in the run's folder without MLFLOW_TRACKING_URI."""

    def __init__(self, run: Path, config: Mapping[str, Any]) -> None:
        uri = os.environ.get("MLFLOW_TRACKING_URI")
        if uri is None:
            # MLflow keeps its store of plain files behind this switch; the other local store needs a database.
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
            uri = (run / "mlflow").resolve().as_uri()
        from mlflow import MlflowClient

        self._client = MlflowClient(uri)
        experiment = self._client.get_experiment_by_name("codereason")
        place = experiment.experiment_id if experiment else self._client.create_experiment("codereason")
        named = f"attributes.run_name = '{config['name']}'"
        found = self._client.search_runs([place], filter_string=named, max_results=1)
        made = found[0] if found else self._client.create_run(place, run_name=config["name"])
        self._id = made.info.run_id
        if not found:
            for name, value in config.items():
                self._client.log_param(self._id, name, str(value)[:500])

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """See `Logger.log`."""
        for name, value in figures.items():
            self._client.log_metric(self._id, name, value, step=step)

    def close(self) -> None:
        """See `Logger.close`; every figure is written at once."""


_LOGGERS: dict[str, type[TensorBoard] | type[WeightsAndBiases] | type[MLflow]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "mlflow": MLflow,
}


def require_installed(names: Sequence[str]) -> None:
    """Refuse a logger whose package is not there.

    Raises:
        BadInput: says which, and how to have it.
    """
    for name in names:
        if importlib.util.find_spec(_PACKAGES[name]) is None:
            raise BadInput(f"loggers: {name} needs the package {_PACKAGES[name]}: pip install -r requirements/loggers.txt")


def open_loggers(names: Sequence[str], run: Path, config: Mapping[str, Any]) -> list[Logger]:
    """The loggers of a run, by their names in the configuration.

    Args:
        names: which.
        run: the run's folder.
        config: the settings to show, flat; `name` is what the run is called.
    """
    return [_LOGGERS[name](run, config) for name in names]


def figures(stage: str, row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a row of `metrics.jsonl`, flat, under STAGE/NAME."""
    found: dict[str, float] = {}
    for key, value in row.items():
        if isinstance(value, Mapping):
            found |= {f"{stage}/{key}/{inner}": float(number) for inner, number in value.items()}
        elif isinstance(value, int | float) and key != "step":
            found[f"{stage}/{key}"] = float(value)
    return found
