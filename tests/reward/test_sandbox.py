"""The sandbox from outside: every verdict, what a run may leave behind, and how the machinery's own faults are told."""

import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from reward.control_groups import places
from reward.endings import Pipe, ZygoteFault, execution
from reward.sandbox import Limits, Program, Sandbox, SandboxUnavailable, _self_test
from reward.slots import Slots
from reward.zygote import messages
from reward.zygote.isolation import LAYERS, LEVELS
from reward.zygote_process import LayerMissing, Zygote
from rl.verdicts import Verdict

SHORT = Limits(wall_s=0.8, cpu_s=0.4, memory_mib=32, output_bytes=1000)
CRUXEVAL = Path(__file__).parents[1] / "data" / "cruxeval.jsonl"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


LAST_WORDS = {
    "import io, sys\nsys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding='utf-8')\nprint('bye')": "bye\n",
    "import codecs, sys\nsys.stdout = codecs.getwriter('utf-8')(sys.stdout.buffer)\nprint('bye')": "bye\n",
    "import atexit\natexit.register(print, 'bye')\nprint('hello')": "hello\nbye\n",
    "import atexit\natexit.register(print, 'bye')\nraise KeyError": "bye\n",
    "import sys\nsys.stdout = None": "",
    "import sys\nprint('hello')\nsys.stdout = object()": "hello\n",
}


@pytest.mark.parametrize("code", LAST_WORDS)
def test_what_a_program_says_as_it_ends_is_its_output(sandbox, code):
    execution = sandbox.run(Program(code))
    assert execution.verdict is (Verdict.EXCEPTION if "raise" in code else Verdict.OK)
    assert execution.stdout == LAST_WORDS[code]


def test_names_as_long_as_a_program_makes_them(sandbox):
    assert sandbox.run(Program("T = type('A' * 1500, (), {'__repr__': lambda self: 'x'})", "T()")).type_name == "A" * 1000
    told = sandbox.run(Program("raise type('A' * 1500, (Exception,), {})('x' * 3000)")).exception
    assert told == f"{'A' * 1000}: {'x' * 2000}"
    liar = "class S(str):\n    def __bool__(self): 1 / 0\nclass E(Exception):\n    def __str__(self): return S('x')\nraise E"
    assert sandbox.run(Program(liar)).exception == "E: x"


def test_numpys_numbers_are_the_same_in_every_sandbox():
    def number():
        with Sandbox(packages=("numpy",)) as one:
            return one.run(Program("import numpy", "float(numpy.random.rand())")).value

    assert number() == number()


def test_a_program_with_a_call_gives_value_type_and_its_own_output(sandbox):
    execution = sandbox.run(Program("def f(x):\n    print('hi')\n    return [x, None]", "f('a')"))
    assert execution.verdict is Verdict.OK
    assert (execution.value, execution.type_name, execution.stdout) == ("['a', None]", "list", "hi\n")
    assert (execution.exception, execution.states, execution.level) == (None, (), sandbox.level)
    assert 0 < execution.seconds < 2


def test_a_program_without_a_call_has_no_value(sandbox):
    execution = sandbox.run(Program("print(__name__)"))
    assert (execution.verdict, execution.value, execution.stdout) == (Verdict.OK, None, "__main__\n")


VERDICTS = {
    "x = 1": Verdict.OK,
    "raise ValueError('no')": Verdict.EXCEPTION,
    "import sys; sys.exit(3)": Verdict.EXCEPTION,
    "this is not Python": Verdict.EXCEPTION,
    "while True: pass": Verdict.TIMEOUT,
    "import time; time.sleep(60)": Verdict.TIMEOUT,
    "x = 9 ** 9 ** 9": Verdict.TIMEOUT,
    "while True:\n    try:\n        1 / 0\n    except BaseException:\n        continue": Verdict.TIMEOUT,
    "b = bytearray(4 << 30)": Verdict.MEMORY,
    "a = []\nwhile True: a.append(bytearray(1 << 20))": Verdict.MEMORY,
    "a = []\nwhile True: a.append('x' * 1000)": Verdict.MEMORY,
    "while True: print('x' * 100)": Verdict.OUTPUT_LIMIT,
    "import os\nwhile True: os.write(3, b'x' * 4096)": Verdict.OUTPUT_LIMIT,
    "import ctypes; ctypes.string_at(0)": Verdict.CRASHED,
    "import os; os._exit(0)": Verdict.NO_RESULT,
    "import os; os._exit(7)": Verdict.NO_RESULT,
    "import os; os.closerange(0, 64)": Verdict.NO_RESULT,
    "import os; os.write(3, b'forged'); os._exit(0)": Verdict.NO_RESULT,
}


@pytest.mark.parametrize("code", VERDICTS)
def test_verdict(sandbox, code):
    assert sandbox.run(Program(code), SHORT).verdict is VERDICTS[code]


@pytest.mark.parametrize("call", ["'x' * 2000", "type('T', (), {'__repr__': lambda self: 'x' * 2000})()"])
def test_a_value_with_too_long_a_repr_is_over_the_output_limit(sandbox, call):
    assert sandbox.run(Program("", call), SHORT).verdict is Verdict.OUTPUT_LIMIT


EXCEPTIONS = {
    "1 / 0": "ZeroDivisionError: division by zero",
    "raise ValueError": "ValueError",
    "exit()": "SystemExit: None",
    "import sys; sys.exit(3)": "SystemExit: 3",
    "input()": "EOFError: EOF when reading a line",
    "def f(): f()\nf()": "RecursionError: maximum recursion depth exceeded",
    "class E(Exception):\n    def __str__(self): raise TypeError\nraise E": "E: <exception str() failed>",
    "raise KeyError('k')": "KeyError: 'k'",
    "x = '\\ud800'.encode()": "UnicodeEncodeError: 'utf-8' codec can't encode character '\\ud800' in position 0: "
    "surrogates not allowed",
}


@pytest.mark.parametrize("code", EXCEPTIONS)
def test_exceptions_read_like_the_last_line_of_a_traceback(sandbox, code):
    assert sandbox.run(Program(code)).exception == EXCEPTIONS[code]


def test_an_exception_of_the_call_keeps_what_was_printed(sandbox):
    execution = sandbox.run(Program("def f():\n    print('before')\n    raise OSError('x')", "f()"))
    assert (execution.verdict, execution.exception, execution.stdout) == (
        Verdict.EXCEPTION,
        "OSError: x",
        "before\n",
    )


def test_a_long_message_is_cut(sandbox):
    execution = sandbox.run(Program("raise ValueError('x' * 10**6)"))
    assert execution.exception == "ValueError: " + "x" * 2000


def test_the_cpu_limit_is_kept_to_a_fraction_of_a_second(sandbox):
    execution = sandbox.run(Program("while True: pass"), Limits(wall_s=10, cpu_s=0.2))
    assert execution.verdict is Verdict.TIMEOUT
    assert 0.2 <= execution.seconds < 5


def test_output_up_to_the_limit_is_kept_and_not_a_byte_more(sandbox):
    assert sandbox.run(Program("print('x' * 999)"), SHORT).stdout == "x" * 999 + "\n"
    over = sandbox.run(Program("print('x' * 1000)"), SHORT)
    assert (over.verdict, over.stdout) == (Verdict.OUTPUT_LIMIT, "x" * 1000)


def test_a_program_recurses_as_deep_as_a_script(sandbox):
    code = "def f(n=0):\n    try:\n        return f(n + 1)\n    except RecursionError:\n        return n\n"
    script = subprocess.run([sys.executable, "-c", f"{code}print(f())"], capture_output=True, check=True, text=True)
    assert sandbox.run(Program(code, "f()")).value == script.stdout.strip()
    assert sandbox.run(Program(f"{code}print(f())")).stdout == script.stdout


def test_states_are_recorded_instead_of_printed_and_exact(sandbox):
    code = "x = 'a\\nb'\nprint(f'x: {x}')\nprint(f'not: an anchor')\nfor i in range(2):\n    print(f'i: {i!r}')"
    execution = sandbox.run(Program(code, anchor_lines=(2, 5)))
    assert execution.states == ("x: a\nb", "i: 0", "i: 1")
    assert execution.stdout == "not: an anchor\n"


def test_rebinding_print_does_not_disturb_anchors(sandbox):
    code = "import builtins\nprint = builtins.print = None\nx = 1\nprint(f'x: {x}')"
    execution = sandbox.run(Program(code, anchor_lines=(4,)))
    assert (execution.verdict, execution.states) == (Verdict.OK, ("x: 1",))


@pytest.mark.parametrize("error", ["ValueError", "SystemExit", "KeyboardInterrupt"])
def test_a_value_that_cannot_be_shown_is_recorded_as_such(sandbox, error):
    code = f"class T:\n    def __str__(self): raise {error}\nt = T()\nprint(f't: {{t}}')\nx = 1"
    execution = sandbox.run(Program(code, "x", anchor_lines=(4,)))
    assert (execution.value, execution.states) == ("1", ("t: <unprintable T>",))


@pytest.mark.parametrize("method", ["__str__", "__format__", "__repr__"])
def test_a_text_of_another_class_is_recorded_as_what_it_holds(sandbox, method):
    kind = "class S(str):\n    def __radd__(self, other): return other\n    def __len__(self): return -9\n"
    code = f"{kind}class T:\n    def {method}(self, *_): return S('shown')\nt = T()\nprint(f't: {{t}}')\nx = 1"
    execution = sandbox.run(Program(code, "x", anchor_lines=(7,)))
    assert (execution.value, execution.states) == ("1", ("t: shown",))


def test_a_class_that_lies_about_its_name_is_called_by_its_own(sandbox):
    code = "class M(type):\n    __name__ = property(lambda _: 1 / 0)\nclass T(Exception, metaclass=M):\n    __str__ = None"
    execution = sandbox.run(Program(f"{code}\nt = T()\nprint(f't: {{t}}')", "t", anchor_lines=(6,)))
    assert (execution.type_name, execution.states) == ("T", ("t: <unprintable T>",))
    assert sandbox.run(Program(f"{code}\nraise T")).exception == "T: <exception str() failed>"


def test_states_up_to_an_exception_are_kept(sandbox):
    execution = sandbox.run(Program("x = 1\nprint(f'x: {x}')\n1 / 0", anchor_lines=(2,)))
    assert (execution.verdict, execution.states) == (Verdict.EXCEPTION, ("x: 1",))


@pytest.mark.parametrize("times", [1000, 1001])
def test_a_thousand_states_are_the_most(sandbox, times):
    execution = sandbox.run(Program(f"for i in range({times}):\n    print(f'i: {{i}}')", anchor_lines=(2,)))
    assert execution.verdict is (Verdict.OK if times == 1000 else Verdict.OUTPUT_LIMIT)
    assert len(execution.states) == 1000


def test_states_share_the_output_limit(sandbox):
    code = "x = 'x' * 400\nprint(f'x: {x}')\nprint(f'x: {x}')\nprint(f'x: {x}')"
    assert sandbox.run(Program(code, anchor_lines=(2, 3, 4)), SHORT).verdict is Verdict.OUTPUT_LIMIT


@pytest.mark.parametrize("code", ["x = 1", "print(x)", "log(f'x: {1}')", "print(f'{1}')", "print(f'x: {1:2}')"])
def test_a_line_without_an_anchor_is_bad_input(sandbox, code):
    with pytest.raises(ValueError, match="anchor_lines: line 1 holds no print"):
        sandbox.run(Program(code, anchor_lines=(1,)))
    assert sandbox.run(Program("", "1")).value == "1"


@pytest.mark.parametrize("field", ["wall_s", "cpu_s", "memory_mib", "output_bytes"])
@pytest.mark.parametrize("bound", [0, -1, float("inf"), float("nan")])
def test_limits_are_positive_and_finite(field, bound):
    with pytest.raises(ValueError, match=field):
        Limits(**{field: bound})


def test_a_text_beyond_all_measure_is_bad_input(sandbox):
    with pytest.raises(ValueError, match="code: the program takes"):
        sandbox.run(Program("#" * (9 << 20)))


def test_runs_share_nothing(sandbox):
    dirty = (
        "import math, os, random, sys, builtins\nmath.pi = 3\nos.environ['A'] = 'b'\nrandom.seed(7)\n"
        "sys.setrecursionlimit(50)\nbuiltins.len = None\nleft = 1"
    )
    clean = "import math, os, random, sys"
    seen = "(math.pi > 3.1, 'A' in os.environ, random.random(), sys.getrecursionlimit() > 500, len('a'), 'left' in dir())"
    before = sandbox.run(Program(clean, seen))
    assert sandbox.run(Program(dirty)).verdict is Verdict.OK
    after = sandbox.run(Program(clean, seen))
    assert before.value == after.value
    assert before.value.startswith("(True, False, 0.8444218515250481, True, 1, False)")


def test_two_sandboxes_agree_on_what_depends_on_hashing(sandbox):
    program = Program("", "list({'a', 'b', 'c', 'd', 'e'})")
    with Sandbox() as other:
        assert other.run(program).value == sandbox.run(program).value


def test_the_standard_library_can_be_imported_at_every_level():
    code = "import base64, bz2, hashlib, lzma, sqlite3, unittest, decimal, csv, asyncio, zlib\n"
    code += "x = 'a'.encode('shift_jis') + 'ä'.encode('cp1252')"
    for level in available():
        with Sandbox(mode=level) as sandbox:
            execution = sandbox.run(Program(code, "hashlib.sha256(x).hexdigest()"))
            assert (level, execution.value) == (level, repr(hashlib.sha256(b"a\xe4").hexdigest()))


def test_every_cruxeval_program_gives_its_recorded_output(sandbox):
    rows = [json.loads(line) for line in CRUXEVAL.read_text(encoding="utf-8").splitlines()]
    wrong = [
        row["id"]
        for row in rows
        if sandbox.run(Program(row["code"], f"f({row['input']})")).value != repr(eval(row["output"]))
    ]
    assert (len(rows), wrong) == (800, [])


def test_no_process_and_no_descriptor_is_left_after_many_runs(sandbox):
    programs = [
        Program("x = 1"),
        Program("import os\nos.fork()"),
        Program("import threading\nthreading.Thread(target=print).start()"),
        Program("import subprocess\nsubprocess.Popen(['sleep', '60'])"),
        Program("import os; os._exit(1)"),
        Program("while True: print('x')"),
    ]
    sandbox.run(programs[0])
    zygote = sandbox._zygote.pid
    counted = len(os.listdir("/proc/self/fd"))
    for program in programs * 34:
        assert not sandbox.run(program, Limits(output_bytes=100)).verdict.is_fault
    assert sandbox._zygote.pid == zygote
    assert len(os.listdir("/proc/self/fd")) == counted
    assert session(zygote) == [zygote]


def test_a_zygote_killed_in_the_middle_of_a_run_is_replaced_and_the_run_repeated():
    with Sandbox() as sandbox:
        zygote = sandbox._zygote.pid
        killer = threading.Timer(0.2, os.kill, (zygote, 9))
        killer.start()
        execution = sandbox.run(Program("import time\ntime.sleep(0.5)", "1"))
        killer.join()
        assert (execution.verdict, execution.value) == (Verdict.OK, "1")
        assert sandbox._zygote.pid != zygote
        assert gone(zygote)
        assert session(zygote) == []


def test_a_zygote_that_dies_twice_is_a_fault_of_the_sandbox_and_the_next_run_is_fine():
    with Sandbox() as sandbox:
        execution = None

        def kill_every_zygote() -> None:
            while execution is None:
                zygote = sandbox._zygote
                if zygote is not None:
                    zygote._process.kill()
                time.sleep(0.05)

        killer = threading.Thread(target=kill_every_zygote)
        killer.start()
        execution = sandbox.run(Program("import time\ntime.sleep(1)"))
        killer.join()
        assert execution.verdict is Verdict.SANDBOX_ERROR
        assert execution.verdict.is_fault
        assert execution.exception.startswith("the zygote")
        assert sandbox.run(Program("", "2")).value == "2"


def test_a_child_killed_from_outside_is_a_fault_of_the_sandbox():
    with Sandbox() as sandbox:
        execution = None

        def kill_every_child() -> None:
            while execution is None:
                zygote = sandbox._zygote
                for pid in session(zygote.pid) if zygote is not None else ():
                    if pid != zygote.pid:
                        with suppress(ProcessLookupError):
                            os.kill(pid, 9)
                time.sleep(0.05)

        killer = threading.Thread(target=kill_every_child)
        killer.start()
        # A run of the self-test may be hit as well, which is a fault just the same.
        execution = sandbox.run(Program("import time\ntime.sleep(1)", "1"))
        killer.join()
        assert execution.verdict is Verdict.SANDBOX_ERROR
        assert "killed from outside" in execution.exception
        assert sandbox.run(Program("", "2")).value == "2"


def ours() -> tuple[int, list[str]]:
    """This process's descriptors and control groups."""
    groups = [path for place in places(Path("/proc/self/mounts").read_text(), Path("/proc/self/cgroup").read_text())
              for path in place.folder.glob(f"codereason-{os.getpid()}-*")]  # fmt: skip
    return len(os.listdir("/proc/self/fd")), sorted(map(str, groups))


@pytest.mark.parametrize("spare", [0, 1, 3, 7, 8, 10])
def test_a_zygote_that_cannot_be_replaced_is_a_fault_of_the_sandbox(spare):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Sandbox() as sandbox:
        sandbox.close()
        before = ours()
        taken = []
        resource.setrlimit(resource.RLIMIT_NOFILE, (before[0] + 100, hard))
        try:
            with suppress(OSError):
                while True:
                    taken.append(os.open("/dev/null", os.O_RDONLY))
            for _ in range(spare):
                os.close(taken.pop())
            execution = sandbox.run(Program("", "1"))
            with pytest.raises(SandboxUnavailable, match=r"level full|level userns|level nons"):
                Sandbox()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for descriptor in taken:
                os.close(descriptor)
        assert (execution.verdict, ours()) == (Verdict.SANDBOX_ERROR, before)
        assert "Too many open files" in execution.exception
        assert sandbox.run(Program("", "2")).value == "2"


def test_an_interrupted_run_leaves_no_answer_for_the_next_one():
    with Sandbox() as sandbox:
        threading.Timer(0.1, os.kill, (os.getpid(), 2)).start()
        with pytest.raises(KeyboardInterrupt):
            sandbox.run(Program("import time\ntime.sleep(0.3)", "'old'"))
        assert sandbox.run(Program("", "'new'")).value == "'new'"


def test_the_zygote_and_its_child_die_with_the_process_that_started_them():
    code = (
        "import sys\nfrom reward.sandbox import *\nsandbox = Sandbox()\nprint(sandbox._zygote.pid, flush=True)\n"
        "sandbox.run(Program('import time; time.sleep(60)'), Limits(wall_s=60))"
    )
    actor = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    zygote = int(actor.stdout.readline())
    while len(session(zygote)) < 2:
        time.sleep(0.01)
    actor.kill()
    actor.communicate()
    assert gone(zygote)
    assert session(zygote) == []


def test_a_zygote_holds_no_descriptor_twice_however_many_its_parent_has():
    taken = [os.open("/dev/null", os.O_RDONLY) for _ in range(40)]
    try:
        with Sandbox() as sandbox:
            folder = Path(f"/proc/{sandbox._zygote.pid}/fd")
            leads = [os.readlink(path) for path in folder.iterdir()]
    finally:
        for descriptor in taken:
            os.close(descriptor)
    special = [lead for lead in leads if lead.startswith(("pipe:", "socket:"))]
    assert len(special) == len(set(special))


def test_a_sandbox_outlives_the_thread_that_started_it():
    started: list[Sandbox] = []
    thread = threading.Thread(target=lambda: started.append(Sandbox()))
    thread.start()
    thread.join()
    time.sleep(0.05)
    with started[0] as sandbox:
        zygote = sandbox._zygote.pid
        assert sandbox.run(Program("", "1")).value == "1"
        assert sandbox._zygote.pid == zygote


def test_a_closed_sandbox_leaves_no_process():
    sandbox = Sandbox()
    zygote = sandbox._zygote.pid
    sandbox.close()
    assert session(zygote) == []


@pytest.fixture
def temporary(monkeypatch) -> Iterator[Path]:
    """A folder for temporary files of nobody else's, which every user may pass."""
    with tempfile.TemporaryDirectory() as path:
        os.chmod(path, 0o755)
        monkeypatch.setattr(tempfile, "tempdir", path)
        monkeypatch.setenv("TMPDIR", path)
        yield Path(path)


@pytest.mark.parametrize("killed", [True, False])
def test_nothing_is_left_of_the_folder_of_a_zygote_without_namespaces(temporary, killed):
    with Sandbox(mode="nons") as sandbox:
        program = Program("import os", "os.listdir()", files={"deep/down.txt": b"x"})
        assert sandbox.run(program).value == "['deep']"
        assert len(os.listdir(temporary)) == 1
        if killed:
            os.kill(sandbox._zygote.pid, 9)
    assert os.listdir(temporary) == []


def test_the_folder_goes_with_the_process_that_made_it(temporary):
    code = "from reward.sandbox import *\nSandbox(mode='nons')\nprint(1, flush=True)\nimport time; time.sleep(60)"
    actor = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    actor.stdout.readline()
    assert len(os.listdir(temporary)) == 1
    actor.kill()
    actor.communicate()
    deadline = time.monotonic() + 10
    while os.listdir(temporary) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert os.listdir(temporary) == []


def test_nothing_is_left_of_a_zygote_that_does_not_start(temporary):
    counted = len(os.listdir("/proc/self/fd"))
    with pytest.raises(SandboxUnavailable, match="there are full"):
        Zygote("none", (), ("namespaces",))
    assert os.listdir(temporary) == []
    assert len(os.listdir("/proc/self/fd")) == counted


def test_standard_error_is_kept_where_it_is_asked_for_and_apart(sandbox):
    code = "import os, sys, logging\nprint('out')\nlogging.warning('ä')\nos.write(2, b'raw ')\nsys.stderr.write('end')"
    kept = sandbox.run(Program(code, keep_stderr=True))
    assert (kept.verdict, kept.stdout, kept.stderr) == (Verdict.OK, "out\n", "WARNING:root:ä\nraw end")
    lost = sandbox.run(Program(code))
    assert (lost.verdict, lost.stdout, lost.stderr) == (Verdict.OK, "out\n", "")
    silent = sandbox.run(Program("x = 1", keep_stderr=True))
    assert (silent.verdict, silent.stderr) == (Verdict.OK, "")


@pytest.mark.parametrize("keep", [True, False])
def test_a_flood_of_standard_error_is_one_where_it_is_kept(sandbox, keep):
    code = "import sys\nfor _ in range(50): sys.stderr.write('x' * 4000)"
    execution = sandbox.run(Program(code, keep_stderr=keep), Limits(output_bytes=1000))
    assert (execution.verdict, len(execution.stderr)) == ((Verdict.OUTPUT_LIMIT, 1000) if keep else (Verdict.OK, 0))
    assert sandbox.run(Program("import sys; sys.stderr.write('y')", keep_stderr=True)).stderr == "y"


def test_what_a_stopped_program_wrote_to_standard_error_is_kept(sandbox):
    for end in ("while True: pass", "import os; os._exit(1)", "1 / 0"):
        code = f"import sys\nsys.stderr.write('before\\n')\n{end}"
        assert sandbox.run(Program(code, keep_stderr=True), SHORT).stderr == "before\n"


def test_standard_input_is_read_like_a_file(sandbox):
    program = Program(
        "first = input()\nimport sys\nrest = sys.stdin.read()", "(first, len(rest))", stdin="ä\n" + "x" * 100_000
    )
    assert sandbox.run(program).value == "('ä', 100000)"


@pytest.mark.parametrize("read", ["buffer.readline()", "buffer.peek()", "buffer.read1(9)", "buffer.read()"])
def test_standard_input_has_a_buffer(sandbox, read):
    assert sandbox.run(Program("import sys", f"sys.stdin.{read}", stdin="one\n")).value == r"b'one\n'"


@pytest.mark.parametrize("level", LEVELS)
def test_files_come_with_one_program_and_are_gone_for_the_next(level):
    files = {"data/table.txt": b"1 2", "helper.py": b"def twice(x): return 2 * x"}
    code = "import os\nfrom helper import twice\ntext = open('data/table.txt').read()"
    with Sandbox(mode=level if level in available() else "nons") as sandbox:
        assert sandbox.run(Program(code, "(twice(2), text)", files=files)).value == "(4, '1 2')"
        assert sandbox.run(Program("open('helper.py', 'a')", files=files)).verdict is Verdict.EXCEPTION
        hunt = "import os\nfound = [f for d in ('/box', '/tmp') if os.access(d, os.R_OK) for f in os.listdir(d)]"
        assert sandbox.run(Program(hunt, "'helper.py' in found")).value in ("False", None)
        assert sandbox.run(Program("import helper")).exception.startswith("ModuleNotFoundError")


def test_a_limit_too_low_to_begin_with_is_out_of_memory(sandbox):
    assert sandbox.run(Program("", "1"), Limits(memory_mib=1)).verdict is Verdict.MEMORY


@pytest.mark.parametrize("name", ["/etc/passwd", "../up.py", "a/../../b", "", "a/./b", "a\0b"])
def test_a_file_cannot_be_put_elsewhere(sandbox, name):
    with pytest.raises(ValueError, match="is no path below the program's folder"):
        sandbox.run(Program("", files={name: b""}))


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"a": b"", "a/b": b""}, "'a' is a file and a folder"),
        ({"x" * 256: b""}, "is too long, 255 bytes a part can be"),
        ({"/".join(["x" * 250] * 20): b""}, "is too long, 3072 bytes a path can be"),
        ({f"{number}.txt": b"" for number in range(1001)}, "1001 files and folders, 1000 can be sent"),
    ],
)
def test_files_that_cannot_be_laid_down_are_bad_input(sandbox, files, says):
    zygote = sandbox._zygote.pid
    with pytest.raises(ValueError, match=says):
        sandbox.run(Program("", files=files))
    assert sandbox.run(Program("", "1")).value == "1"
    assert sandbox._zygote.pid == zygote


def test_packages_are_loaded_on_demand_and_only_known_ones():
    with Sandbox(packages=("numpy",)) as sandbox:
        execution = sandbox.run(
            Program("import numpy as np\nx = np.random.default_rng(0)", "int(np.linalg.norm([3.0, 4.0]))")
        )
        assert (execution.verdict, execution.value) == (Verdict.OK, "5")
        assert sandbox.run(Program("import pandas")).exception == "ModuleNotFoundError: No module named 'pandas'"
    with Sandbox() as plain:
        assert plain.run(Program("import numpy")).exception == "ModuleNotFoundError: No module named 'numpy'"
    with pytest.raises(SandboxUnavailable, match="packages: torch is none of those programs may use: numpy"):
        Sandbox(packages=("torch",))


def test_a_run_tells_what_it_used(sandbox):
    execution = sandbox.run(Program("x = bytearray(50 << 20)\nwhile True: pass"), Limits(wall_s=1, cpu_s=0.2))
    assert (execution.verdict, execution.limit) == (Verdict.TIMEOUT, "cpu")
    assert 0.2 <= execution.cpu_s < 0.4
    assert 50 < execution.peak_mib < 90
    asleep = sandbox.run(Program("import time; time.sleep(9)"), Limits(wall_s=0.2, cpu_s=0.1))
    assert (asleep.verdict, asleep.limit) == (Verdict.TIMEOUT, "wall")


@pytest.mark.parametrize(
    ("limits", "how", "cpu_s", "starved"),
    [
        (Limits(wall_s=5, cpu_s=1), messages.WALL, 0.1, True),
        (Limits(wall_s=5, cpu_s=1), messages.WALL, 0.9, False),
        (Limits(wall_s=5, cpu_s=1), messages.CPU, 1.0, False),
        (Limits(wall_s=1, cpu_s=5), messages.WALL, 0.9, False),
        (Limits(wall_s=1, cpu_s=5), messages.WALL, 0.1, True),
        (Limits(wall_s=5, cpu_s=1), messages.SIGNAL, 0.1, False),
    ],
)
def test_a_program_is_starved_that_had_little_of_the_cpu_it_may_use(limits, how, cpu_s, starved):
    pipes = [Pipe(-1, 100) for _ in range(3)]
    pipes[2].kept += b"IP"
    status = messages.Status(how, 9, limits.wall_s, cpu_s, 1000)
    assert execution(status, *pipes, limits, True, "full").starved is starved


def test_a_program_that_sleeps_is_starved(sandbox):
    found = sandbox.run(Program("import time\ntime.sleep(60)"), Limits(wall_s=0.3, cpu_s=0.3))
    assert (found.verdict, found.limit, found.starved) == (Verdict.TIMEOUT, "wall", True)


def test_unittest_programs_run(sandbox):
    code = (
        "import io, unittest\nclass T(unittest.TestCase):\n    def test_a(self): self.assertEqual(1, 1)\n"
        "    def test_b(self): self.assertEqual(1, 2)"
    )
    call = "(lambda r: (r.testsRun, len(r.failures)))(unittest.TextTestRunner(io.StringIO()).run("
    call += "unittest.defaultTestLoader.loadTestsFromTestCase(T)))"
    assert sandbox.run(Program(code, call)).value == "(2, 1)"


def test_without_standard_input_there_is_none(sandbox):
    assert sandbox.run(Program("input()")).exception == "EOFError: EOF when reading a line"


def test_no_level_is_used_whose_self_test_an_attack_passes(monkeypatch):
    weak = partial(Zygote, without=("seccomp", "limits"))
    monkeypatch.setattr("reward.sandbox.Zygote", weak)
    with pytest.raises(SandboxUnavailable, match=r"level nons does not hold here: the self-test found .*fork ESCAPED"):
        Sandbox(mode="nons")


def test_an_attack_that_gets_through_is_no_reason_to_go_down_a_level(monkeypatch):
    highest = available()[0]
    monkeypatch.setattr("reward.sandbox.Zygote", partial(Zygote, without=("seccomp", "limits")))
    with pytest.raises(SandboxUnavailable, match=f"level {highest} does not hold here: the self-test found .*fork ESCAPED"):
        Sandbox()


@pytest.mark.parametrize("failing", [1, 2])
def test_a_fault_at_the_start_is_tried_again_at_the_same_level(monkeypatch, failing):
    levels = []

    def failing_at_first(zygote):
        levels.append(zygote.level)
        if len(levels) <= failing:
            raise ZygoteFault("the self-test answered timeout")
        _self_test(zygote)

    monkeypatch.setattr("reward.sandbox._self_test", failing_at_first)
    if failing == 1:
        Sandbox().close()
    else:
        with pytest.raises(SandboxUnavailable, match="does not start: the self-test answered timeout"):
            Sandbox()
    assert levels == [levels[0]] * 2


def test_why_a_higher_level_cannot_be_had_is_told_with_the_layers(monkeypatch):
    def lacking(level, *arguments, **named):
        if level != "nons":
            raise LayerMissing(f"level {level} lacks a layer")
        return Zygote(level, *arguments, **named)

    monkeypatch.setattr("reward.sandbox.Zygote", lacking)
    refusals = ("level full lacks a layer", "level userns lacks a layer")
    with Sandbox() as sandbox:
        assert (sandbox.level, sandbox.layers.refusals) == ("nons", refusals)
        sandbox.close()
        assert sandbox.run(Program("", "1")).value == "1"
        assert sandbox.layers.refusals == refusals
    with Slots(2) as slots:
        assert str(slots.layers).endswith("".join(f"; not to be had: {refusal}" for refusal in refusals))
        assert slots.layers.as_json()["refusals"] == list(refusals)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("level", LEVELS)
def test_the_self_test_misses_a_layer_that_is_off(level, layer):
    if level == "nons" and (layer in ("namespaces", "process namespace") or (layer == "privileges" and os.geteuid())):
        pytest.skip("the level has no such layer")
    try:
        Sandbox(mode=level).close()
        zygote = Zygote(level, (), (layer,))
    except SandboxUnavailable as error:
        pytest.skip(str(error))
    absent = {"privileges": "no capabilities|own user"}.get(layer, layer)
    # Without namespaces, another user may not get as far as the standard library.
    instead = "|answered ModuleNotFoundError" if layer == "namespaces" else ""
    try:
        with pytest.raises((SandboxUnavailable, ZygoteFault), match=f"the self-test found .*({absent}) ABSENT{instead}"):
            _self_test(zygote)
    finally:
        zygote.close()


def test_an_unknown_level_is_refused():
    with pytest.raises(SandboxUnavailable, match="level none: there are full, userns, nons"):
        Sandbox(mode="none")


def available() -> list[str]:
    """The levels this machine can give; there is at least one."""
    levels = []
    for level in LEVELS:
        try:
            Sandbox(mode=level).close()
        except SandboxUnavailable:
            continue
        levels.append(level)
    assert levels
    return levels


def session(leader: int) -> list[int]:
    """Every living process of the session that a zygote leads; children cannot leave it."""
    members = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                state, _, _, number = Path(f"/proc/{entry}/stat").read_text().rpartition(") ")[2].split()[:4]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(number) == leader and state != "Z":
                members.append(int(entry))
    return members


def gone(pid: int) -> bool:
    """Whether a process is gone within two seconds."""
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        if pid not in session(pid) and not session(pid):
            return True
        time.sleep(0.01)
    return False
