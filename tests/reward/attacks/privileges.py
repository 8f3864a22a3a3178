"""Other users, capabilities, limits, and settings of the process or of the whole machine."""

import ctypes
import os
import resource
import socket

from attacks.common import Refused, attack, call, opened, reach

_CAPABILITIES = (0x20080522, 0)
_PRCTL = 157


def _prctl(option, value):
    call(_PRCTL, option, value, 0, 0, 0)


@attack
def become_root(target):
    os.setuid(0)


@attack
def become_root_in_every_way(target):
    os.setresuid(0, 0, 0)


@attack
def read_files_as_root(target):
    """The user that files are opened as; the call tells the one before, so ask twice."""
    call(122, 0)
    if call(122, 0) != 0:
        raise Refused


@attack
def join_the_group_of_root(target):
    os.setresgid(0, 0, 0)


@attack
def join_groups(target):
    os.setgroups([0])


@attack
def gain_a_capability(target):
    administer = 1 << 21
    call(126, (ctypes.c_uint32 * 2)(*_CAPABILITIES), (ctypes.c_uint32 * 6)(administer, administer))


@attack
def keep_capabilities(target):
    _prctl(8, 1)


@attack
def change_secure_bits(target):
    _prctl(28, 0)


@attack
def pass_capabilities_on(target):
    lower_all = 4
    _prctl(47, lower_all)


@attack
def drop_a_bounding_capability(target):
    """Only who may raise capabilities may drop them here."""
    wake_alarm = 35
    _prctl(24, wake_alarm)


@attack
def be_dumpable(target):
    _prctl(4, 1)


@attack
def let_anybody_trace(target):
    _prctl(0x59616D61, -1)


@attack
def allow_new_code(target):
    _prctl(65, 0)


@attack
def answer_its_own_calls(target):
    """A filter that lets everything through, laid over the one there is."""
    _filter(0)


@attack
def listen_to_its_own_calls(target):
    """The same with a descriptor on which another process would decide."""
    new_listener = 8
    os.close(_filter(new_listener))


def _filter(flags):
    instruction = ctypes.c_uint64(0x7FFF0000 << 32 | 0x06)
    program = (ctypes.c_uint64 * 2)(1, ctypes.addressof(instruction))
    return call(317, 1, flags, program)


@attack
def lay_rules_on_itself(target):
    opened(444, (ctypes.c_uint64 * 3)(1), 8, 0)


@attack
def change_personality(target):
    call(135, 0x0040000)


@attack
def raise_a_limit(target):
    resource.setrlimit(resource.RLIMIT_NOFILE, resource.getrlimit(resource.RLIMIT_NOFILE))


@attack
def raise_a_limit_the_old_way(target):
    call(160, resource.RLIMIT_NOFILE, (ctypes.c_uint64 * 2)(*resource.getrlimit(resource.RLIMIT_NOFILE)))


@attack
def raise_a_hard_limit(target):
    nice = 13
    call(160, nice, (ctypes.c_uint64 * 2)(40, 40))


@attack
def see_a_limit_of_the_zygote(target):
    resource.prlimit(target.zygote, resource.RLIMIT_NOFILE)


@attack
def set_a_limit_of_the_zygote(target):
    resource.prlimit(target.zygote, resource.RLIMIT_NOFILE, resource.prlimit(target.zygote, resource.RLIMIT_NOFILE))


@attack
def be_nicer_to_itself(target):
    os.nice(-1)


@attack
def slow_the_zygote_down(target):
    """Not at all: the priority that it has already."""
    os.setpriority(os.PRIO_PROCESS, target.zygote, os.getpriority(os.PRIO_PROCESS, target.zygote))


@attack
def choose_a_disk_priority(target):
    call(251, 1, 0, 2 << 13 | 4)


@attack
def choose_processors(target):
    os.sched_setaffinity(0, os.sched_getaffinity(0))


@attack
def choose_processors_of_the_zygote(target):
    os.sched_setaffinity(target.zygote, os.sched_getaffinity(0))


@attack
def choose_a_scheduler(target):
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


@attack
def run_in_real_time(target):
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))


@attack
def set_scheduling_attributes(target):
    call(314, 0, (ctypes.c_uint32 * 14)(56, 5), 0)


@attack
def keep_memory_in_place(target):
    call(149, ctypes.create_string_buffer(1), 1)


@attack
def keep_all_memory_in_place(target):
    call(151, 1)
    call(152)


@attack
def choose_memory_nodes(target):
    call(238, 0, 0, 0)


@attack
def set_the_clock(target):
    """To a time there is not."""
    reach(227, 0, (ctypes.c_int64 * 2)(0, -1))


@attack
def adjust_the_clock(target):
    """By the status that it has already."""
    clock = (ctypes.c_int64 * 26)()
    call(305, 0, clock)
    only_status = 0x10
    clock[0] = only_status
    call(305, 0, clock)


@attack
def set_the_time_zone(target):
    call(164, 0, (ctypes.c_int * 2)(0, 0))


@attack
def rename_the_machine(target):
    socket.sethostname(os.uname().nodename)


@attack
def rename_the_domain(target):
    with open("/proc/sys/kernel/domainname", "rb") as file:
        name = file.read().strip()
    call(171, name, len(name))


@attack
def swap_to_a_file(target):
    reach(167, f"{target.folder}/none".encode(), 0)


@attack
def stop_swapping_to_a_file(target):
    reach(168, f"{target.folder}/none".encode())


@attack
def restart_the_machine(target):
    """With a magic number that is none."""
    reach(169, 1, 2, 0, 0)


@attack
def load_a_kernel(target):
    reach(246, 0, 0, 0, -1)


@attack
def load_a_kernel_file(target):
    reach(320, -1, -1, 0, 0, -1)


@attack
def load_a_module(target):
    reach(175, 0, 0, b"")


@attack
def load_a_module_file(target):
    reach(313, -1, b"", 0)


@attack
def remove_a_module(target):
    reach(176, b"escaped", 0)


@attack
def log_processes_to_a_file(target):
    reach(163, f"{target.folder}/none".encode())


@attack
def change_quotas(target):
    set_quota = 0x800008 << 8
    reach(179, set_quota, f"{target.folder}/none".encode(), 0, 0)


@attack
def read_the_kernel_log(target):
    read_all = 3
    call(103, read_all, ctypes.create_string_buffer(64), 64)


@attack
def talk_to_hardware(target):
    reach(172, 0)


@attack
def talk_to_a_port(target):
    reach(173, 0x80, 1, 0)
