"""Every attack at every level, each layer alone, and controls with the layers off, so that no test passes on nothing.

An attack names itself in its verdict: a missing line, or another attack's, is a failure.
"""

import ctypes
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attack_sets
import pytest
from attack_runs import THEME_OF, attack, blocked
from attacks.common import ATTACKS, Target

from reward.sandbox import Limits, Program
from reward.zygote.isolation import LAYERS
from reward.zygote_process import Zygote

ROOT = Path(__file__).parents[2]
AS_ROOT = os.geteuid() == 0
EVERY = frozenset(THEME_OF)
HELD = attack_sets.held(EVERY, as_root=AS_ROOT)


@pytest.fixture(scope="module")
def folder() -> Iterator[str]:
    """A folder that everybody may change, with a file `victim`."""
    with tempfile.TemporaryDirectory() as path:
        for name in ("victim", "spare"):
            Path(path, name).write_text("x")
            os.chmod(f"{path}/{name}", 0o666)
        os.mkdir(f"{path}/inner")
        os.symlink("victim", f"{path}/link")
        os.chmod(path, 0o777)
        yield path


@pytest.mark.parametrize("name", THEME_OF)
def test_blocked(zygote, folder, name):
    line = attack(zygote, name, folder)
    assert blocked(name, line), line
    assert zygote.run(Program("", "6 * 7"), Limits()).value == "42"


ANOTHER = """
import json, sys, tempfile
sys.path[:0] = sys.argv[1:]
from attack_runs import THEME_OF, attack, blocked
from reward.sandbox import SandboxUnavailable
from reward.zygote_process import Zygote
found = {}
for level in ("userns", "nons"):
    try:
        zygote = Zygote(level)
    except SandboxUnavailable as error:
        continue
    with tempfile.TemporaryDirectory() as folder:
        lines = [(name, attack(zygote, name, folder)) for name in THEME_OF]
    zygote.close()
    found[level] = [len(lines), [line for name, line in lines if not blocked(name, line)]]
print(json.dumps(found))
"""
"""Without root, of which all else here may have something."""


@pytest.mark.skipif(not AS_ROOT, reason="these tests run without root as they are")
def test_every_attack_is_blocked_for_a_user_without_privileges():
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    for python in (sys.executable, "/usr/bin/python3"):
        command = [*nobody, python, "-c"]
        # It must be able to start itself, as a zygote is started.
        alike = f"import subprocess, sys\nassert sys.version_info[:2] == {sys.version_info[:2]}\n"
        alike += "subprocess.run([sys.executable, '-c', ''], check=True)"
        try:
            if subprocess.run([*command, alike], capture_output=True, timeout=60, check=False).returncode == 0:
                break
        except OSError as error:
            pytest.skip(f"no setpriv here: {error}")
    else:
        pytest.skip(f"no Python {sys.version_info[0]}.{sys.version_info[1]} here that every user may run")
    ways = [str(ROOT), str(ROOT / "tests" / "reward")]
    done = subprocess.run([*command, ANOTHER, *ways], cwd="/", capture_output=True, text=True, timeout=600, check=False)
    assert done.stderr == ""
    found = json.loads(done.stdout)
    assert "nons" in found
    assert set(map(json.dumps, found.values())) == {json.dumps([len(EVERY), []])}


def test_the_victim_is_unharmed(zygote, folder):
    assert sorted(os.listdir(folder)) == ["inner", "link", "spare", "victim"]
    assert Path(folder, "victim").read_text() == Path(folder, "spare").read_text() == "x"


def outcomes(level: str, without: tuple[str, ...], names: frozenset[str], folder: str) -> dict[str, str]:
    """The lines of the attacks with some layers off."""
    zygote = Zygote(level, (), without)
    try:
        return {name: attack(zygote, name, folder) for name in sorted(names)}
    finally:
        zygote.close()
        # Where a limit refuses `named_message_queue` the descriptor, the queue's name stays.
        ctypes.CDLL(None).mq_unlink(f"/escaped{zygote.pid}".encode())


@pytest.mark.parametrize("layer", HELD)
def test_each_layer_alone_holds_what_it_is_there_for(layer, folder):
    if layer == "privileges" and not AS_ROOT:
        pytest.skip("without root there are none to take away")
    level = "nons" if layer in ("seccomp", "landlock", "privileges", "limits") else "full" if AS_ROOT else "userns"
    # Without root, a process namespace is only to be had inside a user namespace.
    needed = {layer, "namespaces"} if level == "userns" else {layer}
    lines = outcomes(level, tuple(other for other in LAYERS if other not in needed), HELD[layer], folder)
    assert {line for name, line in lines.items() if not blocked(name, line)} == set()


def test_two_layers_hold_what_neither_holds_alone(folder):
    without = tuple(layer for layer in LAYERS if layer not in ("limits", "privileges"))
    lines = outcomes("nons", without, attack_sets.BY_LIMITS_AND_PRIVILEGES, folder)
    assert {line for name, line in lines.items() if not blocked(name, line)} == set()


def test_without_any_layer_every_attack_gets_through_but_a_known_few(folder):
    expected = EVERY - attack_sets.NEVER_HERE.keys() - (frozenset() if AS_ROOT else attack_sets.NEEDS_ROOT)
    lines = outcomes("nons", LAYERS, expected, folder)
    assert {name: line for name, line in lines.items() if line != f"ESCAPED {name}"} == {}


def test_every_attack_that_can_get_through_is_held_by_a_layer_that_was_tested_alone():
    tested = attack_sets.BY_LIMITS_AND_PRIVILEGES.union(*HELD.values())
    assert tested >= EVERY - attack_sets.NEVER_HERE.keys() - attack_sets.NEEDS_ROOT


def test_the_sets_name_attacks():
    assert (
        set().union(attack_sets.NEVER_HERE, attack_sets.NEEDS_ROOT, attack_sets.BY_LIMITS_AND_PRIVILEGES, *HELD.values())
        <= EVERY
    )
    assert len(EVERY) >= 110
    assert len(attack_sets.NEVER_HERE) <= 14


def test_a_spare_descriptor_would_be_found(folder):
    ATTACKS["find_a_spare_descriptor"](Target(os.getpid(), folder))  # Pytest has many open.
