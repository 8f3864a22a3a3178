"""A run some part of which is killed without warning, against one that was left alone: both end alike."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from cluster.runs import read_jsonl

ROOT = Path(__file__).parents[2]
SMOKE = str(ROOT / "configs" / "smoke.yaml")
CLOCKS = {"seconds", "tokens_per_s", "restarts"}
PARTS = {
    "experience": "ray::ExperienceStream",
    "learner": "ray::RayTrainWorker",
    "rollout": "ray::ServeReplica:killed-rollout",
    "reward": "ray::ServeReplica:killed-reward",
    "controller": "ray::ServeController",
}
"""What the command lines of a run's processes hold."""
MARK = "CODEREASON_TEST"
ZYGOTE, ENGINE, RAYLET = "from zygote.serve import main", "VLLM::EngineCore", "raylet/raylet"


@contextmanager
def nothing_left():
    """No process and no file in shared memory is left behind by the block.

    What the block starts bears a mark. To adopt what loses its parent would not do: Ray's workers see by their parent, which
    is then the first process, that their raylet has died.
    """
    shared = set(os.listdir("/dev/shm"))
    os.environ[MARK] = uuid.uuid4().hex
    yield
    deadline = time.monotonic() + 60
    while (left := marked(os.environ[MARK])) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert not left
    assert not set(os.listdir("/dev/shm")) - shared


def marked(mark):
    """Command lines of the living processes that were started with this mark."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get(MARK) == mark and process.pid != os.getpid():
                found.append(process.cmdline())
    return found


def start(runs, name, *overrides, inside=(), env=None):
    command = [
        *inside,
        sys.executable,
        "-m",
        "cluster",
        "run",
        SMOKE,
        f"name={name}",
        "--runs",
        str(runs),
        "evaluation.every=null",
    ]
    command += overrides
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finished(process):
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err[-3000:]
    return out


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    runs = tmp_path_factory.mktemp("runs")
    finished(start(runs, "whole"))
    return runs / "whole"


def rows(run, stage):
    """The stage's metrics by step, those of a step that was done twice but once, without clocks."""
    found = {row["step"]: row for row in read_jsonl(run / "metrics.jsonl") if row["stage"] == stage}
    return [{key: row[key] for key in row if key not in CLOCKS and not key.endswith("_s")} for row in found.values()]


def reached(process, run, stage, count):
    deadline = time.monotonic() + 600
    while len(rows(run, stage)) < count:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "it got nowhere"
        time.sleep(0.05)


def same(run, whole):
    for stage in ("sft", "rl"):
        assert rows(run, stage) == rows(whole, stage)
    for step in range(1, len(rows(whole, "rl")) + 1):
        file = Path("rollouts") / "rl" / f"step-{step:05d}.jsonl"
        found, wanted = ([(row["problem_id"], row["text"]) for row in read_jsonl(one / file)] for one in (run, whole))
        assert found == wanted


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "count"), [("sft", 1), ("rl", 3)])
def test_a_run_whose_driver_is_killed_goes_on_when_it_is_started_again(tmp_path, whole, stage, count):
    run = tmp_path / "killed"
    with nothing_left():
        process = start(tmp_path, "killed")
        reached(process, run, stage, count)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
    out = finished(start(tmp_path, "killed"))
    same(run, whole)
    assert re.search("^driver: it was killed, or its machine was; ", out, re.MULTILINE)
    assert failures(run)["driver"] >= 0


@pytest.mark.slow
def test_a_run_whose_folder_is_lost_goes_on_from_its_second_place(tmp_path, whole):
    run, second = tmp_path / "killed", tmp_path / "second"
    place = (f"cluster.copy_to={second.as_uri()}", "cluster.copy_every_s=1")
    with nothing_left():
        process = start(tmp_path, "killed", *place)
        reached(process, run, "rl", 4)
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
    shutil.rmtree(run)
    out = finished(start(tmp_path, "killed", *place))
    assert f"fetched from {second.as_uri()}/killed" in out
    same(run, whole)
    assert json.loads((second / "killed" / "summary.json").read_text()) == json.loads((run / "summary.json").read_text())


def victim(process, words):
    found = [one for one in psutil.Process(process.pid).children(recursive=True) if words in " ".join(one.cmdline())]
    assert found
    return found[0]


def failures(run):
    """What the summary says of what broke: seconds until it worked again, by part."""
    return {one["part"]: one["recovery_s"] for one in json.loads((run / "summary.json").read_text())["failures"]}


@pytest.mark.slow
@pytest.mark.parametrize("part", PARTS)
def test_a_run_part_of_which_is_killed_goes_on_by_itself_and_says_so(tmp_path, whole, part):
    run = tmp_path / "killed"
    with nothing_left():
        process = start(tmp_path, "killed")
        reached(process, run, "rl", 2)
        victim(process, PARTS[part]).kill()
        out = finished(process)
    same(run, whole)
    assert 0 <= failures(run)[part] < 240
    assert re.search(f"^{part}: .+; .+", out, re.MULTILINE)
    assert re.search(f"^{part}: recovered after", out, re.MULTILINE)


@pytest.mark.slow
def test_a_zygote_that_is_killed_is_replaced_and_nothing_else_notices(tmp_path, whole):
    run = tmp_path / "killed"
    with nothing_left():
        process = start(tmp_path, "killed")
        reached(process, run, "rl", 2)
        victim(process, ZYGOTE).kill()
        finished(process)
    same(run, whole)
    assert failures(run) == {}


@pytest.mark.slow
def test_a_rollout_replica_that_hangs_is_replaced_before_anybody_has_waited_long(tmp_path, whole):
    run = tmp_path / "killed"
    with nothing_left():
        process = start(tmp_path, "killed", "cluster.silent_s=8")
        reached(process, run, "rl", 2)
        victim(process, PARTS["rollout"]).send_signal(signal.SIGSTOP)
        out = finished(process)
    same(run, whole)
    assert re.search("^rollout: .+ is silent; it is killed", out, re.MULTILINE)
    assert max(row["sync_s"] + row["wait_s"] for row in read_jsonl(run / "metrics.jsonl") if row["stage"] == "rl") < 180


@pytest.mark.slow
def test_a_cluster_of_the_runs_own_that_dies_ends_the_run_which_goes_on_when_it_is_started_again(tmp_path, whole):
    run = tmp_path / "killed"
    with nothing_left():
        process = start(tmp_path, "killed")
        reached(process, run, "rl", 2)
        victim(process, RAYLET).kill()
        _, err = process.communicate(timeout=300)
        assert process.returncode == 1
        assert "goes on from the last checkpoint" in err.splitlines()[-1]
    finished(start(tmp_path, "killed"))
    same(run, whole)


@pytest.mark.slow
def test_an_engine_in_a_process_of_its_own_that_is_killed_is_replaced_with_its_replica(tmp_path):
    run = tmp_path / "killed"
    with nothing_left():
        process = start(tmp_path, "killed", "rollout.tensor_parallel=2")
        reached(process, run, "rl", 2)
        victim(process, ENGINE).kill()
        finished(process)
    assert [row["step"] for row in rows(run, "rl")] == [1, 2, 3, 4, 5, 6]
    for step in range(1, 7):
        sampled = Counter(row["problem_id"] for row in read_jsonl(run / "rollouts" / "rl" / f"step-{step:05d}.jsonl"))
        assert sampled == dict.fromkeys(sampled, 4)
        assert len(sampled) == 4
    assert failures(run)["rollout"] is not None


@pytest.fixture
def nodes(head):
    """Two nodes beside the head, each with room for a rollout replica."""
    command = [Path(sys.executable).parent / "ray", "start", f"--address={head.address}", "--num-cpus=1", "--block"]
    command += ["--node-ip-address=127.0.0.1", '--resources={"rollout": 1}', "--object-store-memory=100000000"]
    started = [
        subprocess.Popen(command, env=head.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        for _ in range(2)
    ]
    yield started
    for one in started:
        one.terminate()
        one.wait(timeout=120)


@pytest.mark.slow
def test_a_node_that_dies_is_named_and_its_replica_starts_on_another(tmp_path, head, nodes, whole):
    run = tmp_path / "killed"
    process = start(
        tmp_path,
        "killed",
        f"cluster.address={head.address}",
        "cluster.wait_for_nodes_s=60",
        "rollout.resources={rollout: 1}",
        env=head.environment,
    )
    reached(process, run, "rl", 2)
    for node in nodes:
        below = psutil.Process(node.pid).children(recursive=True)
        if any(PARTS["rollout"] in " ".join(one.cmdline()) for one in below):
            next(one for one in below if RAYLET in " ".join(one.cmdline())).kill()
    out = finished(process)
    same(run, whole)
    assert failures(run).keys() == {"node", "rollout"}
    assert re.search("^node: 127.0.0.1/.+ is gone; ", out, re.MULTILINE)
    assert re.search("^rollout: recovered after .+ works$", out, re.MULTILINE)


@contextmanager
def small_disk(place):
    """A file system of 300 MiB at this place, for commands that begin as this says; and where others find it."""
    place.mkdir()
    command = f"mount -t tmpfs -o size=300m none {place} && echo there && exec sleep 3600"
    holder = subprocess.Popen(["unshare", "-rm", "sh", "-c", command], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "there\n"
        yield (
            ["nsenter", f"--target={holder.pid}", "--user", "--mount", "--preserve-credentials", f"--wd={ROOT}"],
            Path(f"/proc/{holder.pid}/root{place}"),
        )
    finally:
        holder.kill()
        holder.communicate()


def fill(disk):
    with (disk / "filler").open("wb") as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
            file.flush()


@pytest.mark.slow
def test_a_full_disk_ends_the_run_in_one_line_and_it_goes_on_when_there_is_room(tmp_path, whole):
    with nothing_left(), small_disk(tmp_path / "small") as (inside, disk):
        run = disk / "killed"
        process = start(tmp_path / "small", "killed", inside=inside)
        reached(process, run, "rl", 2)
        fill(disk)
        _, err = process.communicate(timeout=600)
        assert process.returncode in (1, 2)
        assert "No space left on device" in err
        assert "Traceback" not in err
        (disk / "filler").unlink()
        finished(start(tmp_path / "small", "killed", inside=inside))
        same(run, whole)
