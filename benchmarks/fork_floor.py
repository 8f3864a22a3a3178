"""CPU ms of a fork of the zygote and the end of a child that does nothing: what no sandbox of this kind can save.

`benchmarks.sandbox` starts it as a zygote is started, in a process of the same size:
`fork_floor.py REWARD_FOLDER NAMESPACES COUNT`.
"""

import gc
import os
import resource
import sys


def main() -> None:
    """Prints the milliseconds a fork."""
    room, namespaces, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    sys.path.append(room)
    from zygote import kernel, serve

    serve.preload(serve.COMMON)
    gc.collect()
    gc.freeze()
    fork = kernel.Fork(namespaces)
    before = _used()
    for _ in range(count):
        pid = fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        os.close(fork.pidfd)
    print(1000 * (_used() - before) / count)


def _used() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    main()
