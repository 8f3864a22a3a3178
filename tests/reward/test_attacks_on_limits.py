"""Programs that use up what there is: each ends with exactly the verdict it earns, and a clean program runs right after."""

import pytest

from reward.sandbox import Limits, Program
from reward.zygote_process import Zygote
from rl.verdicts import Verdict

QUICK = Limits(wall_s=20, cpu_s=0.15, memory_mib=64, output_bytes=4096)
ASLEEP = Limits(wall_s=0.2, cpu_s=0.15, memory_mib=64, output_bytes=4096)
ROOMY = Limits(wall_s=30, cpu_s=15, memory_mib=64, output_bytes=4096)
"""For what ends by itself, however busy the machine is."""

TOO_LONG = {
    "loop": "while True: pass",
    "loop_that_catches_everything": "while True:\n    try: 1 / 0\n    except BaseException: continue",
    "loop_with_signals_ignored": "import signal\nfor s in set(signal.valid_signals()) - {9, 19}:\n"
    "    try: signal.signal(s, signal.SIG_IGN)\n    except (OSError, ValueError): pass\nwhile True: pass",
    "loop_with_signals_held_back": "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n"
    "while True: pass",
    "power": "9 ** 9 ** 9",
    "product": "import math\nmath.factorial(10**7)",
    "endless_sum": "import itertools\nsum(itertools.repeat(0))",
    "endless_membership": "import itertools\n-1 in itertools.count()",
    "endless_any": "import itertools\nany(itertools.repeat(0))",
    "endless_deque": "import collections, itertools\ncollections.deque(itertools.repeat(0), maxlen=0)",
    "regular_expression": "import re\nre.match('(a+)+$', 'a' * 60 + 'b')",
    "endless_all": "import itertools\nall(itertools.repeat(1))",
    "sort_of_one_key": "class K:\n    def __lt__(self, other):\n        while True: pass\nsorted([K(), K()])",
    "calls_of_the_system": "import os\nwhile True: os.getppid()",
    "reads_of_a_file": "import os\nf = os.open('own.txt', os.O_RDONLY)\nwhile True: os.pread(f, 1 << 16, 0)",
    "loop_while_compiled": "while True: compile('1+' * 800 + '1', '', 'eval')",
    "recursion_without_a_bound": "import sys\nsys.setrecursionlimit(10**8)\ndef f(): return f()\nf()",
    "forks_that_are_caught": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "threads_that_are_caught": "import _thread\nwhile True:\n    try: _thread.start_new_thread(int, ())\n"
    "    except RuntimeError: pass",
    "kills_that_are_caught": "import os\nwhile True:\n    try: os.kill(os.getpid(), 19)\n    except OSError: pass",
    "destructor": "class D:\n    def __del__(self):\n        while True: pass\nD()",
    "repr": "class R:\n    def __repr__(self):\n        while True: pass\nraise ValueError(R())",
    "loop_after_a_report": "import os\nos.write(3, b'{}')\nwhile True: pass",
    "loop_with_everything_closed": "import os\nos.closerange(0, 64)\nwhile True: pass",
}
TOO_SLEEPY = {
    "sleep": "import time\ntime.sleep(60)",
    "pause": "import signal\nsignal.pause()",
    "wait_for_a_pipe": "import os\nr, w = os.pipe()\nos.read(r, 1)",
    "wait_for_a_lock": "import _thread\nlock = _thread.allocate_lock()\nlock.acquire()\nlock.acquire()",
    "poll": "import select\nselect.select([], [], [])",
    "sleep_with_signals_ignored": "import signal, time\nfor s in (1, 2, 15, 24): signal.signal(s, 1)\ntime.sleep(60)",
    "sleep_at_exit": "class D:\n    def __del__(self):\n        import time\n        time.sleep(60)\nD()",
    "full_pipe_of_its_own": "import os\nr, w = os.pipe()\nwhile True: os.write(w, b'x' * 4096)",
}
TOO_BIG = {
    "bytes": "bytearray(4 << 30)",
    "list": "a = []\nwhile True: a.append(bytearray(1 << 20))",
    "text": "'x' * (1 << 30)",
    "list_of_one": "[0] * (1 << 28)",
    "range": "list(range(1 << 26))",
    "dictionary": "dict.fromkeys(range(1 << 26))",
    "mapping": "import mmap\ntry: mmap.mmap(-1, 1 << 30)\nexcept OSError as e: raise MemoryError from e",
    "shared_mapping": "import mmap\na = []\ntry:\n    while True: a.append(mmap.mmap(-1, 1 << 22))\n"
    "except OSError as e: raise MemoryError from e",
    "format": "'%1000000000d' % 1",
    "text_that_doubles": "x = 'x'\nwhile True: x += x",
    "nesting": "x = []\nwhile True: x = [x, bytearray(1 << 16)]",
    "integer": "1 << (1 << 33)",
    "stdin_read_again": "import os\na = []\nwhile True: a.append(os.pread(0, 4, 0) * (1 << 18))",
}
TOO_MUCH_OUTPUT = {
    "print": "while True: print('x' * 100)",
    "write": "import os\nwhile True: os.write(1, b'x' * 65536)",
    "write_to_a_copy": "import os\nd = os.dup(1)\nos.close(1)\nwhile True: os.write(d, b'x' * 4096)",
    "report": "import os\nwhile True: os.write(3, b'x' * 65536)",
    "report_after_exit_is_asked_for": "import os\ntry: exit()\nfinally:\n    while True: os.write(3, b'x')",
    "both_pipes": "import os\nwhile True: os.write(1, b'x' * 4096), os.write(3, b'x' * 4096)",
    "one_byte_at_a_time": "import os\nwhile True: os.write(1, b'x')",
}
REFUSED = {
    "fork_bomb": ("import os\nwhile True: os.fork()", "PermissionError"),
    "thread_bomb": ("import threading\nwhile True: threading.Thread(target=int).start()", "RuntimeError"),
    "descriptor_exhaustion": ("import os\nwhile True: os.dup(0)", "OSError"),
    "pipe_exhaustion": ("import os\nwhile True: os.pipe()", "OSError"),
    "file_exhaustion": ("import os\na = []\nwhile True: a.append(open('own.txt'))", "OSError"),
    "stop_itself": ("import os\nos.kill(os.getpid(), 19)", "PermissionError"),
    "stop_itself_by_raise": ("import signal\nsignal.raise_signal(19)", "PermissionError"),
    "growing_standard_input": ("import os\nos.lseek(0, 0, 2)\nwhile True: os.write(0, b'x' * 65536)", "OSError"),
    "deep_recursion": ("def f(): f()\nf()", "RecursionError"),
    "deep_json": ("import json\njson.loads('[' * 10**6)", "RecursionError"),
    "deep_repr": ("x = []\nfor _ in range(10**5): x = [x]\nrepr(x)", "RecursionError"),
    "deep_parentheses": ("(" * 5000, "SyntaxError"),
    "deep_signs": ("-" * 10**6 + "1", "MemoryError"),
    "long_number": ("int('9' * 10**6)", "ValueError"),
    "long_number_shown": ("str(1 << 4_000_000)", "ValueError"),
}
ENDINGS = {
    "abort": ("import os\nos.abort()", Verdict.CRASHED),
    "null_pointer": ("import ctypes\nctypes.string_at(0)", Verdict.CRASHED),
    "errors_to_nowhere": ("import sys\nfor _ in range(10**4): sys.stderr.write('x' * 100)", Verdict.OK),
    "last_words": ("import atexit\natexit.register(lambda: print('x' * 10**5))", Verdict.OUTPUT_LIMIT),
    "last_word_that_is_an_error": ("import atexit\natexit.register(lambda: 1 / 0)", Verdict.OK),
    "last_word_that_exits": ("import atexit, os\natexit.register(os._exit, 0)", Verdict.NO_RESULT),
    "own_stack": ("import sys\nsys.setrecursionlimit(20)", Verdict.OK),
}


def run(zygote: Zygote, name: str, code: str, limits: Limits):
    """Runs a program that says its name first, and a clean one after it in the same zygote."""
    named = f"import os\nos.write(1, b'ATTEMPT {name}\\n')\n{code}"
    execution = zygote.run(Program(named, stdin="standard input", files={"own.txt": b"x"}), limits)
    assert execution.stdout.startswith(f"ATTEMPT {name}\n") or execution.exception
    clean = zygote.run(Program("print('clean')", "6 * 7"), ROOMY)
    assert (clean.verdict, clean.value, clean.stdout) == (Verdict.OK, "42", "clean\n")
    return execution


@pytest.mark.parametrize("name", TOO_LONG)
def test_cpu_time_runs_out(zygote, name):
    execution = run(zygote, name, TOO_LONG[name], QUICK)
    assert (execution.verdict, execution.limit) == (Verdict.TIMEOUT, "cpu")
    assert 0.15 <= execution.cpu_s < 1.2


@pytest.mark.parametrize("name", TOO_SLEEPY)
def test_wall_clock_time_runs_out(zygote, name):
    execution = run(zygote, name, TOO_SLEEPY[name], ASLEEP)
    assert (execution.verdict, execution.limit) == (Verdict.TIMEOUT, "wall")


@pytest.mark.parametrize("name", TOO_BIG)
def test_memory_runs_out(zygote, name):
    execution = run(zygote, name, TOO_BIG[name], ROOMY)
    assert execution.verdict is Verdict.MEMORY
    assert execution.peak_mib < 120


@pytest.mark.parametrize("name", TOO_MUCH_OUTPUT)
def test_output_is_cut(zygote, name):
    execution = run(zygote, name, TOO_MUCH_OUTPUT[name], ROOMY)
    assert execution.verdict is Verdict.OUTPUT_LIMIT
    assert len(execution.stdout) <= 4096


@pytest.mark.parametrize("name", REFUSED)
def test_more_is_refused(zygote, name):
    code, error = REFUSED[name]
    execution = run(zygote, name, code, ROOMY)
    assert (execution.verdict, execution.exception.split(":")[0]) == (Verdict.EXCEPTION, error)


@pytest.mark.parametrize("name", ENDINGS)
def test_other_ends(zygote, name):
    code, verdict = ENDINGS[name]
    assert run(zygote, name, code, ROOMY).verdict is verdict


def test_an_alarm_that_nobody_handles(zygote):
    """Ends a program; but one that is the first process of its namespace the kernel spares, and it waits on."""
    code = "import signal\nsignal.setitimer(signal.ITIMER_REAL, 0.01)\nsignal.pause()"
    verdict = Verdict.CRASHED if zygote.level == "nons" else Verdict.TIMEOUT
    assert run(zygote, "alarm", code, Limits(wall_s=1)).verdict is verdict


STUBBORN = {
    "import os\nos._exit = lambda code: None\nimport sys\nsys.exit(1)": Verdict.EXCEPTION,
    "import os, json\nos.write = json.dumps = None": Verdict.OK,
    "import builtins\nvars(builtins).update({name: None for name in dir(builtins) if name[0] != '_'})": Verdict.OK,
    "import sys\nsys.settrace(lambda *a: 1 / 0)": Verdict.OK,
    "import sys\nsys.stdout.close()": Verdict.OK,
    "import sys\nsys.modules.clear()": Verdict.OK,
    "x = 1\0": Verdict.EXCEPTION,
    "x = '\ud800'": Verdict.EXCEPTION,
}


@pytest.mark.parametrize("code", STUBBORN)
def test_programs_that_take_the_interpreter_apart(zygote, code):
    assert zygote.run(Program(code), ROOMY).verdict is STUBBORN[code]
    assert zygote.run(Program("", "6 * 7"), ROOMY).value == "42"
