"""New namespaces, those of others, and the mounts that make up the file system."""

import ctypes
import os

from attacks.common import ATTACKS, HERE, attack, call, opened, reach

_FLAGS = {
    "time": 0x80, "mount": 0x20000, "cgroup": 0x02000000, "host_name": 0x04000000, "ipc": 0x08000000,
    "user": 0x10000000, "process": 0x20000000, "network": 0x40000000,
}  # fmt: skip

for _kind, _flag in _FLAGS.items():
    ATTACKS[f"new_{_kind}_namespace"] = lambda target, flag=_flag: call(272, flag)


@attack
def new_namespaces_through_a_user_namespace(target):
    call(272, _FLAGS["user"] | _FLAGS["mount"] | _FLAGS["network"])


@attack
def join_a_namespace(target):
    call(308, os.open(f"/proc/{target.zygote}/ns/uts", os.O_RDONLY), 0)


@attack
def join_a_namespace_through_a_pidfd(target):
    call(308, os.pidfd_open(target.zygote), _FLAGS["host_name"])


@attack
def share_no_descriptors(target):
    clone_files = 0x400
    call(272, clone_files)


@attack
def change_root(target):
    os.chroot("/")


@attack
def change_folder(target):
    os.chdir("/")


@attack
def change_folder_by_a_descriptor(target):
    os.fchdir(os.open(os.path.dirname(os.__file__), os.O_RDONLY))


@attack
def mount_a_file_system(target):
    """Of a kind there is not."""
    reach(165, b"none", b"/", b"escaped", 0, 0)


@attack
def mount_again(target):
    """On a folder that is no mount."""
    remount = 32
    reach(165, b"none", f"{os.path.dirname(os.__file__)}/json".encode(), 0, remount, 0)


@attack
def unmount(target):
    """A folder that is no mount."""
    reach(166, f"{os.path.dirname(os.__file__)}/json".encode(), 0)


@attack
def swap_the_root(target):
    reach(155, f"{target.folder}/none".encode(), b"/")


@attack
def clone_a_tree(target):
    clone = 1
    opened(428, HERE, b"/", clone)


@attack
def open_a_tree(target):
    opened(428, HERE, b"/", 0)


@attack
def move_a_mount(target):
    reach(429, -1, b"", -1, b"", 0)


@attack
def open_a_file_system(target):
    opened(430, b"tmpfs", 0)


@attack
def pick_a_file_system(target):
    opened(433, HERE, b"/", 0)


@attack
def configure_a_file_system(target):
    reach(431, -1, 0, b"", 0, 0)


@attack
def mount_an_open_file_system(target):
    reach(432, -1, 0, 0)


@attack
def change_a_mount(target):
    """By nothing."""
    call(442, HERE, b"/", 0, (ctypes.c_uint64 * 4)(), 32)


@attack
def list_the_mounts(target):
    everything = 0xFFFFFFFFFFFFFFFF
    request = (ctypes.c_uint64 * 3)(24, everything, 0)
    found = (ctypes.c_uint64 * 8)()
    call(458, request, found, 8, 0)
