"""Every attack at every level, each layer alone, and controls with the layers off, so that no test passes on nothing.

An attack names itself in its verdict: a missing line, or another attack's, is a failure.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import attacks
import pytest

from reward.sandbox import Limits, Program, SandboxUnavailable
from reward.zygote.isolation import LAYERS, LEVELS
from reward.zygote_process import Zygote
from rl.verdicts import Verdict

SOURCE = Path(attacks.__file__).read_text(encoding="utf-8")
AS_ROOT = os.geteuid() == 0


@pytest.fixture(scope="module", params=LEVELS)
def zygote(request) -> Iterator[Zygote]:
    try:
        zygote = Zygote(request.param)
    except SandboxUnavailable:
        zygote = Zygote("nons")  # Which must be had wherever these tests run.
    yield zygote
    zygote.close()


@pytest.mark.parametrize("name", attacks.ATTACKS)
def test_blocked(zygote, name):
    assert str(run(zygote, name)).startswith(f"'BLOCKED {name}: ")
    assert zygote.run(Program("", "6 * 7"), Limits()).value == "42"


HELD_BY_SECCOMP = {
    "fork", "clone_by_number", "start_a_thread", "signal_the_zygote", "signal_by_number", "open_a_pidfd",
    "internet_socket", "local_socket", "pair_of_sockets", "write_to_tmp", "write_to_shared_memory", "make_a_folder",
    "raise_a_limit", "change_root", "kernel_interfaces", "writable_code", "stay_after_the_zygote",
}  # fmt: skip
HELD_BY_LANDLOCK = {
    "signal_the_zygote",
    "write_to_tmp",
    "make_a_folder",
    "make_a_link",
    "read_the_accounts",
    "read_a_device",
}
HELD_BY_NAMESPACES = {"read_the_accounts", "write_to_tmp", "list_the_processes", "list_the_root", "read_a_device"}
HELD_BY_PROCESS_NAMESPACE = {"signal_the_zygote", "signal_by_number", "open_a_pidfd"}
HELD_BY_PRIVILEGES = {"become_root", "change_root", "signal_the_zygote"} if AS_ROOT else set()
HELD = {
    "seccomp": HELD_BY_SECCOMP,
    "landlock": HELD_BY_LANDLOCK,
    "namespaces": HELD_BY_NAMESPACES,
    "process namespace": HELD_BY_PROCESS_NAMESPACE,
    "privileges": HELD_BY_PRIVILEGES,
}


@pytest.mark.parametrize("layer", HELD)
def test_each_layer_alone_holds_what_it_is_there_for(layer):
    level = "nons" if layer in ("seccomp", "landlock", "privileges") else "full" if AS_ROOT else "userns"
    # Without root, a process namespace is only to be had inside a user namespace.
    needed = {layer, "namespaces"} if level == "userns" else {layer}
    zygote = Zygote(level, (), tuple(other for other in LAYERS if other not in needed))
    outcomes = {name: run(zygote, name) for name in HELD[layer]}
    zygote.close()
    assert {name for name, value in outcomes.items() if not str(value).startswith(f"'BLOCKED {name}: ")} == set()


def test_without_any_layer_the_attacks_get_through():
    zygote = Zygote("nons", (), LAYERS)
    expected = set().union(*HELD.values()) - (set() if AS_ROOT else {"change_root"})
    outcomes = {name: run(zygote, name) for name in expected}
    zygote.close()
    assert {name for name, value in outcomes.items() if value != f"'ESCAPED {name}'"} == set()


STUBBORN = {
    "import signal\nfor s in (15, 14, 24, 2):\n    signal.signal(s, signal.SIG_IGN)\nwhile True: pass": Verdict.TIMEOUT,
    "import sys\nsys.setrecursionlimit(10**8)\ndef f(): return f()\nf()": Verdict.TIMEOUT,
    "import os\nos._exit = lambda code: None\nimport sys\nsys.exit(1)": Verdict.EXCEPTION,
    "import os, json\nos.write = json.dumps = None": Verdict.OK,
    "import builtins\nvars(builtins).update({name: None for name in dir(builtins) if name[0] != '_'})": Verdict.OK,
    "import sys\nsys.settrace(lambda *a: 1 / 0)": Verdict.OK,
    "import sys\nsys.setrecursionlimit(20)": Verdict.OK,
    "import sys\nsys.stdout.close()": Verdict.OK,
    "import sys\nsys.modules.clear()": Verdict.OK,
    "import os\nos.abort()": Verdict.CRASHED,
    "import json\njson.loads('[' * 10**6)": Verdict.EXCEPTION,
    "(" * 5000: Verdict.EXCEPTION,
    "-" * 10**6 + "1": Verdict.EXCEPTION,
    "x = 1\0": Verdict.EXCEPTION,
    "x = '\ud800'": Verdict.EXCEPTION,
}


@pytest.mark.parametrize("code", STUBBORN)
def test_stubborn_programs_get_the_verdict_they_earn(zygote, code):
    limits = Limits(wall_s=1, cpu_s=0.3, memory_mib=256)
    assert zygote.run(Program(code), limits).verdict is STUBBORN[code]
    assert zygote.run(Program("", "6 * 7"), Limits()).value == "42"


def test_the_child_knows_nothing_of_earlier_runs(zygote):
    canary = "canary" + "7" * 20
    zygote.run(Program(f"x = [{canary!r}]", f"{canary!r}"), Limits())
    hunt = "import gc\nfound = [o for o in gc.get_objects() if type(o) in (dict, list, tuple) and "
    hunt += "any(type(v) is str and len(v) == 26 and v[:6] == 'canary' for v in (o.values() if type(o) is dict else o))]"
    assert zygote.run(Program(hunt, "len(found)"), Limits()).value == "0"


def run(zygote: Zygote, name: str) -> str | None:
    return zygote.run(Program(SOURCE, f"outcome({name!r}, {zygote.pid})"), Limits()).value
