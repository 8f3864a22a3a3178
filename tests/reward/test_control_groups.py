"""The group around a sandbox: where it would be made, what it holds alone, and that it goes away."""

import os
import subprocess
import threading
import time

import pytest

import reward.control_groups
from reward.control_groups import PROCESSES, ControlGroup, Place, places
from reward.sandbox import Limits, Program, Sandbox, SandboxUnavailable
from reward.zygote.isolation import LAYERS
from reward.zygote_process import Zygote
from rl.verdicts import Verdict

VERSION_1 = (
    "tmpfs /sys/fs/cgroup tmpfs rw 0 0\ncgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0\n"
    "cgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0\ncgroup /sys/fs/cgroup/cpu cgroup rw,cpu,cpuacct 0 0\n"
)
VERSION_2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n"


def test_version_1_has_a_place_for_each_controller(tmp_path):
    found = places(VERSION_1, "4:memory:/jobs/7\n3:cpu,cpuacct:/\n2:pids:/\n0::/\n", tmp_path)
    top = tmp_path / "sys/fs/cgroup"
    assert found == [
        Place(top / "memory/jobs/7", "memory.limit_in_bytes", None),
        Place(top / "pids", None, "pids.max"),
    ]


@pytest.mark.parametrize(("shared", "count"), [("cpu memory pids", 1), ("cpu", 0), (None, 0)])
def test_version_2_needs_both_controllers_shared_out_beside_our_own_group(tmp_path, shared, count):
    parent = tmp_path / "sys/fs/cgroup/user"
    parent.mkdir(parents=True)
    if shared is not None:
        (parent / "cgroup.subtree_control").write_text(shared)
    assert places(VERSION_2, "0::/user/me\n", tmp_path) == [Place(parent, "memory.max", "pids.max")] * count


def test_at_the_top_of_version_2_there_is_no_place(tmp_path):
    assert places(VERSION_2, "0::/\n", tmp_path) == []


@pytest.fixture
def bounded():
    group = ControlGroup(16)
    folders = [*group._folders]
    bounded = group.bounded
    group.remove()
    if not bounded:
        pytest.skip("this host lets us make no control group")
    assert not any(folder.exists() for folder in folders)
    return [folder.parent for folder in folders]


def test_the_group_alone_holds_memory(bounded):
    eat = Program("blocks = [bytearray(1 << 20) for _ in range(400)]", "len(blocks)")
    limits = Limits(wall_s=5, cpu_s=4, memory_mib=2048)
    zygote = Zygote("nons", (), LAYERS, memory_mib=16)
    held = zygote.run(eat, limits)
    zygote.close()
    roomy = Zygote("nons", (), LAYERS, memory_mib=2048)
    free = roomy.run(eat, limits)
    roomy.close()
    assert (held.verdict, free.verdict, free.value) == (Verdict.MEMORY, Verdict.OK, "400")


def test_the_group_alone_holds_a_fork_bomb(bounded):
    bomb = (
        "import os, time\nborn = 0\ntry:\n    for _ in range(500):\n        if os.fork() == 0:\n            time.sleep(30)\n"
        "            os._exit(0)\n        born += 1\nexcept OSError as error:\n    stopped = error.errno"
    )
    # Its children die with it, since they share a process namespace; every other layer is off.
    level = "full" if "full" in _available() else "userns"
    without = tuple(layer for layer in LAYERS if layer not in ("process namespace", "namespaces"))
    zygote = Zygote(level, (), without, memory_mib=512)
    execution = zygote.run(Program(bomb, "(born, stopped)"), Limits(wall_s=5, cpu_s=4))
    zygote.close()
    born, stopped = eval(execution.value)
    assert (born < PROCESSES, stopped) == (True, 11)


def test_nothing_is_left_of_a_closed_sandbox_and_of_a_dead_one(bounded):
    stale = bounded[0] / "codereason-4194999-0"
    stale.mkdir()
    with Sandbox() as sandbox:
        assert not stale.exists()
        assert sandbox._zygote.group.bounded
        folders = [*sandbox._zygote.group._folders]
        assert all(folder.exists() for folder in folders)
    assert not any(folder.exists() for folder in folders)


def test_no_group_is_left_of_a_zygote_killed_in_the_middle_of_a_run(bounded):
    def ours():
        return {path for place in bounded for path in place.glob(f"codereason-{os.getpid()}-*")}

    before = ours()
    with Sandbox(Limits(wall_s=5)) as sandbox:
        for _ in range(4):
            killer = threading.Timer(0.1, os.kill, (sandbox._zygote.pid, 9))
            killer.start()
            assert sandbox.run(Program("import time\nblock = bytearray(200 << 20)\ntime.sleep(0.3)", "1")).value == "1"
            killer.join()
        assert sandbox.restarts == 4
    assert (ours() - before, reward.control_groups._left) == (set(), set())


def test_a_group_that_cannot_go_yet_goes_with_the_next_one(bounded):
    group = ControlGroup(16)
    folders = [*group._folders]
    with subprocess.Popen(["sleep", "30"]) as member:
        group.take(member.pid)
        began = time.monotonic()
        group.remove()
        assert 1 <= time.monotonic() - began < 5
        member.kill()
    assert reward.control_groups._left == set(folders)
    ControlGroup(16).remove()
    assert not any(folder.exists() for folder in folders)
    assert reward.control_groups._left == set()


def _available() -> list[str]:
    levels = []
    for level in ("full", "userns", "nons"):
        try:
            Sandbox(mode=level).close()
        except SandboxUnavailable:
            continue
        levels.append(level)
    return levels
