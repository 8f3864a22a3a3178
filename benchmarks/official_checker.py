"""How CRUXEval's official scorer runs one check, for comparison of speed: a manager process and a child process each.

Reads a JSON list of program texts from standard input, checks them one after the other, and prints the seconds taken and
how many passed. The mechanism is that of the official `check_correctness`: results travel through a managed list, the
child executes the text with a timer and output swallowed, after taking dangerous names out of the standard library.
"""

import contextlib
import io
import json
import multiprocessing
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

_SECONDS = 3.0
_NAMES = {
    os: "kill system putenv remove removedirs rmdir fchdir setuid fork forkpty killpg rename renames truncate replace "
    "unlink fchmod fchown chmod chown chroot lchown getcwd chdir",
    shutil: "rmtree move chown",
    subprocess: "Popen",
}


def _guard() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for module, names in _NAMES.items():
        for name in names.split():
            setattr(module, name, None)


def _execute(text: str, results: "multiprocessing.managers.ListProxy[str]") -> None:
    remove, leave, change = shutil.rmtree, os.rmdir, os.chdir
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    unlink, getcwd = os.unlink, os.getcwd
    _guard()
    signal.setitimer(signal.ITIMER_REAL, _SECONDS)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            exec(text, {})
        results.append("passed")
    except BaseException as error:
        results.append(f"failed: {error}")
    signal.setitimer(signal.ITIMER_REAL, 0)
    shutil.rmtree, os.rmdir, os.chdir, os.unlink, os.getcwd = remove, leave, change, unlink, getcwd
    os.chdir("/")
    shutil.rmtree(folder)


def check(text: str) -> bool:
    """Whether the program runs to its end without an exception."""
    with multiprocessing.Manager() as manager:
        results = manager.list()
        child = multiprocessing.Process(target=_execute, args=(text, results))
        child.start()
        child.join(timeout=_SECONDS + 1)
        if child.is_alive():
            child.kill()
        return list(results)[:1] == ["passed"]


if __name__ == "__main__":
    programs = json.load(sys.stdin)
    began = time.perf_counter()
    failed = [place for place, text in enumerate(programs) if not check(text)]
    json.dump({"seconds": time.perf_counter() - began, "failed": failed}, sys.stdout)
