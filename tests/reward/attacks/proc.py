"""What the kernel shows as files: processes, settings, and second ways to a descriptor."""

import os

from attacks.common import ATTACKS, attack


def _reads(path):
    """Reads a little: opening alone says nothing about some of these files."""

    def read(target):
        descriptor = os.open(path.format(zygote=target.zygote), os.O_RDONLY | os.O_NONBLOCK)
        try:
            os.read(descriptor, 16)
        finally:
            os.close(descriptor)

    return read


def _opens_to_write(path):
    """Opens only: some of these are not to be written to."""
    return lambda target: os.close(os.open(path.format(zygote=target.zygote), os.O_WRONLY))


ATTACKS |= {
    "read_its_environment": _reads("/proc/self/environ"),
    "read_its_mappings": _reads("/proc/self/maps"),
    "read_its_status": _reads("/proc/self/status"),
    "read_its_mounts": _reads("/proc/self/mountinfo"),
    "read_the_zygotes_environment": _reads("/proc/{zygote}/environ"),
    "read_the_zygotes_command": _reads("/proc/{zygote}/cmdline"),
    "read_the_zygotes_mappings": _reads("/proc/{zygote}/maps"),
    "read_the_first_process": _reads("/proc/1/cmdline"),
    "read_what_is_locked": _reads("/proc/locks"),
    "read_who_has_keys": _reads("/proc/keys"),
    "read_who_is_connected": _reads("/proc/self/net/tcp"),
    "read_shared_memory_segments": _reads("/proc/sysvipc/shm"),
    "read_the_kernels_symbols": _reads("/proc/kallsyms"),
    "read_a_setting": _reads("/proc/sys/kernel/hostname"),
    "read_a_kernel_object": _reads("/sys/kernel/notes"),
    "write_its_memory": _opens_to_write("/proc/self/mem"),
    "write_its_user_map": _opens_to_write("/proc/self/uid_map"),
    "write_its_memory_score": _opens_to_write("/proc/self/oom_score_adj"),
    "write_its_name": _opens_to_write("/proc/self/comm"),
    "write_the_zygotes_memory": _opens_to_write("/proc/{zygote}/mem"),
    "write_the_zygotes_memory_score": _opens_to_write("/proc/{zygote}/oom_score_adj"),
    "write_a_setting": _opens_to_write("/proc/sys/kernel/core_pattern"),
    "write_to_the_kernel_log": _opens_to_write("/dev/kmsg"),
}


@attack
def list_the_processes(target):
    os.listdir("/proc")


@attack
def list_its_descriptors(target):
    os.listdir("/proc/self/fd")


@attack
def list_the_zygotes_root(target):
    os.listdir(f"/proc/{target.zygote}/root/etc")


@attack
def list_its_own_root(target):
    os.listdir("/proc/self/root/etc")


@attack
def list_through_the_working_directory(target):
    os.listdir("/proc/self/cwd/..")


@attack
def follow_the_zygotes_descriptor(target):
    os.close(os.open(f"/proc/{target.zygote}/fd/0", os.O_RDONLY))


@attack
def follow_the_zygotes_folder(target):
    os.readlink(f"/proc/{target.zygote}/cwd")


@attack
def read_from_the_pipe_for_reports(target):
    """The end that is the parent's: what the sandbox itself wrote could be taken back."""
    os.close(os.open("/proc/self/fd/3", os.O_RDONLY | os.O_NONBLOCK))


@attack
def read_from_the_pipe_for_output(target):
    os.close(os.open("/dev/stdout", os.O_RDONLY | os.O_NONBLOCK))
