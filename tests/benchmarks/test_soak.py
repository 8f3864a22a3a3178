"""The soak: what it finds where something was left behind, and that the sandbox leaves nothing."""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.soak import Census, Sample, census, leaks

ROOT = Path(__file__).parents[2]
NOTHING = Census((), (), (), (), (), ())
EARLY = Sample(200, 40.0, 90_000, (13.5, 13.5), 12, 13)
LATE = replace(EARLY, runs=2000)


def test_two_thousand_runs_leave_nothing():
    command = [sys.executable, "-m", "cluster", "bench", "soak", "--runs", "2000"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert (found["leaks"], found["unexpected"]) == ([], [])
    assert found["kills"] == found["restarts"] == 3
    assert found["before"] == found["after"]
    assert sum(found["verdicts"].values()) == 2000
    assert set(found["verdicts"]) == {"ok", "exception", "timeout", "memory", "crashed", "output_limit", "no_result"}
    assert [step["runs"] for step in found["steps"]] == [*range(200, 2001, 200)]


def test_bad_rows_are_named(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"code": "", "input": ""}\n')
    command = [sys.executable, "-m", "cluster", "bench", "soak", "--programs", str(path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert done.stderr.strip().endswith("rows.jsonl:1: must have code, input and output, each a string")


def test_nothing_left_is_no_leak():
    assert leaks(NOTHING, NOTHING, [EARLY, LATE]) == []
    full = Census(("a",), ("pipe",), ("g",), ("m",), ("t",), ("s",))
    assert leaks(full, full, [EARLY, LATE]) == []
    assert leaks(full, NOTHING, [EARLY, LATE]) == []


@pytest.mark.parametrize("name", Census.__dataclass_fields__)
def test_whatever_is_left_is_named(name):
    after = replace(NOTHING, **{name: ("x", "y", "y")})
    before = replace(NOTHING, **{name: ("x", "y")})
    assert leaks(before, after, [EARLY, LATE]) == [f"{name.replace('_', ' ')}: 1 left, e.g. y"]


@pytest.mark.parametrize(
    ("late", "says"),
    [
        ({"parent_mib": 48.5}, "memory of the parent: from 40.0 to 48.5 MiB"),
        ({"parent_blocks": 92_001}, "objects of the parent: from 90000 to 92001 blocks of memory"),
        ({"zygotes_mib": (13.5, 16.0)}, "memory of a zygote: from 13.5 to 16.0 MiB"),
        ({"descriptors": 13}, "descriptors: 12 early, 13 late"),
        ({"zygote_descriptors": 15}, "zygote descriptors: 13 early, 15 late"),
    ],
)
def test_what_grows_is_named(late, says):
    assert leaks(NOTHING, NOTHING, [EARLY, replace(LATE, **late)]) == [says]


def test_a_little_more_memory_is_no_leak():
    late = replace(LATE, parent_mib=47.0, parent_blocks=91_000, zygotes_mib=(15.0, 15.0))
    assert leaks(NOTHING, NOTHING, [EARLY, late]) == []


def test_a_descriptor_is_seen():
    before = census()
    reader, writer = os.pipe()
    assert leaks(before, census(), [EARLY, LATE]) == ["descriptors: 2 left, e.g. pipe"]
    os.close(reader)
    os.close(writer)
    assert census() == before


def test_a_process_is_seen_wherever_it_ends_up():
    before = census()
    orphan = "import os, time\npid = os.fork()\nprint(pid, flush=True) if pid else time.sleep(60)"
    leader = subprocess.Popen([sys.executable, "-c", orphan], stdout=subprocess.PIPE, start_new_session=True, text=True)
    pid = int(leader.stdout.readline())
    leader.wait()
    (left,) = leaks(before, census(frozenset({leader.pid})), [EARLY, LATE])[:1]
    assert left.startswith("processes: 1 left, e.g. python")
    os.kill(pid, 9)
    leader.stdout.close()


def test_a_folder_of_the_sandbox_is_seen():
    before = census()
    with tempfile.TemporaryDirectory(prefix="codereason-box-") as folder:
        assert leaks(before, census(), [EARLY, LATE]) == [f"temporary files: 1 left, e.g. {folder}"]


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to nobody")
def test_a_file_of_nobodys_in_shared_memory_is_seen():
    before = census()
    path = Path(f"/dev/shm/soak-test-{os.getpid()}")
    path.write_text("x")
    try:
        os.chown(path, (1 << 31) - 9, -1)
        assert leaks(before, census(), [EARLY, LATE]) == [f"shared memory: 1 left, e.g. {path}"]
    finally:
        path.unlink()
