"""Remembered truths: what makes two of them the same, how many are kept, and what is never kept."""

import threading
from dataclasses import fields, replace

import pytest

from reward import truths
from reward.programs import Limits
from reward.tracing import Trace, trace
from reward.truths import BY_CHANCE, Truths, truth_key
from rl.anchors import Anchor, Instrumented, instrument
from rl.verdicts import Verdict

CODE = "def f(x):\n    y = x + 1\n    return y\n"
SHOWN = instrument(CODE, "f(1)")


class Counting:
    """A tracer that takes note of what it was asked for."""

    def __init__(self, answer):
        self.asked = []
        self._answer = answer

    def __call__(self, instrumented):
        self.asked.append(instrumented)
        return self._answer(instrumented)


def told(text="1", verdict=Verdict.OK):
    return Trace(verdict, text, "int", None, (), "")


OTHERS = {
    "code": (replace(SHOWN, code=SHOWN.code + "\n"), Limits(), ()),
    "call": (replace(SHOWN, call="f(2)"), Limits(), ()),
    "no call": (replace(SHOWN, call=None), Limits(), ()),
    "fewer anchors": (replace(SHOWN, anchors=SHOWN.anchors[1:]), Limits(), ()),
    "an anchor's name": (replace(SHOWN, anchors=(Anchor(SHOWN.anchors[0].line, "z"), *SHOWN.anchors[1:])), Limits(), ()),
    "packages": (SHOWN, Limits(), ("numpy",)),
    **{name: (SHOWN, replace(Limits(), **{name: 99}), ()) for name in [limit.name for limit in fields(Limits)]},
}


@pytest.mark.parametrize("what", OTHERS)
def test_whatever_can_change_a_trace_changes_its_key(what):
    assert truth_key(*OTHERS[what]) != truth_key(SHOWN, Limits())


def test_the_same_program_has_the_same_key():
    assert truth_key(instrument(CODE, "f(1)"), Limits(), ["numpy"]) == truth_key(SHOWN, Limits(), ("numpy",))
    assert len(truth_key(SHOWN, Limits())) == 32


def test_parts_cannot_pass_for_one_another():
    assert truth_key(Instrumented("ab", "c", ()), Limits()) != truth_key(Instrumented("a", "bc", ()), Limits())
    assert truth_key(Instrumented('a", "b', None, ()), Limits()) != truth_key(Instrumented("a", "b", ()), Limits())


def test_a_program_with_lone_surrogates_has_a_key():
    assert truth_key(Instrumented("'\ud800'", None, ()), Limits()) != truth_key(Instrumented("'\ud801'", None, ()), Limits())


@pytest.mark.parametrize("what", ["TRACER_VERSION", "version"])
def test_another_tracer_or_interpreter_has_other_truths(monkeypatch, what):
    before = truth_key(SHOWN, Limits())
    monkeypatch.setattr(truths if what == "TRACER_VERSION" else truths.sys, what, "another")
    assert truth_key(SHOWN, Limits()) != before


def test_a_program_is_executed_once(quick_sandbox):
    tracer = Counting(lambda instrumented: trace(quick_sandbox, instrumented))
    remembered = Truths(tracer, Limits())
    first = remembered(SHOWN)
    assert (first.output, first.states) == ("2", ("y: 2", "return_val: 2"))
    assert remembered(instrument(CODE, "f(1)")) is first
    assert remembered(instrument(CODE, "f(2)")).output == "3"
    assert [asked.call for asked in tracer.asked] == ["f(1)", "f(2)"]
    assert len(remembered) == 2


@pytest.mark.parametrize("body", ["while x: pass", "x = [0] * 10**10", "__import__('os')._exit(0)"])
def test_what_a_busy_machine_can_cause_is_asked_again(quick_sandbox, body):
    tracer = Counting(lambda instrumented: trace(quick_sandbox, instrumented))
    remembered = Truths(tracer, Limits())
    shown = instrument(f"def f(x):\n    {body}\n    return x\n", "f(1)")
    assert remembered(shown).verdict in BY_CHANCE
    assert remembered(shown).verdict in BY_CHANCE
    assert (len(tracer.asked), len(remembered)) == (2, 0)


@pytest.mark.parametrize("verdict", Verdict)
def test_which_verdicts_are_remembered(verdict):
    tracer = Counting(lambda instrumented: told(verdict=verdict))
    remembered = Truths(tracer, Limits())
    assert remembered(SHOWN) == remembered(SHOWN) == told(verdict=verdict)
    certain = {Verdict.OK, Verdict.EXCEPTION, Verdict.OUTPUT_LIMIT, Verdict.WRONG, Verdict.UNPARSABLE}
    assert len(tracer.asked) == (1 if verdict in certain else 2)


def shown(number):
    return Instrumented(str(number), None, ())


def test_what_was_not_asked_for_longest_is_forgotten_first():
    tracer = Counting(lambda instrumented: told())
    remembered = Truths(tracer, Limits(), most_traces=2)
    for number in (1, 2, 1, 3):
        remembered(shown(number))
    assert len(remembered) == 2
    tracer.asked.clear()
    for number in (1, 3, 2):
        remembered(shown(number))
    assert [asked.code for asked in tracer.asked] == ["2"]


def test_large_traces_push_others_out():
    tracer = Counting(lambda instrumented: told("x" * int(instrumented.code)))
    remembered = Truths(tracer, Limits(), most_characters=100)
    remembered(shown(40))
    remembered(shown(50))
    assert len(remembered) == 2
    # Every trace counts its type's name too: 43 + 53 fit, 23 more do not.
    remembered(shown(20))
    assert len(remembered) == 2
    remembered(shown(40))
    assert [asked.code for asked in tracer.asked] == ["40", "50", "20", "40"]
    remembered(shown(98))
    assert len(remembered) == 0


def test_threads_share_one_memory():
    gate = threading.Barrier(4, timeout=30)
    remembered = Truths(lambda instrumented: (gate.wait(), told())[1], Limits())
    threads = [threading.Thread(target=remembered, args=(SHOWN,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    # All four were at it at once, and it counts once.
    assert len(remembered) == 1
    assert remembered(SHOWN) == told()
    assert remembered._characters == len("1") + len("int")
