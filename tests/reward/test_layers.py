"""A sandbox states what holds and what does not, layer by layer; on a kernel that lacks something as well."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import reward.control_groups
from reward.control_groups import ControlGroup
from reward.layers import NAMES, Layers
from reward.sandbox import Sandbox, SandboxUnavailable
from reward.slots import Slots
from reward.zygote.isolation import LAYERS
from reward.zygote_process import Zygote

ROOT = Path(__file__).parents[2]
GROUPS = {"control group memory", "control group processes"}
AS_ROOT = os.geteuid() == 0

# A process for which one system call (by number and, if given, first argument) fails, as on a kernel that does not know it.
LACKING = """
import ctypes, json, struct, sys
from reward.zygote import kernel
from reward.sandbox import Sandbox, SandboxUnavailable
number, first, error, level = *map(int, sys.argv[1:4]), sys.argv[4]
code = [(0x20, 0, 0, 0), (0x15, 0, 3, number), (0x20, 0, 0, 16),
        (0x15, 0, 1, first) if first >= 0 else (0x05, 0, 0, 0), (6, 0, 0, 0x50000 | error), (6, 0, 0, 0x7FFF0000)]
raw = b"".join(struct.pack("<HBBI", *line) for line in code)
text = ctypes.create_string_buffer(raw, len(raw))
program = ctypes.create_string_buffer(struct.pack("<HxxxxxxQ", len(code), ctypes.addressof(text)), 16)
kernel.prctl("NO_NEW_PRIVS", kernel.PR_SET_NO_NEW_PRIVS, 1)
kernel.syscall("seccomp", 317, 1, 0, program)
try:
    with Sandbox(mode=level) as sandbox:
        print(json.dumps(sandbox.layers.as_json()))
except SandboxUnavailable as error:
    print(json.dumps(str(error)))
"""
LANDLOCK, PRCTL, MDWE, ENOSYS, EINVAL = 444, 157, 65, 38, 22


def lacking(number: int, first: int, error: int, level: str) -> object:
    done = subprocess.run(
        [sys.executable, "-c", LACKING, str(number), str(first), str(error), level],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def reached(level: str) -> Layers:
    try:
        with Sandbox(mode=level) as sandbox:
            return sandbox.layers
    except SandboxUnavailable as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    ("level", "missing"),
    [
        ("full", set()),
        ("userns", {"own user"}),
        ("nons", {"process namespace", "namespaces"} | (set() if AS_ROOT else {"own user"})),
    ],
)
def test_each_level_names_what_it_has_not(level, missing):
    layers = reached(level)
    kernel_made = {"landlock", "landlock TCP", "landlock signals", "no new code"}
    assert set(layers.missing) - GROUPS - kernel_made == missing
    assert all(layers.missing.values())
    assert {*layers.holding} | {*layers.missing} == set(NAMES)


def test_a_kernel_without_landlock_is_told_at_userns():
    with_it = reached("userns")
    told = lacking(LANDLOCK, -1, ENOSYS, "userns")
    assert set(told["missing"]) - set(with_it.missing) == {"landlock", "landlock TCP", "landlock signals"}
    assert told["missing"]["landlock"] == "this kernel has none, or has it switched off"
    assert "landlock" not in told["holds"]


@pytest.mark.parametrize("level", ["full", "nons"])
def test_without_landlock_the_other_levels_refuse(level):
    reached(level)
    assert "needs Landlock" in lacking(LANDLOCK, -1, ENOSYS, level)


def test_a_kernel_that_lets_memory_become_code_is_told():
    told = lacking(PRCTL, MDWE, EINVAL, "nons")
    assert told["missing"]["no new code"] == "prctl MDWE: Invalid argument; a kernel from 6.3 on can do it"


def test_a_host_without_writable_control_groups_is_told(monkeypatch):
    monkeypatch.setattr(reward.control_groups, "_read", lambda path: "")  # A host that mounts no control groups.
    assert set(ControlGroup(16).missing) == GROUPS
    with Sandbox(mode="nons") as sandbox:
        assert set(sandbox.layers.missing) >= GROUPS
        assert "control group memory (no folder" in str(sandbox.layers)


# A root that may do nothing that other users may not.
POWERLESS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
TOLD = """
import json, sys
from reward.sandbox import Program, Sandbox, SandboxUnavailable
try:
    with Sandbox(mode=sys.argv[1]) as sandbox:
        found = sandbox.run(Program("import os", "os.getuid()", files={"a": b"x"}))
        print(json.dumps([str(found.verdict), found.value, sandbox.layers.as_json()]))
except SandboxUnavailable as error:
    print(json.dumps(str(error)))
"""


def powerless(level: str, before: str = "") -> object:
    if not AS_ROOT or shutil.which("setpriv") is None:
        pytest.skip("takes root and setpriv")
    command = ["bash", "-c", f'{before}exec "$@"', "bash", *POWERLESS, sys.executable, "-c", TOLD, level]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_a_root_without_privileges_has_no_other_user_to_give_and_says_so():
    verdict, value, told = powerless("nons")
    assert (verdict, value) == ("ok", "0")
    assert "CAP_SETUID" in told["missing"]["own user"]
    assert {"no capabilities", "landlock", "seccomp"} <= {*told["holds"]}


def test_a_root_without_privileges_is_told_what_the_highest_level_takes():
    assert "give the container CAP_SYS_ADMIN" in powerless("full")


def test_an_inherited_limit_that_is_in_the_way_is_named():
    told = powerless("nons", "ulimit -n 40; ")
    assert told.startswith("level nons: [Errno 1] setrlimit RLIMIT_NOFILE to 64, perhaps above the limit that was inherited")


def test_a_refusal_by_the_machine_is_told_in_one_line():
    dumpable = 4
    told = lacking(PRCTL, dumpable, EINVAL, "nons")
    assert told == (
        "level nons: [Errno 22] prctl DUMPABLE: Invalid argument: this machine refuses what the level is made of; allow it, "
        "or use another level"
    )


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_left_out_is_told(layer):
    zygote = Zygote("nons", (), (layer,))
    zygote.close()
    assert zygote.layers.missing[layer]


def test_slots_tell_the_statement_of_their_weakest():
    with Slots(2, mode="nons") as slots:
        strong, weak = (sandbox.layers for sandbox in slots._sandboxes)
        assert slots.layers in (strong, weak)
        slots._sandboxes[1]._layers = Layers("nons", dict.fromkeys(NAMES, "gone"))
        assert slots.layers.holding == []


def test_the_statement_in_one_line():
    layers = Layers("userns", {"landlock": "this kernel has none"})
    assert str(layers).startswith("level userns; holds: limits, process namespace, namespaces, ")
    assert str(layers).endswith("; does not hold: landlock (this kernel has none)")
    assert str(Layers("full", {})).endswith("; does not hold: nothing")
