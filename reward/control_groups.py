"""A control group for each sandbox, where the host lets us make one: a second bound on memory, and on processes.

Resource limits hold one process; a group holds everything a run makes the kernel keep for it, and whatever would get past
the other layers. Version 1 and 2 of the kernel's interface are found by looking; where neither can be had there is no
group, and the sandbox says so.
"""

import os
import re
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

PROCESSES = 64
"""Most processes and threads of a sandbox at a time, its own included."""
OVERHEAD_MIB = 128
"""What the zygote and the kernel's own bookkeeping may take beyond a run's memory."""

_PREFIX = "codereason-"
_NAME = re.compile(_PREFIX + r"(\d+)-\d+")
_MEMBERS = "cgroup.procs"
_EVENTS = ("memory.oom_control", "memory.events")
"""Where a group tells, in versions 1 and 2, how many of its processes were killed because its memory had run out."""
_REMOVAL_S = 1.0
"""How long `remove` waits for processes that have been killed and are on their way out."""
_made = count()
_left: set[Path] = set()
"""Groups of this process that could not be removed yet."""


class Place(NamedTuple):
    """A folder in which groups can be made, and the files of a group that hold its bounds."""

    folder: Path
    memory: str | None
    processes: str | None


def places(mounts: str, own: str, root: Path = Path("/")) -> list[Place]:
    """Where this process's groups would go.

    Args:
        mounts: text of `/proc/self/mounts`.
        own: text of `/proc/self/cgroup`.
        root: put before every path, for a test.
    """
    paths = {name: path for _, names, path in (line.split(":", 2) for line in own.splitlines()) for name in names.split(",")}
    found = []
    for line in mounts.splitlines():
        _, target, kind, options, *_ = line.split()
        top = root / target.lstrip("/")
        if kind == "cgroup":
            for name, memory, processes in (("memory", "memory.limit_in_bytes", None), ("pids", None, "pids.max")):
                if name in options.split(",") and name in paths:
                    found.append(Place(top / paths[name].lstrip("/"), memory, processes))
        elif kind == "cgroup2" and paths.get("", "/") != "/":
            # A group with processes in it cannot divide itself: ours go beside our own.
            beside = (top / paths[""].lstrip("/")).parent
            shared = _read(beside / "cgroup.subtree_control").split()
            if {"memory", "pids"} <= set(shared):
                found.append(Place(beside, "memory.max", "pids.max"))
    return found


class ControlGroup:
    """The group of one sandbox, on every hierarchy it takes. `bounded` says whether there is one at all."""

    def __init__(self, memory_mib: int) -> None:
        """Makes the group; clears away what this process, and those that are no more, have left.

        Raises:
            OSError: there is a group, but it cannot be bounded.
        """
        self._kills = 0
        _left.difference_update([folder for folder in [*_left] if _gone(folder)])
        self._folders: list[Path] = []
        self._bounds: dict[Path, set[str]] = {}
        for place in places(_read(Path("/proc/self/mounts")), _read(Path("/proc/self/cgroup"))):
            for left in _leftovers(place.folder):
                _gone(left)
            folder = place.folder / f"{_PREFIX}{os.getpid()}-{next(_made)}"
            try:
                folder.mkdir()
            except OSError:
                continue
            self._folders.append(folder)
            self._bounds[folder] = set()
            try:
                self._bound(folder, place, memory_mib)
            except OSError:
                self.remove()
                raise

    def _bound(self, folder: Path, place: Place, memory_mib: int) -> None:
        if place.memory:
            (folder / place.memory).write_text(str((memory_mib + OVERHEAD_MIB) << 20))
            self._bounds[folder].add("memory")
        if place.processes:
            (folder / place.processes).write_text(str(PROCESSES))
            self._bounds[folder].add("processes")

    @property
    def bounded(self) -> bool:
        """Whether the host let us make one."""
        return bool(self._folders)

    @property
    def missing(self) -> dict[str, str]:
        """What no group bounds, with the reason."""
        held = {what for folder in self._folders for what in self._bounds[folder]}
        why = "no folder of the host's control groups that bounds it can be written to by this process"
        return {f"control group {what}": why for what in ("memory", "processes") if what not in held}

    def take(self, pid: int) -> None:
        """Moves a process into the group; its children will be born there."""
        for folder in [*self._folders]:
            try:
                (folder / _MEMBERS).write_text(str(pid))
            except OSError:
                folder.rmdir()
                self._folders.remove(folder)

    def killed(self) -> bool:
        """Whether a process was killed, since this was last asked, because the group's memory had run out."""
        events = [_read(folder / name).split() for folder in self._folders for name in _EVENTS]
        kills = sum(int(words[words.index("oom_kill") + 1]) for words in events if "oom_kill" in words)
        before, self._kills = self._kills, kills
        return kills > before

    def remove(self) -> None:
        """Takes the group away. Its processes must be gone or about to be: a killed zygote's child dies a little after it.

        What cannot be taken away within a second is left to the next group that this process makes.
        """
        deadline = time.monotonic() + _REMOVAL_S
        staying, self._folders = self._folders, []
        while staying := [folder for folder in staying if not _gone(folder)]:
            if time.monotonic() > deadline:
                _left.update(staying)
                return
            time.sleep(0.005)


def _gone(folder: Path) -> bool:
    """Whether a group is no more, after an attempt to remove it."""
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _leftovers(folder: Path) -> Iterator[Path]:
    """Groups whose maker has died."""
    for path in folder.iterdir() if folder.is_dir() else ():
        name = _NAME.fullmatch(path.name)
        if name and not Path(f"/proc/{name[1]}").exists():
            yield path


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
