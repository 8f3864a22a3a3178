"""Programs that meddle with what is told of them: with their own report, with the next run's, and with standard input.

A program can forge a well-formed report of its own; that is why expected values never enter the sandbox. It can forge
nothing else: no fault of the machinery, no verdict that is the zygote's to give, and nothing about another run.
"""

import json

import pytest

from reward.sandbox import Limits, Program
from reward.zygote_process import Zygote
from rl.verdicts import Verdict

LIMITS = Limits(wall_s=30, cpu_s=15, output_bytes=4096)


def told(**changes: object) -> bytes:
    """A report of the right shape."""
    plain = {"verdict": "ok", "value": "'forged'", "type_name": "str", "exception": None, "states": []}
    return json.dumps(plain | changes).encode()


def write(report: bytes, then: str = "os._exit(0)") -> str:
    return f"import os\nos.write(3, {report!r})\n{then}"


FORGED = {
    "report_before_the_true_one": write(told(), ""),
    "two_reports": write(told() + told()),
    "fault_of_the_sandbox": write(b"!OSError: forged"),
    "missing_anchor": write(b"IAforged"),
    "missing_anchor_without_isolation": write(b"A forged"),
    "isolation_again": write(b"IP" + told()),
    "start_again": write(b"PP" + told()),
    "timeout": write(told(verdict="timeout")),
    "sandbox_error": write(told(verdict="sandbox_error")),
    "crashed": write(told(verdict="crashed")),
    "verdict_that_is_none": write(told(verdict=None)),
    "verdict_that_is_a_list": write(told(verdict=["ok"])),
    "value_that_is_a_number": write(told(value=7)),
    "value_that_is_too_long": write(told(value="x" * 5000)),
    "states_that_are_text": write(told(states="abc")),
    "states_that_are_numbers": write(told(states=[1])),
    "too_many_states": write(told(states=[""] * 1001)),
    "states_that_are_too_long": write(told(states=["x" * 3000] * 2)),
    "field_too_many": write(told(more=1)),
    "field_too_few": write(b'{"verdict":"ok"}'),
    "list_of_a_report": write(b"[" + told() + b"]"),
    "not_a_number": write(b"NaN"),
    "endless_number": write(b"9" * 5000),
    "deep_lists": write(b"[" * 50_000),
    "deep_objects": write(b'{"a":' * 20_000),
    "half_a_report": write(told()[:-1]),
    "zeros": write(b"\0" * 100),
    "broken_text": write(told()[:12] + b"\xff\xfe" + told()[12:]),
    "nothing": "import os\nos._exit(0)",
    "nothing_with_a_status": "import os\nos._exit(9)",
    "report_with_a_status": write(told(), "os._exit(9)"),
    "everything_closed": "import os\nos.closerange(0, 64)",
    "pipe_for_reports_closed": "import os\nos.close(3)",
    "reports_to_the_output": "import os\nos.dup2(1, 3)",
    "reports_to_standard_input": "import os\nos.dup2(0, 3)",
    "reports_to_a_pipe_of_its_own": "import os\nr, w = os.pipe()\nos.dup2(w, 3)",
    "output_into_the_report": "import os\nos.dup2(3, 1)\nprint('x', flush=True)",
    "report_taken_back": "import os\nos.read(os.open('/proc/self/fd/3', os.O_RDONLY | os.O_NONBLOCK), 99)\n"
    "os.write(3, b'!forged')\nos._exit(0)",
}


def clean(zygote: Zygote) -> None:
    """The next run gets its own answer and nothing of the last one's."""
    program = Program(
        "import sys\ntext = sys.stdin.read()\nx = 42\nprint(f'x: {x}')\nprint('clean')", "(x, text)", (4,), "in"
    )
    execution = zygote.run(program, LIMITS)
    assert (execution.verdict, execution.value, execution.stdout) == (Verdict.OK, "(42, 'in')", "clean\n")
    assert execution.states == ("x: 42",)


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_report_is_none(zygote, name):
    execution = zygote.run(Program(f"print('ATTEMPT {name}', flush=True)\n{FORGED[name]}", "1", stdin="in"), LIMITS)
    assert execution.stdout.startswith(f"ATTEMPT {name}\n")
    assert execution.verdict is (Verdict.EXCEPTION if name == "report_taken_back" else Verdict.NO_RESULT)
    assert (execution.value, execution.states) == (None, ())
    clean(zygote)


def test_a_well_formed_report_of_its_own_is_believed(zygote):
    """The known limit, so that nobody takes more for granted: trust comes from what is compared outside."""
    execution = zygote.run(Program(write(told(states=["x: 1"])), "1"), LIMITS)
    assert (execution.verdict, execution.value, execution.states) == (Verdict.OK, "'forged'", ("x: 1",))
    clean(zygote)


LEFT_BEHIND = {
    "bytes_in_the_output_pipe": "import os\nos.write(1, b'left' * 500)\nos._exit(0)",
    "bytes_in_the_report_pipe": write(told() * 30),
    "bytes_in_both_pipes": "import os\nos.write(1, b'left' * 500)\n" + write(told() * 20),
    "bytes_beyond_the_limit": "import os\nos.write(1, b'x' * 60000)\nos._exit(0)",
    "output_not_flushed": "import sys\nsys.stdout.write('left')\nimport os\nos._exit(0)",
    "standard_input_rewritten": "import os\ntry: os.write(0, b'left')\nexcept OSError: pass",
    "standard_input_read_to_its_end": "import sys\nsys.stdin.read()",
    "standard_input_closed": "import os\nos.close(0)",
    "timer_that_is_running": "import signal\nsignal.setitimer(signal.ITIMER_REAL, 60)",
    "signals_held_back": "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
    "crash": "import ctypes\nctypes.string_at(0)",
}


@pytest.mark.parametrize("name", LEFT_BEHIND)
def test_what_is_left_behind_does_not_reach_the_next_run(zygote, name):
    execution = zygote.run(Program(f"print('ATTEMPT {name}', flush=True)\n{LEFT_BEHIND[name]}", stdin="in"), LIMITS)
    assert execution.stdout.startswith(f"ATTEMPT {name}\n")
    clean(zygote)
