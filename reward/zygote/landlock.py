"""Landlock: the kernel's rules a process lays on itself. Reading a few files and directories, and nothing else."""

import ctypes
import os
import struct
from collections.abc import Iterable

from . import kernel

_SYS_CREATE, _SYS_ADD_RULE, _SYS_RESTRICT = 444, 445, 446
_ASK_VERSION = 1
_RULE_PATH_BENEATH = 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_SCOPE_ABSTRACT_UNIX, _SCOPE_SIGNAL = 1 << 0, 1 << 1
_BIND_TCP, _CONNECT_TCP = 1 << 0, 1 << 1


def abi() -> int:
    """The kernel's Landlock version; 0 where it has none."""
    try:
        return kernel.syscall("landlock", _SYS_CREATE, 0, 0, _ASK_VERSION)
    except OSError:
        return 0


def handled(version: int) -> tuple[int, int, int]:
    """What a kernel of this version can forbid: file, network and scope bits."""
    # 13 kinds of file access from the start; then renames across directories, truncation, device ioctls.
    files = 13 + (version >= 2) + (version >= 3) + (version >= 5)
    network = _BIND_TCP | _CONNECT_TCP if version >= 4 else 0
    scopes = _SCOPE_ABSTRACT_UNIX | _SCOPE_SIGNAL if version >= 6 else 0
    return (1 << files) - 1, network, scopes


def ruleset(readable: Iterable[str]) -> int:
    """A file descriptor of rules that forbid everything but reading what is `readable`, directories with all below.

    Raises:
        OSError: the kernel has no Landlock, or a path cannot be opened.
    """
    version = abi()
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    attributes = ctypes.create_string_buffer(struct.pack("=QQQ", *handled(version)), 24)
    descriptor = kernel.syscall("landlock_create_ruleset", _SYS_CREATE, attributes, size, 0)
    for path in readable:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        access = _READ_FILE | _READ_DIR if os.path.isdir(path) else _READ_FILE
        rule = ctypes.create_string_buffer(struct.pack("=Qi", access, opened), 12)
        kernel.syscall("landlock_add_rule", _SYS_ADD_RULE, descriptor, _RULE_PATH_BENEATH, rule, 0)
        os.close(opened)
    return descriptor


def restricting(rules: int) -> kernel.Call:
    """The call that lays the rules of `ruleset` on a process, for good. Needs no_new_privs."""
    return kernel.prepared("landlock_restrict_self", _SYS_RESTRICT, rules, 0)
