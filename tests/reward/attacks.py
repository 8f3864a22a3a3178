"""Attacks on the sandbox, run inside it by `test_attacks`: `outcome(name, target)` says BLOCKED or ESCAPED, and how.

An attack that the system refuses raises OSError (or what a library makes of it); one that returns has escaped. `target`
is the process id of the zygote. Attacks that succeed do no harm and clean up after themselves.
"""

import ctypes
import mmap
import os
import resource
import signal
import socket
import subprocess
import threading

ATTACKS = {}
libc = ctypes.CDLL(None, use_errno=True)


class Refused(Exception):
    """The system said no in another way than by OSError."""


def attack(function):
    ATTACKS[function.__name__] = function
    return function


def outcome(name, target):
    try:
        ATTACKS[name](target)
    except (OSError, Refused, ValueError, RuntimeError) as error:
        return f"BLOCKED {name}: {type(error).__name__}"
    return f"ESCAPED {name}"


def call(number, *arguments):
    """A system call by its number; raises OSError where it fails."""
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_long(argument) for argument in arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


# Processes


@attack
def fork(target):
    if os.fork() == 0:
        os._exit(0)
    os.wait()


@attack
def vfork_by_number(target):
    if libc.vfork() < 0:
        raise Refused
    os._exit(3)


@attack
def clone_by_number(target):
    if call(56, signal.SIGCHLD, 0, 0, 0, 0) == 0:
        os._exit(0)


@attack
def clone3_by_number(target):
    arguments = (ctypes.c_uint64 * 11)()
    arguments[4] = signal.SIGCHLD
    if call(435, ctypes.addressof(arguments), ctypes.sizeof(arguments)) == 0:
        os._exit(0)


@attack
def spawn_a_shell(target):
    os.posix_spawn("/bin/sh", ["sh", "-c", "true"], {})


@attack
def run_a_command(target):
    subprocess.run(["id"], check=True)


@attack
def system(target):
    if os.system("true") != 0:
        raise Refused


@attack
def execute(target):
    os.execv("/bin/true", ["true"])


@attack
def start_a_thread(target):
    threading.Thread(target=print).start()


# Signals and other processes


@attack
def signal_the_zygote(target):
    os.kill(target, 0)


@attack
def signal_everybody(target):
    os.kill(-1, 0)


@attack
def signal_the_group(target):
    os.killpg(0, 0)


@attack
def signal_by_number(target):
    call(62, target, 0)


@attack
def stop_itself(target):
    os.kill(os.getpid(), signal.SIGCONT)


@attack
def open_a_pidfd(target):
    os.pidfd_open(target)


@attack
def trace_the_zygote(target):
    ptrace_seize = 0x4206
    call(101, ptrace_seize, target, 0, 0)


@attack
def read_the_zygotes_memory(target):
    os.open(f"/proc/{target}/mem", os.O_RDONLY)


@attack
def read_memory_by_number(target):
    call(310, target, 0, 0, 0, 0, 0)


@attack
def stay_after_the_zygote(target):
    pr_set_pdeathsig = 1
    call(157, pr_set_pdeathsig, 0, 0, 0, 0)


# Privileges


@attack
def become_root(target):
    os.setuid(0)


@attack
def new_user_namespace(target):
    call(272, 0x10000000)


@attack
def mount_a_file_system(target):
    call(165, 0, 0, 0, 0, 0)


@attack
def change_root(target):
    os.chroot("/")


@attack
def raise_a_limit(target):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@attack
def kernel_interfaces(target):
    """From bpf, io_uring_setup, userfaultfd, keyctl, add_key, perf_event_open over kexec_load to memfd_create."""
    succeeded = []
    for number in (321, 425, 323, 250, 248, 298, 246, 175, 169, 319):
        if libc.syscall(number, 0, 0, 0, 0, 0) >= 0 or ctypes.get_errno() != 1:
            succeeded.append(number)
    if not succeeded:
        raise Refused


@attack
def writable_code(target):
    mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC).close()


# Files


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
def change_the_standard_library(target):
    os.close(os.open(os.__file__, os.O_WRONLY | os.O_APPEND))


@attack
def read_the_accounts(target):
    open("/etc/passwd").close()


@attack
def read_a_device(target):
    os.close(os.open("/dev/zero", os.O_RDONLY))


@attack
def list_the_processes(target):
    os.listdir("/proc")


@attack
def list_the_root(target):
    if not set(os.listdir("/")) & {"etc", "proc", "sys", "dev"}:
        raise Refused


@attack
def make_a_folder(target):
    os.mkdir("/tmp/escaped")
    os.rmdir("/tmp/escaped")


@attack
def make_a_link(target):
    os.symlink("/etc", "/tmp/escaped")
    os.unlink("/tmp/escaped")


@attack
def change_a_mode(target):
    os.chmod("/", 0o755)


@attack
def write_to_an_inherited_descriptor(target):
    """Stdin, the pipes, and nothing else, must be open."""
    spare = []
    for descriptor in range(4, 64):
        try:
            os.fstat(descriptor)
            spare.append(descriptor)
        except OSError:
            continue
    if not spare:
        raise Refused


# Network


@attack
def internet_socket(target):
    socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()


@attack
def datagram_socket(target):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()


@attack
def local_socket(target):
    socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).close()


@attack
def virtual_machine_socket(target):
    socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()


@attack
def packet_socket(target):
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()


@attack
def pair_of_sockets(target):
    for end in socket.socketpair():
        end.close()
