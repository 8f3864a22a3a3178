"""Libraries' code and constants become one mapping, the interpreter's go into huge pages or stay, and all still runs."""

import subprocess
import sys
from pathlib import Path

import reward
from reward.zygote import mappings
from reward.zygote.mappings import stretches

MAPS = """\
00400000-00401000 r--p 00000000 fe:00 11 /usr/bin/python with a space
00401000-00500000 r-xp 00001000 fe:00 11 /usr/bin/python with a space
00500000-00600000 r--p 00100000 fe:00 11 /usr/bin/python with a space
00600000-00601000 rw-p 00200000 fe:00 11 /usr/bin/python with a space
00601000-00700000 rw-p 00000000 00:00 0
00800000-00801000 r-xp 00000000 fe:00 12 /usr/lib/one.so
00801000-00802000 r-xp 00000000 fe:00 13 /usr/lib/two.so
00802000-00803000 r--p 00001000 fe:00 13 /usr/lib/two.so
00803000-00804000 r--p 00001000 fe:00 13 /usr/lib/two.so
00900000-00a00000 r--p 00000000 fe:00 13 /usr/lib/two.so
00b00000-00b01000 r-xp 00000000 00:00 0
00c00000-00c01000 r--s 00000000 fe:00 14 /usr/lib/shared
00d00000-00d01000 r-xp 00000000 00:00 0 [vdso]
"""

MOVED = """
import math, re, sys
sys.path.append(sys.argv[1])
from zygote import mappings
before = open("/proc/self/maps").read()
size = mappings.move()
moved = open("/proc/self/maps").read()
mappings.merge()
after = open("/proc/self/maps").read()
whole = [int(end, 16) - int(begin, 16) for begin, end in re.findall(r"^(\\w+)-(\\w+) r-xp 0+ 00:00 0\\s*$", moved, re.M)]
assert size in (0, *whole) and size % (2 << 20) == 0, (size, moved)
assert re.findall("^.* .w.. .*$", before, re.M) != [] and " rwx" not in after
assert after.count("/_ctypes") < before.count("/_ctypes"), after
mappings.ctypes.pythonapi.Py_GetVersion()
print(sum(x * x for x in range(1000)), eval("[1, 'a'] * 2"), math.cos(0), re.sub("a+", "b", "caat"))
"""


def test_code_with_its_constants_is_one_stretch_and_all_else_is_left():
    assert stretches(MAPS) == [(0x400000, 0x600000), (0x800000, 0x801000), (0x801000, 0x803000)]


def test_nothing_is_mapped():
    assert stretches("") == []


def test_code_that_was_moved_and_merged_runs():
    line = [sys.executable, "-S", "-s", "-P", "-X", "utf8", "-c", MOVED, str(Path(reward.__file__).parent)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("332833500 [1, 'a', 1, 'a'] 1.0 cbt\n", "")


def test_what_the_kernel_tells_nothing_of_counts_as_nothing(monkeypatch):
    assert mappings._huge_bytes(1) == 0

    def no_such_file(*_, **__):
        raise FileNotFoundError("/proc/self/smaps")

    monkeypatch.setattr(mappings, "open", no_such_file, raising=False)
    assert mappings._huge_bytes(1) == 0
