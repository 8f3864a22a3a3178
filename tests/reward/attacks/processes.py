"""More processes, threads, and programs in place of the one that runs."""

import ctypes
import os
import signal
import subprocess
import threading

from attacks.common import Refused, attack, call, reap

_VFORK = 0x4000
_NEW_HOST_NAME = 0x04000000


@attack
def fork(target):
    reap(os.fork())


@attack
def clone_by_number(target):
    reap(call(56, signal.SIGCHLD, 0, 0, 0, 0))


@attack
def clone_like_vfork(target):
    reap(call(56, signal.SIGCHLD | _VFORK, 0, 0, 0, 0))


@attack
def clone_into_a_namespace(target):
    reap(call(56, signal.SIGCHLD | _NEW_HOST_NAME, 0, 0, 0, 0))


@attack
def clone3_by_number(target):
    arguments = (ctypes.c_uint64 * 11)()
    arguments[4] = signal.SIGCHLD
    reap(call(435, arguments, ctypes.sizeof(arguments)))


@attack
def fork_by_number(target):
    reap(call(57))


@attack
def spawn_a_shell(target):
    os.waitpid(os.posix_spawn("/bin/sh", ["sh", "-c", "true"], {}), 0)


@attack
def run_a_command(target):
    subprocess.run(["true"], check=True)


@attack
def system(target):
    if os.system("true") != 0:
        raise Refused


@attack
def open_a_pipe_to_a_command(target):
    if os.popen("echo out").read() != "out\n":
        raise Refused


@attack
def fork_with_a_terminal(target):
    pid, terminal = os.forkpty()
    reap(pid)
    os.close(terminal)


@attack
def execute(target):
    os.execv("/bin/sh", ["sh", "-c", "echo ESCAPED execute"])


@attack
def execute_a_descriptor(target):
    os.execve(os.open("/bin/sh", os.O_RDONLY), ["sh", "-c", "echo ESCAPED execute_a_descriptor"], {})


@attack
def execute_from_memory(target):
    """A script in a file that exists nowhere but in memory."""
    descriptor = call(319, b"script", 0)
    os.write(descriptor, b"#!/bin/sh\necho ESCAPED execute_from_memory\n")
    name = ctypes.create_string_buffer(b"script")
    arguments = (ctypes.c_void_p * 2)(ctypes.addressof(name), None)
    call(322, descriptor, b"", arguments, 0, 0x1000)


@attack
def start_a_thread(target):
    threading.Thread(target=int).start()


@attack
def lead_a_session(target):
    os.setsid()


@attack
def lead_a_group(target):
    os.setpgid(0, 0)


@attack
def adopt_orphans(target):
    set_child_subreaper = 36
    call(157, set_child_subreaper, 1, 0, 0, 0)
