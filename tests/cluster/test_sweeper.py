"""What lies in memory goes with its owner, whichever way that goes."""

import os
import signal
import subprocess
import sys
import time

import pytest

from cluster.sweeper import swept

OWNER = """
import sys, time
from pathlib import Path
from cluster.sweeper import swept
folder = Path(sys.argv[1])
with swept(folder, "it was killed"):
    folder.mkdir(parents=True)
    (folder / "weights").write_text("some")
    print("there", flush=True)
    time.sleep(60)
"""


def test_it_is_gone_after_the_block_and_so_is_the_process_that_waited(tmp_path, watched):
    folder = tmp_path / "run-12"
    with watched() as left:
        with swept(folder, "it was killed"):
            folder.mkdir()
            (folder / "weights").write_text("some")
        assert not folder.exists()
    assert not left


def test_it_is_gone_for_good_where_the_block_fails(tmp_path, capfd):
    folder = tmp_path / "run-12"
    folder.mkdir()
    with pytest.raises(ZeroDivisionError), swept(folder, "it was killed"):
        1 / 0  # noqa: B018
    assert not folder.exists()
    folder.mkdir()  # As a learner does that has not heard of it yet.
    gone(folder)
    assert capfd.readouterr().err == ""


def gone(folder):
    deadline = time.monotonic() + 30
    while folder.exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_it_is_gone_soon_after_its_owner_is_killed_also_if_it_is_made_again(tmp_path, ending):
    folder = tmp_path / "run-12"
    command = [sys.executable, "-c", OWNER, folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as owner:
        assert owner.stdout.readline() == "there\n"
        os.kill(owner.pid, ending)
        assert owner.communicate(timeout=20) == ("", "it was killed\n")
    gone(folder)
    folder.mkdir()
    gone(folder)


def test_what_was_left_before_goes_and_what_is_anothers_stays(tmp_path):
    for name in ("run-3", "run-other-3", "run-", "running-3"):
        (tmp_path / name).mkdir()
    with swept(tmp_path / "run-12", "it was killed"):
        assert sorted(path.name for path in tmp_path.iterdir()) == ["run-", "run-other-3", "running-3"]
