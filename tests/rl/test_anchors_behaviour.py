"""An instrumented program behaves as the original: hand-written traps and all of CRUXEval."""

import ast
import io
import json
import os
import re
import subprocess
import sys
import textwrap
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean, median

from rl.anchors import Instrumented, instrument

REPOSITORY = Path(__file__).parents[2]
ADDRESS = re.compile("0x[0-9a-f]+")
CRUXEVAL = REPOSITORY / "tests" / "data" / "cruxeval.jsonl"


@dataclass
class Observation:
    """All one can see of an execution."""

    outcome: tuple[str, str] = ("", "")
    """("int", "3") for a value, ("raise ValueError", message) for an exception."""
    stdout: str = ""
    """What the program itself printed."""
    states: list[str] = field(default_factory=list)
    with_anchors: str = ""
    """Own output and states as a plain run prints them."""


class Tee(io.StringIO):
    def __init__(self, everything: io.StringIO) -> None:
        super().__init__()
        self.everything = everything

    def write(self, text: str) -> int:
        self.everything.write(text)
        return super().write(text)


def hooked(program: Instrumented) -> ast.Module:
    """The program with the print at each anchor's line replaced by a call of a hook, as an executor would do it."""
    tree = ast.parse(program.code)
    by_line = {anchor.line: anchor.name for anchor in program.anchors}
    found = Counter[int]()
    for node in ast.walk(tree):
        if isinstance(node, ast.stmt) and not isinstance(node, ast.Expr):
            assert node.lineno not in by_line, "an anchor shares its line"
        if isinstance(node, ast.Expr) and node.lineno in by_line:
            found[node.lineno] += 1
            assert node.end_lineno == node.lineno
            match node.value:
                case ast.Call(
                    func=ast.Name(id="print"),
                    args=[ast.JoinedStr(values=[ast.Constant(value=label), ast.FormattedValue(value=shown)])],
                ):
                    assert label == f"{by_line[node.lineno]}: "
                    assert isinstance(shown, ast.Name)
                    hook = ast.Name("__anchor__", ast.Load())
                    node.value = ast.Call(hook, [ast.Constant(by_line[node.lineno]), shown], [])
                case _:
                    raise AssertionError(f"no anchor at line {node.lineno}")
    assert found == Counter(list(by_line))
    return ast.fix_missing_locations(tree)


def observe(program: ast.Module | str, call: str) -> Observation:
    everything = io.StringIO()
    own = Tee(everything)
    seen = Observation()

    def hook(name: str, value: object) -> None:
        seen.states.append(f"{name}: {value}")
        everything.write(f"{name}: {value}\n")

    namespace: dict[str, object] = {"__name__": "program", "__anchor__": hook}
    with redirect_stdout(own):
        try:
            exec(compile(program, "<program>", "exec"), namespace)
            value = eval(call, namespace)
            seen.outcome = (type(value).__name__, repr(value))
        except BaseException as error:  # whatever the program raises is part of its behaviour
            seen.outcome = (f"raise {type(error).__name__}", str(error))
    seen.stdout, seen.with_anchors = own.getvalue(), everything.getvalue()
    return seen


def compare(code: str, call: str) -> Observation:
    """Run original, instrumented and hooked program; they must agree. Returns what the hooked one showed."""
    program = instrument(code, call)
    original, plain, recorded = observe(code, call), observe(program.code, call), observe(hooked(program), call)
    assert recorded.outcome == original.outcome, program.code
    assert plain.outcome == original.outcome, program.code
    assert recorded.stdout == original.stdout, program.code
    assert ADDRESS.sub("0x", plain.stdout) == ADDRESS.sub("0x", recorded.with_anchors), program.code
    return recorded


def run(code: str, call: str = "f()") -> Observation:
    return compare(textwrap.dedent(code).strip("\n"), call)


# --- CRUXEval: 800 programs, in a process of their own ---------------------------------------------------------------


def run_cruxeval() -> None:
    """The script that the test below starts: prints the disagreements and the executed anchors of each program."""
    wrong, executed = [], []
    for row in map(json.loads, CRUXEVAL.read_text().splitlines()):
        try:
            seen = compare(row["code"], f"f({row['input']})")
        except AssertionError as error:
            wrong.append([row["id"], str(error)])
            continue
        executed.append(len(seen.states))
        expected = ast.literal_eval(row["output"])
        if seen.outcome != (type(expected).__name__, repr(expected)):
            wrong.append([row["id"], f"{seen.outcome} is not {row['output']}"])
    print(json.dumps({"wrong": wrong, "executed": executed}))


def test_every_cruxeval_program_behaves_as_recorded() -> None:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    script = [sys.executable, __file__]
    result = subprocess.run(script, capture_output=True, text=True, env=environment, timeout=120, check=True)
    report = json.loads(result.stdout)
    assert report["wrong"] == []
    executed = report["executed"]
    assert len(executed) == 800
    assert min(executed) >= 1
    # Table 1 of the paper: mean 3.2, median 3, range 1-7; its filter drops programs with more than 10 executed anchors.
    assert median(executed) == 3
    assert 2.5 <= mean(executed) <= 3.2
    assert max(executed) <= 10


# --- traps ---------------------------------------------------------------------------------------------------------


def test_a_name_that_may_be_unbound_after_a_loop_is_not_shown() -> None:
    seen = run(
        """
        def f(xs):
            total = 0
            for x in xs:
                total += x
                last = x
            return total
        """,
        "f([])",
    )
    assert seen.states == ["total: 0", "total: 0", "return_val: 0"]


def test_the_same_unbound_error_is_raised() -> None:
    seen = run(
        """
        def f(xs):
            for x in xs:
                last = x
            return last
        """,
        "f([])",
    )
    assert seen.outcome[0] == "raise UnboundLocalError"
    assert seen.states == []


def test_a_name_deleted_on_the_way_out_of_a_loop_is_not_shown() -> None:
    seen = run(
        """
        def f():
            a = 1
            while True:
                a += 1
                try:
                    break
                finally:
                    del a
            return 'a' and 2
        """
    )
    assert seen.states == ["a: 1", "return_val: 2"]


def test_a_suppressed_exception_leaves_names_unbound() -> None:
    seen = run(
        """
        from contextlib import suppress
        def f(n):
            with suppress(ZeroDivisionError):
                a = 1 // n
            for _ in range(2):
                if n:
                    a += 1
            return n
        """,
        "f(0)",
    )
    assert seen.states == ["return_val: 0"]


def test_a_global_that_does_not_exist_yet_is_not_shown_after_a_loop() -> None:
    seen = run(
        """
        def f(keys):
            for key in keys:
                cache[key] = 1
            return len(keys)
        early = f([])
        cache = {}
        """,
        "f('ab')",
    )
    assert seen.outcome == ("int", "2")
    assert "cache: {'a': 1, 'b': 1}" not in seen.states


def test_a_global_defined_before_the_function_is_shown_after_a_loop() -> None:
    seen = run(
        """
        cache = {}
        def f(keys):
            for key in keys:
                cache[key] = 1
            return len(keys)
        """,
        "f('ab')",
    )
    assert seen.states == ["cache: {}", "cache: {'a': 1, 'b': 1}", "return_val: 2"]


def test_names_that_an_inner_function_unbinds_are_not_shown() -> None:
    seen = run(
        """
        def f(n):
            a = 1
            def g():
                nonlocal a
                del a
            g()
            for i in range(n):
                a = i
            return n
        """,
        "f(0)",
    )
    assert seen.states == ["return_val: 0"]


def test_generators_stay_lazy_and_iterators_are_not_consumed() -> None:
    seen = run(
        """
        def numbers(n):
            k = 0
            yield k
            k = n
            yield k
            return 'end'
        def f(n):
            it = iter(range(n))
            result = list(it)
            gen = numbers(n)
            first = next(gen)
            try:
                while True:
                    next(gen)
            except StopIteration as stop:
                return first, result, stop.value
        """,
        "f(2)",
    )
    assert seen.outcome == ("tuple", "(0, [0, 1], 'end')")
    assert seen.states[1] == "result: [0, 1]"
    assert seen.states[-4:] == ["k: 2", "return_val: end", "stop: end", "return_val: (0, [0, 1], 'end')"]


def test_finally_decides_after_the_return_value_was_computed() -> None:
    seen = run(
        """
        def f(xs):
            try:
                return xs.append(1) or len(xs)
            finally:
                xs.append(2)
        def g(xs):
            try:
                return 1 // 0
            except ZeroDivisionError as error:
                return str(error)
            finally:
                xs.clear()
        """,
        "(lambda xs: (f(xs), g(xs), xs))([])",
    )
    assert seen.outcome == ("tuple", "(1, 'integer division or modulo by zero', [])")


def test_a_lone_backslash_in_front_of_a_statement_does_not_change_its_indentation() -> None:
    code = "def f(x):\n    if x:\n        y = x\n\\\n\\\n        z = y + 1\n        w = z\n    return w\n"
    recorded = compare(code, "f(1)")
    assert recorded.states == ["y: 1", "z: 2", "w: 2", "return_val: 2"]


def test_own_output_is_kept_in_place() -> None:
    seen = run(
        """
        def f(n):
            print('start', end=' ')
            m = n + 1
            print(f'm: {m}')
            return m
        """,
        "f(1)",
    )
    assert seen.stdout == "start m: 2\n"
    assert seen.with_anchors == "start m: 2\nm: 2\nreturn_val: 2\n"


if __name__ == "__main__":
    run_cruxeval()
