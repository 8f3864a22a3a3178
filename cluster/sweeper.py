"""A folder in memory that is gone when its process is, however that ended.

Shared memory outlives who wrote it. So a process of its own waits for the end of the one that owns the folder, and removes
it; a killed process cannot. This file is also that process's program, and imports nothing of ours.
"""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOOK_EVERY_S = 0.5
_GONE_FOR_S = 10.0
"""What wrote into the folder dies a little later than its owner, and may make it again until then."""


@contextmanager
def swept(folder: Path) -> Iterator[None]:
    """Remove a folder, that ends in a number of its own, after the block, or when this process is killed in it.

    What an owner before left of the same name but another number goes at once: one at a time may have it.
    """
    stem = folder.name.rpartition("-")[0]
    for other in folder.parent.glob(f"{stem}-*"):
        if re.fullmatch(re.escape(stem) + r"-\d+", other.name):
            shutil.rmtree(other, ignore_errors=True)
    # Out of reach of what is typed at the terminal, which ends the owner.
    with subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, str(folder)], stdin=subprocess.PIPE, start_new_session=True
    ) as sweeper:
        try:
            yield
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            sweeper.kill()


def _sweep(folder: Path) -> None:
    sys.stdin.read()
    gone_since = time.monotonic()
    while time.monotonic() - gone_since < _GONE_FOR_S:
        if folder.exists():
            shutil.rmtree(folder, ignore_errors=True)
            gone_since = time.monotonic()
        time.sleep(_LOOK_EVERY_S)


if __name__ == "__main__":
    _sweep(Path(sys.argv[1]))
