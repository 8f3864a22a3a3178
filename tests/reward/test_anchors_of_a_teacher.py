"""A teacher's anchors, executed where ours are: in the sandbox."""

from collections.abc import Iterator

import pytest

from reward.sandbox import Sandbox
from reward.tracing import trace
from rl.anchors import Instrumented
from rl.anchors.teacher import Agreement, TeacherError, verified

CODE = (
    "def f(xs):\n    ys = sorted(xs)\n    print('own')\n    if not ys:\n        return None\n"
    "    first = ys[0]\n    return first\n"
)
TEXT = (
    "def f(xs):\n    ys = sorted(xs)\n    print(f'ys: {ys}')\n    print('own')\n    if not ys:\n        return None\n"
    "    first = ys[0]\n    print(f'return_val: {first}')\n    return first\n"
)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


def executor(sandbox: Sandbox):
    def execute(program: Instrumented) -> object:
        seen = trace(sandbox, program)
        return seen.verdict, seen.output, seen.type_name, seen.exception, seen.stdout

    return execute


def test_a_good_text_can_be_traced_like_our_own(sandbox):
    inserted = verified(CODE, "f([2, 1])", TEXT, executor(sandbox))
    assert trace(sandbox, inserted.program).states == ("ys: [1, 2]", "return_val: 1")
    # Ours show `first` and the early return as well.
    assert inserted.agreement == Agreement(both=2, teacher_only=0, engine_only=2)


def test_a_text_that_fails_where_the_original_does_not_is_refused(sandbox):
    text = TEXT.replace("    if not ys:", "    print(f'first: {first}')\n    if not ys:")
    with pytest.raises(TeacherError, match=r"not do what the original does: .*UnboundLocalError"):
        verified(CODE, "f([2, 1])", text, executor(sandbox))
