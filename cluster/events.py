"""What broke on a run's way, and how it went on: a line each in the run's `events.jsonl`.

Several processes write there: the driver, the experience actor, Ray Train's controller. A line is short enough to be
appended whole.
"""

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


class Events:
    """The events of one run."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        """Use the file at `path`, which need not be there yet."""
        self._path = path
        self._clock = clock
        self._settled_size = 0
        """Size of the file when nothing in it was left to settle."""

    def broke(self, part: str, what: str, done: str) -> None:
        """Something died or fell silent.

        Args:
            part: what kind of thing, as `rollout`; its recovery is told under the same word.
            what: which one, and what became of it.
            done: what is done about it.
        """
        self._append({"part": part, "event": "broke", "what": what, "done": done})

    def recovered(self, part: str, what: str) -> None:
        """A part that broke works again: told with the seconds that it took, once for all that broke of it."""
        began = self._open().get(part)
        if began is not None:
            seconds = max(0.0, self._clock() - began)
            self._append({"part": part, "event": "recovered", "what": what, "seconds": round(seconds, 2)})

    def progressed(self, parts: Sequence[str], what: str) -> None:
        """A step is done, so of these parts, the same each time, those that broke work again.

        Looks into the file only where something was added.
        """
        size = self._path.stat().st_size if self._path.exists() else 0
        if size == self._settled_size:
            return
        for part in parts:
            self.recovered(part, what)
        self._settled_size = self._path.stat().st_size

    def rows(self) -> list[dict[str, Any]]:
        """All events so far, the oldest first; a line that a full disk cut short is none."""
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def _open(self) -> dict[str, float]:
        """When each part that has not recovered broke first."""
        broken: dict[str, float] = {}
        for row in self.rows():
            if row["event"] == "broke":
                broken.setdefault(row["part"], row["time"])
            else:
                broken.pop(row["part"], None)
        return broken

    def _append(self, row: dict[str, Any]) -> None:
        try:
            with self._path.open("a") as file:
                # On a line of its own, whatever the last one is.
                file.write("\n" + json.dumps({"time": round(self._clock(), 2), **row}))
        except OSError as error:
            # A full disk must not keep anyone from dealing with what broke.
            sys.stderr.write(f"codereason: {told(row)} ({self._path}: {error.strerror})\n")


def told(row: dict[str, Any]) -> str:
    """An event as a person reads it."""
    if row["event"] == "broke":
        return f"{row['part']}: {row['what']}; {row['done']}"
    return f"{row['part']}: recovered after {row['seconds']:.1f} s: {row['what']}"


def failures(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What broke, each with the seconds until its part worked again; None where that was never told."""
    found: list[dict[str, Any]] = []
    for row in rows:
        if row["event"] == "broke":
            found.append({"part": row["part"], "what": row["what"], "recovery_s": None, "time": row["time"]})
            continue
        for one in found:
            if one["part"] == row["part"] and one["recovery_s"] is None:
                one["recovery_s"] = round(row["time"] - one["time"], 2)
    return found
