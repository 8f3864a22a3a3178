"""Files: those of the machine, and a victim that everybody may read and change where nothing but permissions protects it."""

import ctypes
import fcntl
import os

from attacks.common import HERE, Refused, attack, call, opened


def _create(folder):
    path = os.path.join(folder, f"escaped{os.getpid()}")
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT))
    os.unlink(path)


@attack
def write_to_tmp(target):
    _create("/tmp")


@attack
def write_to_shared_memory(target):
    _create("/dev/shm")


@attack
def write_to_the_working_directory(target):
    _create(".")


@attack
def write_without_a_name(target):
    os.close(os.open("/tmp", os.O_WRONLY | os.O_TMPFILE))


@attack
def change_the_standard_library(target):
    os.close(os.open(os.__file__, os.O_WRONLY | os.O_APPEND))


@attack
def change_its_own_file(target):
    os.close(os.open(__file__, os.O_WRONLY | os.O_APPEND))


@attack
def read_the_accounts(target):
    open("/etc/passwd").close()


@attack
def read_the_passwords(target):
    open("/etc/shadow").close()


@attack
def read_a_device(target):
    os.close(os.open("/dev/zero", os.O_RDONLY))


@attack
def list_the_root(target):
    if not set(os.listdir("/")) & {"etc", "proc", "sys", "dev"}:
        raise Refused


@attack
def list_a_home(target):
    os.listdir(os.path.expanduser("~root"))


@attack
def list_a_folder(target):
    os.listdir(target.folder)


@attack
def read_a_file(target):
    open(target.victim).close()


@attack
def read_a_file_through_a_link(target):
    open(f"{target.folder}/link").close()


@attack
def read_a_file_through_parents(target):
    open(os.path.dirname(os.__file__) + "/.." * 20 + target.victim).close()


@attack
def read_a_file_from_the_working_directory(target):
    open("../" * 20 + target.victim.lstrip("/")).close()


@attack
def read_a_file_below_a_descriptor(target):
    library = os.open(os.path.dirname(os.__file__), os.O_RDONLY)
    os.close(os.open("../" * 20 + target.victim.lstrip("/"), os.O_RDONLY, dir_fd=library))


@attack
def read_a_file_by_another_call(target):
    opened(437, HERE, target.victim.encode(), (ctypes.c_uint64 * 3)(), 24)


@attack
def write_a_file_by_another_call(target):
    opened(437, HERE, target.victim.encode(), (ctypes.c_uint64 * 3)(os.O_WRONLY), 24)


@attack
def hold_a_place(target):
    os.close(os.open(target.victim, os.O_PATH))


@attack
def name_a_file_by_handle(target):
    _handle(target.victim)


@attack
def open_a_file_by_handle(target):
    opened(304, os.open(os.path.dirname(target.victim), os.O_RDONLY), _handle(target.victim), 0)


def _handle(path):
    handle = (ctypes.c_uint32 * 34)(128)
    call(303, HERE, path.encode(), handle, ctypes.c_int(), 0)
    return handle


@attack
def write_a_file(target):
    os.close(os.open(target.victim, os.O_WRONLY))


@attack
def read_and_write_a_file(target):
    os.close(os.open(target.victim, os.O_RDWR))


@attack
def empty_a_file(target):
    os.close(os.open(f"{target.folder}/spare", os.O_RDONLY | os.O_TRUNC))


@attack
def cut_a_file(target):
    os.truncate(f"{target.folder}/spare", 0)


@attack
def create_by_number(target):
    opened(85, target.new.encode(), 0o600)
    os.unlink(target.new)


@attack
def make_a_folder(target):
    os.mkdir(target.new)
    os.rmdir(target.new)


@attack
def remove_a_folder(target):
    os.rmdir(f"{target.folder}/inner")
    os.mkdir(f"{target.folder}/inner")


@attack
def remove_a_file(target):
    os.unlink(f"{target.folder}/spare")
    os.close(os.open(f"{target.folder}/spare", os.O_CREAT))


@attack
def rename_a_file(target):
    os.rename(f"{target.folder}/spare", target.new)
    os.rename(target.new, f"{target.folder}/spare")


@attack
def make_a_link(target):
    os.symlink("/etc", target.new)
    os.unlink(target.new)


@attack
def make_a_hard_link(target):
    os.link(target.victim, target.new)
    os.unlink(target.new)


@attack
def make_a_named_pipe(target):
    os.mkfifo(target.new)
    os.unlink(target.new)


@attack
def make_a_device(target):
    os.mknod(target.new, 0o20600, os.makedev(1, 3))
    os.unlink(target.new)


@attack
def change_a_mode(target):
    os.chmod(target.victim, 0o666)


@attack
def change_a_mode_by_another_call(target):
    call(452, HERE, target.victim.encode(), 0o666, 0)


@attack
def change_a_mode_by_a_descriptor(target):
    os.fchmod(os.open(os.__file__, os.O_RDONLY), os.stat(os.__file__).st_mode & 0o777)


@attack
def change_an_owner(target):
    os.chown(target.victim, os.geteuid(), os.getegid())


@attack
def change_times(target):
    os.utime(target.victim)


@attack
def change_an_attribute(target):
    os.setxattr(target.victim, "trusted.escaped", b"1")
    os.removexattr(target.victim, "trusted.escaped")


@attack
def change_the_mask(target):
    os.umask(os.umask(0o22))


@attack
def lock_a_file(target):
    """The standard library is there for every program at the same time, so a lock on it is a way to talk."""
    fcntl.flock(os.open(os.__file__, os.O_RDONLY), fcntl.LOCK_SH | fcntl.LOCK_NB)


@attack
def lock_part_of_a_file(target):
    fcntl.lockf(os.open(os.__file__, os.O_RDONLY), fcntl.LOCK_SH | fcntl.LOCK_NB)


@attack
def lock_an_open_file(target):
    set_lock = 37
    fcntl.fcntl(os.open(os.__file__, os.O_RDONLY), set_lock, b"\0" * 32)


@attack
def lease_a_file(target):
    fcntl.fcntl(os.open(os.__file__, os.O_RDONLY), fcntl.F_SETLEASE, fcntl.F_RDLCK)


@attack
def be_told_of_changes(target):
    library = os.open(os.path.dirname(os.__file__), os.O_RDONLY)
    fcntl.fcntl(library, fcntl.F_NOTIFY, fcntl.DN_ACCESS)


@attack
def send_a_file(target):
    """Into a pipe of its own, by a call that needs no write."""
    _, end = os.pipe()
    os.sendfile(end, os.open(os.__file__, os.O_RDONLY), 0, 10)


@attack
def copy_a_file(target):
    with open(target.victim) as file, open(target.new, "w") as copy:
        os.copy_file_range(file.fileno(), copy.fileno(), 1)
    os.unlink(target.new)
