"""The interpreter's code goes into huge pages whole or not at all, and still runs."""

import subprocess
import sys
from pathlib import Path

import pytest

import reward
from reward.zygote.huge_code import surroundings

MAPS = """\
00400000-00401000 r--p 00000000 fe:00 11 /usr/bin/python with a space
00401000-00500000 r-xp 00001000 fe:00 11 /usr/bin/python with a space
00500000-00600000 r--p 00100000 fe:00 11 /usr/bin/python with a space
00600000-00601000 rw-p 00200000 fe:00 11 /usr/bin/python with a space
00601000-00700000 rw-p 00000000 00:00 0
00800000-00801000 r-xp 00000000 fe:00 12 /usr/lib/one.so
00801000-00802000 r-xp 00000000 fe:00 13 /usr/lib/two.so
00900000-00a00000 r-xp 00000000 fe:00 13 /usr/lib/two.so
00b00000-00b01000 r-xp 00000000 00:00 0
00c00000-00c01000 r--s 00000000 fe:00 14 /usr/lib/shared
"""

MOVED = """
import re, sys
sys.path.append(sys.argv[1])
from zygote import huge_code
size = huge_code.move()
maps = open("/proc/self/maps").read()
whole = [int(end, 16) - int(begin, 16) for begin, end in re.findall(r"^(\\w+)-(\\w+) r-xp 0+ 00:00 0\\s*$", maps, re.M)]
written = re.findall(r"^.* rwxp .*$", maps, re.M)
huge_code.ctypes.pythonapi.Py_GetVersion()
print(size, size in (0, *whole), size % (2 << 20), written, sum(x * x for x in range(1000)), eval("[1, 'a'] * 2"))
"""


@pytest.mark.parametrize("address", [0x400000, 0x401000, 0x4FFFFF, 0x5FFFFF])
def test_mappings_of_one_file_that_adjoin_are_one(address):
    assert surroundings(address, MAPS) == (0x400000, 0x600000)


@pytest.mark.parametrize(
    ("address", "found"),
    {
        0x600000: (0, 0),
        0x650000: (0, 0),
        0x700000: (0, 0),
        0x800000: (0x800000, 0x801000),
        0x801000: (0x801000, 0x802000),
        0x900000: (0x900000, 0xA00000),
        0xB00000: (0, 0),
        0xC00000: (0, 0),
        0xD00000: (0, 0),
    }.items(),
)
def test_what_is_written_shared_of_another_file_or_apart_is_left(address, found):
    assert surroundings(address, MAPS) == found


def test_code_that_was_moved_runs():
    line = [sys.executable, "-S", "-s", "-P", "-X", "utf8", "-c", MOVED, str(Path(reward.__file__).parent)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=True)
    _, *rest = done.stdout.split(maxsplit=1)
    assert rest == ["True 0 [] 332833500 [1, 'a', 1, 'a']\n"]
