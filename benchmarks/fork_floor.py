"""CPU ms of a run of the zygote, step by step, from a fork whose child does nothing, which no sandbox of this kind can save.

`benchmarks.sandbox` starts it as a zygote is started, and it makes itself one, without the conversation:
`fork_floor.py REWARD_FOLDER LEVEL FOLDER COUNT`, where FOLDER is an empty one.
"""

import gc
import json
import os
import resource
import sys
from collections.abc import Callable
from typing import NoReturn

_MEMORY_BYTES = 512 << 20
_CPU_S = 3


def main() -> None:
    """Prints a JSON object: by step, the milliseconds of a run that ends with it."""
    room, level, folder, count = *sys.argv[1:4], int(sys.argv[4])
    sys.path.append(room)
    from zygote import kernel, mappings, program, serve
    from zygote.isolation import Isolation

    os.dup2(os.open(os.devnull, os.O_WRONLY), serve.REPORT)
    serve.preload(serve.COMMON)
    mappings.move()
    mappings.merge()
    isolation = Isolation(level, folder)
    program.prepare()
    isolation.allow(memory_bytes=_MEMORY_BYTES, cpu_s=_CPU_S)
    calls = (*isolation.layers, kernel.closing_from(serve.REPORT + 1))
    payload = program.pack("", "1", (), 1000, with_stdin=False, with_arguments=False)

    def confined() -> None:
        kernel.make(calls)

    def empty_program() -> None:
        kernel.make(calls)
        program.run(payload, serve.REPORT)

    steps: dict[str, tuple[int, Callable[[], None]]] = {
        "fork and end": (0, lambda: None),
        "process namespace": (isolation.namespaces, lambda: None),
        "layers": (isolation.namespaces, confined),
        "empty program": (isolation.namespaces, empty_program),
    }
    gc.collect()
    gc.freeze()
    found = {}
    for name, (namespaces, child) in steps.items():
        fork, reaper = kernel.Fork(namespaces, beside=-1), kernel.Reaper()
        before = _used()
        for _ in range(count):
            pid = fork(-1)
            if pid == 0:
                _end_after(child)
            status, _, _ = reaper(pid)
            os.close(fork.pidfd)
            if status:
                raise RuntimeError(f"{name}: a child ended with status {status}")
        found[name] = 1000 * (_used() - before) / count
    print(json.dumps(found))


def _end_after(child: Callable[[], None]) -> NoReturn:
    try:
        child()
        os._exit(0)
    finally:
        os._exit(1)


def _used() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


if __name__ == "__main__":
    main()
