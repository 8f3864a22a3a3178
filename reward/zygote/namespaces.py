"""Empty namespaces for the zygote to sit in: no network, no other process's IPC, and a root directory that holds
nothing but Python's standard library and what it is linked with, read-only."""

import os
from collections.abc import Sequence

from . import box, kernel

_RDONLY, _NOSUID, _NODEV, _NOEXEC = 1, 2, 4, 8
_REMOUNT, _BIND, _RECURSIVE, _PRIVATE = 32, 4096, 16384, 1 << 18
_STAGE = "/tmp"
_SEALED = "/sealed"
"""An empty file that can be opened by capability only, which the self-test looks for."""


def enter(*, user_namespace: bool) -> None:
    """New network, IPC, host name, cgroup and mount namespaces, inside a user namespace of their own if asked.

    Raises:
        OSError: the kernel, or the container around this process, does not allow it.
    """
    flags = kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS | kernel.CLONE_NEWCGROUP
    if not user_namespace:
        kernel.unshare(flags)
    else:
        uid, gid = os.getuid(), os.getgid()
        kernel.unshare(flags | kernel.CLONE_NEWUSER)
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/uid_map", f"{uid} {uid} 1")
        _write("/proc/self/gid_map", f"{gid} {gid} 1")
    kernel.name_host("sandbox")


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def replace_root(readable: Sequence[str]) -> None:
    """A read-only root directory that holds what is `readable` at its own path, an empty box, and nothing else.

    The directories above them are new ones that everybody may pass, so that a program finds the standard library
    under any uid, even where the interpreter lives in somebody's private home.

    Raises:
        OSError: a mount was refused.
    """
    kernel.mount("none", "/", None, _RECURSIVE | _PRIVATE)
    # Held open, because the new file system may be mounted over their way.
    opened = [os.open(path, os.O_PATH | os.O_CLOEXEC) for path in readable]
    kernel.mount("tmpfs", _STAGE, "tmpfs", _NOSUID | _NODEV | _NOEXEC, "size=1m,mode=755")
    for path, descriptor in zip(readable, opened, strict=True):
        _bind_read_only(f"/proc/self/fd/{descriptor}", _STAGE + path)
        os.close(descriptor)
    box.mounted(_STAGE)
    os.close(os.open(_STAGE + _SEALED, os.O_CREAT | os.O_WRONLY, mode=0))
    os.chdir(_STAGE)
    # Old and new root stacked in one place: pivot_root(2) describes this way of doing without a directory for the old.
    kernel.pivot_root(".", ".")
    kernel.detach(".")
    os.chdir("/")
    kernel.mount("none", "/", None, _REMOUNT | _BIND | _RDONLY | _NOSUID | _NODEV | _NOEXEC)


def _bind_read_only(source: str, target: str) -> None:
    if os.path.isdir(source):
        os.makedirs(target, mode=0o755, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
        os.close(os.open(target, os.O_CREAT | os.O_WRONLY, mode=0o444))
    kernel.mount(source, target, None, _BIND | _RECURSIVE)
    # In a user namespace a flag that the source carries may not be taken away.
    kept = os.statvfs(target).f_flag & _NOEXEC
    kernel.mount("none", target, None, _REMOUNT | _BIND | _RDONLY | _NOSUID | _NODEV | kept)
    packages = os.path.join(target, "site-packages")
    if os.path.isdir(packages):
        kernel.mount("tmpfs", packages, "tmpfs", _RDONLY | _NOSUID | _NODEV | _NOEXEC, "size=4k,mode=755")
