"""Every attack at every level, each layer alone, and controls with the layers off, so that no test passes on nothing.

An attack names itself in its verdict: a missing line, or another attack's, is a failure.
"""

import ctypes
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import attack_sets
import pytest
from attack_runs import THEME_OF, attack
from attacks.common import ATTACKS, Target

from reward.sandbox import Limits, Program, SandboxUnavailable
from reward.zygote.isolation import LAYERS, LEVELS
from reward.zygote_process import Zygote

AS_ROOT = os.geteuid() == 0
EVERY = frozenset(THEME_OF)
HELD = attack_sets.held(EVERY, as_root=AS_ROOT)
KILLED = {"x32_call", "negative_call", "i386_call"}
"""The filter ends the process at another calling convention, so the line before the attack is the last there is."""


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


@pytest.fixture(scope="module", params=LEVELS)
def zygote(request) -> Iterator[Zygote]:
    try:
        zygote = Zygote(request.param)
    except SandboxUnavailable:
        zygote = Zygote("nons")  # Which must be had wherever these tests run.
    yield zygote
    zygote.close()


def blocked(name: str, line: str) -> bool:
    return line.startswith(f"BLOCKED {name}: ") or (name in KILLED and line == f"crashed after ATTEMPT {name}")


@pytest.mark.parametrize("name", THEME_OF)
def test_blocked(zygote, folder, name):
    line = attack(zygote, name, folder)
    assert blocked(name, line), line
    assert zygote.run(Program("", "6 * 7"), Limits()).value == "42"


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
