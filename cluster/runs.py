"""A run on disk: `runs/NAME/`, what is in it, and which stages are done."""

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from cluster.config import BadInput, RunSettings, dump, read_mapping
from cluster.resuming import differences

_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole or not at all."""
    write_bytes_whole(path, text.encode())


def write_bytes_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all.

    Raises:
        BadInput: something stands there that is no file, as a device, which would be replaced.
    """
    if path.exists() and not path.is_file():
        raise BadInput(f"{path}: is no regular file; give the path of one, or of none")
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    unfinished.write_bytes(data)
    os.replace(unfinished, path)


class RunFolder:
    """Paths of a run, its finished stages and its metrics."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.metrics = path / "metrics.jsonl"
        self.scalings = path / "scaling.jsonl"
        self.summary = path / "summary.json"
        self.events = path / "events.jsonl"
        self.checkpoints = path / "checkpoints"
        self.trained_model = path / "model"
        self._stages = path / "stages.json"
        self._tries = path / "interrupted.json"
        self._session = path / "session.json"
        self._last_step: dict[str, int] = {}

    def split(self, name: str) -> Path:
        """The Parquet file of a data split."""
        return self.path / "data" / f"{name}.parquet"

    def model(self, stage: str) -> Path:
        """The Hugging Face folder that a stage leaves; RL's is the run's result."""
        return self.trained_model if stage == "rl" else self.path / "models" / stage

    def evaluation(self, stage: str, split: str = "heldout", *, anchors: bool = True) -> Path:
        """The responses of the model that a stage left to a split, whose programs it saw with anchors or without."""
        kind = ("" if split == "heldout" else f".{split}") + ("" if anchors else ".no-anchors")
        return self.path / "evaluations" / f"{stage}{kind}.jsonl"

    def rollouts(self, stage: str) -> Path:
        """The folder of a stage's scored trajectories, a file a step."""
        return self.path / "rollouts" / stage

    def open(self, settings: RunSettings) -> list[str]:
        """Create the run, or go on with it; to be called with the run `locked`.

        Returns:
            What differs from the settings it had, of those that may (`cluster.resuming.MAY_CHANGE`).

        Raises:
            BadInput: a run of this name exists with settings that give other results.
        """
        config = self.path / "config.yaml"
        resolved = dump(settings)
        changed: list[str] = []
        if config.exists():
            # Both as YAML gives them back, so that nothing differs but what is written differently.
            deciding, changed = differences(read_mapping(config), yaml.safe_load(resolved))
            if deciding:
                raise BadInput(
                    f"{config}: this run was started with other settings: {deciding[0]}; give the new one another name "
                    f"(name=OTHER) or delete {self.path}"
                )
        write_whole(config, resolved)
        return changed

    @contextmanager
    def locked(self, patience_s: float = 1.0) -> Iterator[None]:
        """Keep every other process out of this run for the length of the block.

        Args:
            patience_s: who only looks whether somebody is at it has the lock for a moment, which is waited for.

        Raises:
            BadInput: another process is at it, or its file system has no locks.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as file:
            deadline = time.monotonic() + patience_s
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise BadInput(f"{self.path}: this run is being carried out by another process") from None
                    time.sleep(0.1)
                except OSError as error:
                    raise BadInput(f"{self.path}: a run needs a file system with locks (flock): {error.strerror}") from None
            yield

    @contextmanager
    def live(self, dashboard: str) -> Iterator[None]:
        """Let others know for the length of the block where the cluster's dashboard is, and the driver."""
        write_whole(self._session, json.dumps({"dashboard": dashboard, "host": socket.gethostname()}))
        try:
            yield
        finally:
            self._session.unlink(missing_ok=True)

    @property
    def was_killed(self) -> bool:
        """Whether whoever carried it out last could not put its note away; to be asked with the run `locked`."""
        return self._session.exists()

    @property
    def dashboard(self) -> str | None:
        """URL of the dashboard of the cluster that carries the run out at present; empty if that has none.

        None where nobody carries it out: one that was killed left its note, but not the lock.

        Raises:
            BadInput: the dashboard talks to its own machine alone, which is another one.
        """
        if not self._session.exists():
            return None
        try:
            with self.locked(patience_s=0):
                return None
        except BadInput:
            noted = json.loads(self._session.read_text())
        if urlsplit(noted["dashboard"]).hostname in _LOOPBACK and noted["host"] != socket.gethostname():
            raise BadInput(
                f"{self.path}: its dashboard listens on loopback of {noted['host']}: do this there, or give --address with "
                "the URL of a tunnel"
            )
        return str(noted["dashboard"])

    def finished_stages(self) -> dict[str, float]:
        """Wall seconds of each finished stage, in order."""
        return json.loads(self._stages.read_text()) if self._stages.exists() else {}

    def finish_stage(self, name: str, seconds: float) -> None:
        """Note that a stage is done and need not run again; seconds of its interrupted tries count."""
        seconds += self._interrupted().get(name, 0.0)
        write_whole(self._stages, json.dumps({**self.finished_stages(), name: seconds}, indent=2))

    def interrupt_stage(self, name: str, seconds: float) -> None:
        """Note how long a try of a stage took that did not finish."""
        before = self._interrupted()
        write_whole(self._tries, json.dumps({**before, name: before.get(name, 0.0) + seconds}, indent=2))

    def _interrupted(self) -> dict[str, float]:
        return json.loads(self._tries.read_text()) if self._tries.exists() else {}

    def rows(self, stage: str) -> list[dict[str, Any]]:
        """The stage's metrics so far."""
        return [row for row in read_jsonl(self.metrics) if row["stage"] == stage]

    def log(self, stage: str, row: Mapping[str, Any]) -> None:
        """Append a row of metrics; rows of the same stage from this step on, left by an interrupted try, go first."""
        if row["step"] <= self._last_step.get(stage, row["step"]):
            rows = read_jsonl(self.metrics)
            write_jsonl(self.metrics, [old for old in rows if old["stage"] != stage or old["step"] < row["step"]])
        self._last_step[stage] = row["step"]
        with self.metrics.open("a") as file:
            file.write(json.dumps({"stage": stage, **row}) + "\n")


def find_run(run: str, runs: Path) -> Path | None:
    """The folder of a run that is given as a folder or by its name among `runs`; None if neither is one."""
    return next((place for place in (Path(run), runs / run) if (place / "config.yaml").exists()), None)


def link_model(model: Path, folder: Path) -> None:
    """Put the files of a model into another folder as links, so that a large model is on disk once."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in model.iterdir():
        link = folder / file.name
        link.unlink(missing_ok=True)
        link.symlink_to(file.resolve())


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The objects in a JSONL file of ours; none if it is not there. A last line cut short by a crash is left out."""
    if not path.exists():
        return []
    lines = path.read_text().split("\n")
    return [json.loads(line) for line in lines[:-1] if line]


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a JSONL file, whole or not at all."""
    write_whole(path, "".join(json.dumps(row) + "\n" for row in rows))
