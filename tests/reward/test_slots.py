"""Several sandboxes side by side."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from reward.sandbox import Limits, Program
from reward.slots import AllBusy, Slots
from rl.verdicts import Verdict


@pytest.fixture(scope="module")
def slots():
    with Slots(3, Limits(wall_s=3.0, cpu_s=1.0)) as slots:
        yield slots


def test_many_threads_get_their_own_answers(slots):
    with ThreadPoolExecutor(12) as threads:
        found = list(threads.map(lambda number: slots.run(Program(f"x = {number}", "x")).value, range(200)))
    assert found == [str(number) for number in range(200)]
    assert slots.free == 3


def test_runs_go_on_side_by_side(slots):
    program = Program("import time\ntime.sleep(0.5)", "1")
    with ThreadPoolExecutor(3) as threads:
        began = time.monotonic()
        assert [execution.value for execution in threads.map(slots.run, [program] * 3)] == ["1"] * 3
    assert time.monotonic() - began < 1.4


def test_nobody_waits_for_a_slot_forever(slots):
    sleepers = [threading.Thread(target=slots.run, args=(Program("import time\ntime.sleep(1)"),)) for _ in range(3)]
    for sleeper in sleepers:
        sleeper.start()
    while slots.free:
        time.sleep(0.01)
    with pytest.raises(AllBusy, match=r"none of 3 sandboxes became free within 0\.1 s"):
        slots.run(Program(""), patience_s=0.1)
    for sleeper in sleepers:
        sleeper.join()
    assert slots.free == 3


def test_a_run_whose_slot_keeps_failing_is_repeated_in_another():
    with Slots(2, Limits(wall_s=3.0)) as slots:
        doomed = slots._sandboxes[0]
        done = threading.Event()

        def kill_its_zygotes() -> None:
            while not done.is_set():
                zygote = doomed._zygote
                if zygote is not None:
                    os.kill(zygote.pid, 9)
                time.sleep(0.02)

        killer = threading.Thread(target=kill_its_zygotes)
        killer.start()
        try:
            execution = slots.run(Program("import time\ntime.sleep(0.5)", "'done'"))
        finally:
            done.set()
            killer.join()
        assert (execution.verdict, execution.value) == (Verdict.OK, "'done'")
        assert slots.restarts >= 1


def test_a_slot_is_given_back_when_the_input_is_bad(slots):
    with pytest.raises(ValueError, match="anchor_lines"):
        slots.run(Program("x = 1", None, (1,)))
    assert slots.free == 3
