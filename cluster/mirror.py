"""A run in a second place: a folder, NFS or an object store, by a URI that pyarrow's file systems know.

The run itself is in a folder, which everything that works on it sees. Now and then the driver copies what has changed to the
second place, so that a run whose machine is lost goes on from there: where its folder is not there, it is fetched.
"""

import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
from pyarrow import fs

from cluster.config import BadInput
from cluster.events import Events
from cluster.settings import ClusterSettings

_PASSING = re.compile(r"\.lock|session\.json|weights-\d+")
"""What is of no use in another place."""
_UNFINISHED = ".unfinished"
_LAST = ("checkpoint_manager_snapshot.json", "stages.json", "config.yaml")
"""What names other files, and so goes after them; a run without its configuration is none."""
_WHOLE_AT_ONCE = ("s3", "gcs", "abfs")
"""Stores in which an object appears when all of it is there."""
_ROUNDS = 5
_LAST_ROUND_S = 3600.0
"""Longest wait for the last copy of a run that is finished."""

Stamp = tuple[int, int]
"""Bytes of a file, and when it was changed, in ns; 0 where a place does not tell."""


class Mirror:
    """The second place of one run. Its methods raise OSError where that cannot be reached."""

    def __init__(self, uri: str, name: str) -> None:
        """The run `name` under the URI of a folder.

        Raises:
            BadInput: the URI is none, or nothing can be written there.
        """
        self._shown = f"{uri.partition('?')[0].rstrip('/')}/{name}"
        try:
            self._there, root = fs.FileSystem.from_uri(uri)
            self._root = f"{root.rstrip('/')}/{name}"
            self._there.create_dir(self._root, recursive=True)
        except (OSError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            told = " ".join(str(error).split())
            raise BadInput(
                f"cluster.copy_to {uri}: must be a folder to write to, as file:///FOLDER or s3://BUCKET/FOLDER: {told}"
            ) from None
        self._here = fs.LocalFileSystem()
        self._copied: dict[str, Stamp] = {}
        """The files as they were here when this process copied them last."""

    def fetch(self, run: Path) -> bool:
        """Bring a run here that is not; whether there was one. Cut short, it is not here and is fetched again."""
        found = self._files()
        if "config.yaml" not in found:
            return False
        for name in in_order(found):
            target = run / name
            target.parent.mkdir(parents=True, exist_ok=True)
            self._copy(self._there, f"{self._root}/{name}", self._here, str(target))
        return True

    def copy(self, run: Path) -> None:
        """Copy what has changed and remove what is gone, so that at every moment there is a run that can go on."""
        for _ in range(_ROUNDS):
            snapshots, there = _snapshots(run), self._files()
            try:
                files = dict(_listed(run))
                changed = [name for name in in_order(files) if not self._has(name, files[name], there.get(name))]
                for name in changed:
                    if name.endswith(_LAST) and _snapshots(run) != snapshots:
                        raise FileNotFoundError(name)
                    self._put(run, name)
                    self._copied[name] = files[name]
            except FileNotFoundError:
                # A checkpoint gave way to a newer one meanwhile.
                continue
            for name in there.keys() - files.keys():
                self._there.delete_file(f"{self._root}/{name}")
            return
        raise TimeoutError(f"{run}: its checkpoints change faster than they are copied")

    def _has(self, name: str, here: Stamp, there: Stamp | None) -> bool:
        """Whether a file is there as it is here: this process copied it so, or another one did since it changed."""
        if there is None or there[0] != here[0]:
            return False
        return self._copied[name] == here if name in self._copied else there[1] >= here[1]

    def _put(self, run: Path, name: str) -> None:
        target = f"{self._root}/{name}"
        whole = self._there.type_name in _WHOLE_AT_ONCE
        self._copy(self._here, str(run / name), self._there, target if whole else target + _UNFINISHED)
        if not whole:
            self._there.move(target + _UNFINISHED, target)

    def _copy(self, source: fs.FileSystem, path: str, target: fs.FileSystem, to: str) -> None:
        if target.type_name not in _WHOLE_AT_ONCE:
            target.create_dir(to.rpartition("/")[0], recursive=True)
        fs.copy_files(path, to, source_filesystem=source, destination_filesystem=target)

    def _files(self) -> dict[str, Stamp]:
        """What is there."""
        selector = fs.FileSelector(self._root, recursive=True, allow_not_found=True)
        return {
            info.path.removeprefix(self._root).lstrip("/"): (info.size, info.mtime_ns or 0)
            for info in self._there.get_file_info(selector)
            if info.is_file and not info.path.endswith(_UNFINISHED)
        }

    def __str__(self) -> str:
        return self._shown


def in_order(names: Iterable[str]) -> list[str]:
    """Files in the order in which they are copied: what names others comes after them."""

    def place(name: str) -> int:
        return next((place for place, end in enumerate(_LAST, 1) if name.endswith(end)), 0)

    return sorted(names, key=lambda name: (place(name), name))


def _listed(run: Path) -> Iterator[tuple[str, Stamp]]:
    """The files of a run that are of use elsewhere; links count as what they lead to."""
    for folder, folders, files in os.walk(run, followlinks=True):
        if Path(folder) == run:
            folders[:] = [name for name in folders if not _PASSING.fullmatch(name)]
        folders[:] = [name for name in folders if not name.endswith(_UNFINISHED)]
        for file in files:
            path = Path(folder, file)
            name = path.relative_to(run).as_posix()
            if not _PASSING.fullmatch(name) and not name.endswith(_UNFINISHED):
                found = path.stat()
                yield name, (found.st_size, found.st_mtime_ns)


def _snapshots(run: Path) -> dict[str, int]:
    """When Ray Train last changed its list of checkpoints, of each stage."""
    return {str(path): path.stat().st_mtime_ns for path in run.glob(f"checkpoints/*/{_LAST[0]}")}


class Mirroring:
    """Copies a run every few seconds for the length of the block, and once more at its end."""

    def __init__(self, mirror: Mirror, run: Path, events: Events, every_s: float, grace_s: float) -> None:
        """Copy `run` every `every_s` seconds; after Ctrl-C the last copy may take `grace_s`."""
        self._mirror, self._run, self._events = mirror, run, events
        self._every_s, self._grace_s = every_s, grace_s
        self._away = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="mirror", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        self._thread.join(self._grace_s if error is not None else _LAST_ROUND_S)
        if self._thread.is_alive():
            self._events.broke("copy", f"{self._mirror} has not all of the run", "the next start copies the rest")

    def _go_on(self) -> None:
        while not self._over.wait(self._every_s):
            self._copy()
        self._copy()

    def _copy(self) -> None:
        try:
            self._mirror.copy(self._run)
            if self._away:
                self._events.recovered("copy", f"{self._mirror} has the run")
            self._away = False
        except OSError as error:
            told = " ".join(str(error).split())
            if not self._away:
                self._events.broke("copy", f"{self._mirror} cannot be written: {told}", "tried again and again")
            self._away = True


@contextmanager
def in_two_places(
    cluster: ClusterSettings, name: str, run: Path, events: Events, show: Callable[[str], None]
) -> Iterator[None]:
    """Keep a run in `cluster.copy_to` too for the length of the block; fetched from there first, where it is not here.

    Raises:
        BadInput: the place is none, or cannot be read.
    """
    if cluster.copy_to is None:
        yield
        return
    mirror = Mirror(cluster.copy_to, name)
    try:
        fetched = not (run / "config.yaml").exists() and mirror.fetch(run)
    except OSError as error:
        raise BadInput(f"cluster.copy_to {mirror}: cannot be read: {' '.join(str(error).split())}") from None
    if fetched:
        show(f"fetched from {mirror}")
        events.broke("driver", "the run's folder is gone", f"the run was fetched from {mirror} and goes on from there")
    # A run that is stopped has as long again for its engines.
    with Mirroring(mirror, run, events, cluster.copy_every_s, (cluster.stop_wait_s - cluster.grace) / 2):
        yield
