"""Anchors against a line tracer that knows nothing of them, on every program of CRUXEval, HumanEval and MBPP.

The instrumented program runs with its anchors intercepted. The original runs under `line_tracer`, which says what the
names were wherever an anchor stands in the instrumented one. Both lists of states must be the same. And the instrumented
program must do what the original does: value, type, exception, own output, and what becomes of the arguments.
"""

import ast
import builtins
import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from line_tracer import traced

from reward.programs import Limits, Program
from reward.sandbox import Sandbox
from reward.tracing import Disagreement, agrees_with, trace
from rl.anchors import Instrumented, instrument
from rl.verdicts import Verdict

DATA = Path(__file__).parents[1] / "data"
LINE_TRACER = Path(__file__).with_name("line_tracer.py").read_text(encoding="utf-8")
LIMITS = Limits(wall_s=120.0, cpu_s=60.0, output_bytes=1 << 22)
ADDRESS = re.compile(r" at 0x[0-9a-f]+")


# --- where anchors stand, in terms of the original -------------------------------------------------------------------


class Places:
    """The statements at which an instrumented program has anchors, and that program without them."""

    def __init__(self, program: Instrumented) -> None:
        self._names = {anchor.line: anchor.name for anchor in program.anchors}
        self.found: list[tuple[str, ast.stmt, str, str]] = []
        """(kind, statement, label, name)."""
        self.tree = ast.parse(program.code)
        self._strip(self.tree)
        assert len(self.found) == len(program.anchors)

    def _strip(self, node: ast.AST) -> None:
        for block in ("body", "orelse", "finalbody"):
            statements = getattr(node, block, None)
            if isinstance(statements, list):
                setattr(node, block, self._stripped(statements))
        for part in ("handlers", "cases"):
            for inner in getattr(node, part, []):
                self._strip(inner)

    def _stripped(self, block: list[ast.stmt]) -> list[ast.stmt]:
        kept: list[ast.stmt] = []
        waiting: list[tuple[str, str]] = []
        for statement in block:
            if isinstance(statement, ast.Expr) and statement.lineno in self._names:
                shown = next(node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and node.id != "print")
                waiting.append((self._names[statement.lineno], shown))
                continue
            closes = self._settle(kept, waiting, statement)
            waiting = []
            if not closes:
                kept.append(statement)
            self._strip(statement)
        self.found += [("after", kept[-1], label, name) for label, name in waiting]
        return kept

    def _settle(self, kept: list[ast.stmt], waiting: list[tuple[str, str]], statement: ast.stmt) -> bool:
        """Says where the anchors in front of a statement belong; whether the statement closes an opened `return`."""
        closes = False
        if waiting and isinstance(statement, ast.Return) and waiting[-1][0] == "return_val":
            label, name = waiting.pop()
            match kept[-1] if kept else None:
                case ast.Assign(targets=[ast.Name(id=assigned)], value=value) if assigned == name == "return_val":
                    kept[-1] = ast.copy_location(ast.Return(value), kept[-1])
                    closes = True
            self.found.append(("return", kept[-1] if closes else statement, label, name))
        for label, name in waiting:
            if kept:
                self.found.append(("after", kept[-1], label, name))
            else:
                self.found.append(("before", statement, label, name))
        return closes


@dataclass
class Flat:
    """The original in a form in which a line event tells the statement, and what `line_tracer` wants to know of it."""

    code: str
    places: list[dict[str, object]]
    loops: list[int]
    returns: list[tuple[int, int]]


def one_statement_a_line(code: str, program: Instrumented) -> Flat:
    places = Places(program)
    original = ast.parse(code)
    assert ast.dump(places.tree) == ast.dump(original), "without its anchors a program is the original"
    flat = Flat(ast.unparse(original), [], [], [])
    tree = ast.parse(flat.code)
    twins = dict(zip(ast.walk(places.tree), ast.walk(tree), strict=True))
    for kind, statement, label, name in places.found:
        twin = twins[statement]
        assert type(twin) is type(statement)
        flat.places.append({"kind": kind, "first": twin.lineno, "last": twin.end_lineno, "label": label, "name": name})
    for node in ast.walk(tree):
        if isinstance(node, ast.For):
            flat.loops.append(node.lineno)
        elif isinstance(node, ast.Return):
            flat.returns.append((node.lineno, node.end_lineno or node.lineno))
    return flat


SHORT_CALLS = {
    "HumanEval/32": "list([find_zero([1, 2])])",
    "HumanEval/38": "list([decode_cyclic('bcaefdhgi'), encode_cyclic('abcdefghij')])",
    "HumanEval/75": "is_multiply_prime(8)",
    "mbpp/84": "sequence(5)",
    "mbpp/187": "longest_common_subsequence('AGB', 'GAB', 3, 3)",
    "mbpp/583": "catalan_number(4)",
    "mbpp/934": "dealnnoy_num(2, 2)",
}
"""Where the tests' own calls pass more anchors than are recorded."""

# --- the programs ----------------------------------------------------------------------------------------------------


@dataclass
class Row:
    id: str
    code: str
    call: str


def watched_call(call: ast.Call) -> str:
    """The call, its value together with what has become of its arguments."""
    lambda_text = f"(lambda *a, **k: ({ast.unparse(call.func)}(*a, **k), a, k))"
    return ast.unparse(ast.Call(ast.parse(lambda_text, mode="eval").body, call.args, call.keywords))


def cruxeval() -> Iterator[Row]:
    for line in (DATA / "cruxeval.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        call = ast.parse(f"f({row['input']})", mode="eval").body
        assert isinstance(call, ast.Call)
        yield Row(row["id"], row["code"], watched_call(call))


def calls_of(statements: list[ast.stmt], names: set[str], known: set[str]) -> list[str]:
    """The calls of functions `names` in assertions that stand alone, with arguments that need nothing else."""
    found = []
    for statement in statements:
        for node in ast.walk(statement) if isinstance(statement, ast.Assert) else ():
            match node:
                case ast.Call(func=ast.Name(id=name)) if name in names:
                    inside = [*node.args, *node.keywords]
                    used = {part.id for item in inside for part in ast.walk(item) if isinstance(part, ast.Name)}
                    if used <= known | set(dir(builtins)):
                        found.append(watched_call(node))
    return found


def defined(tree: ast.Module) -> set[str]:
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def humaneval() -> Iterator[Row]:
    for line in gzip.decompress((DATA / "humaneval.jsonl.gz").read_bytes()).decode().splitlines():
        row = json.loads(line)
        code = row["prompt"] + row["canonical_solution"]
        (check,) = [node for node in ast.parse(row["test"]).body if isinstance(node, ast.FunctionDef)]
        calls = calls_of(check.body, {"candidate"}, defined(ast.parse(code)))
        calls = [call.replace("candidate(*a", f"{row['entry_point']}(*a") for call in calls]
        if row["task_id"] in SHORT_CALLS:
            yield Row(row["task_id"], code, SHORT_CALLS[row["task_id"]])
        elif calls:
            yield Row(row["task_id"], code, f"list([{', '.join(calls[:3])}])")
        else:
            yield Row(row["task_id"], code + row["test"], f"check({row['entry_point']})")


def mbpp() -> Iterator[Row]:
    for line in gzip.decompress((DATA / "mbpp.jsonl.gz").read_bytes()).decode().splitlines():
        row = json.loads(line)
        code = row["code"].replace("\r\n", "\n") + "\n" + row["test_setup_code"].replace("\r\n", "\n")
        tests = ast.parse("\n".join(row["test_list"])).body
        names = defined(ast.parse(code))
        calls = calls_of(tests, names, names)
        if not calls:  # the tested function stands under another name, for example an alias
            tested = [node for test in tests if isinstance(test, ast.Assert) for node in [test.test]]
            calls = [ast.unparse(node) for node in tested]
        name = f"mbpp/{row['task_id']}"
        yield Row(name, code, SHORT_CALLS.get(name, f"list([{', '.join(calls)}])"))


# --- the comparison --------------------------------------------------------------------------------------------------


@dataclass
class Tally:
    programs: int = 0
    without_anchors: int = 0
    anchors: int = 0
    """Executed ones, each compared with what the tracer saw."""
    not_compared: dict[str, str] = field(default_factory=dict)
    """Programs whose trace did not end of itself, by the verdict."""
    disagreements: dict[str, str] = field(default_factory=dict)


def plain(states: object) -> list[str]:
    assert isinstance(states, list | tuple)
    return [ADDRESS.sub("", state) for state in states]


def first_difference(one: list[str], other: list[str]) -> str:
    for number, (left, right) in enumerate(zip([*one, "(end)"], [*other, "(end)"], strict=False)):
        if left != right:
            return f"state {number}: anchor {left!r:.300}, tracer {right!r:.300}"
    raise AssertionError("the same")


def compared(sandbox: Sandbox, rows: Iterator[Row]) -> Tally:
    tally = Tally()
    for row in rows:
        tally.programs += 1
        program = instrument(row.code, row.call)
        anchored = trace(sandbox, program, LIMITS)
        if anchored.verdict not in (Verdict.OK, Verdict.EXCEPTION):
            tally.not_compared[row.id] = str(anchored.verdict)
            continue
        same = agrees_with(sandbox, row.code, row.call, anchored, LIMITS)
        if isinstance(same, Disagreement) and plain([str(same.original)]) != plain([str(same.instrumented)]):
            tally.disagreements[row.id] = str(same)
            continue
        if not program.anchors:
            tally.without_anchors += 1
            continue
        flat = one_statement_a_line(row.code, program)
        told = (flat.code, row.call, flat.places, flat.loops, flat.returns)
        run = sandbox.run(Program(LINE_TRACER, f"traced(*{told!r})"), LIMITS)
        assert run.verdict is Verdict.OK, (row.id, run)
        assert run.value is not None
        seen, states = plain(ast.literal_eval(run.value)), plain(anchored.states)
        tally.anchors += len(states)
        if seen != states:
            tally.disagreements[row.id] = first_difference(states, seen)
    return tally


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(LIMITS) as sandbox:
        yield sandbox


def test_the_line_tracer_by_hand() -> None:
    """A statement counts when control leaves it forwards: not on an exception, not at a yield, not by a return inside."""
    code = "\n".join(
        [
            "def g(x):",
            "    got = yield x",
            "    for i in range(3):",
            "        if i == x:",
            "            return",
            "def f(x):",
            "    try:",
            "        y = 1 // x",
            "    except ZeroDivisionError:",
            "        y = -1",
            "    z = list(g(x))",
            "    return y + 1",
        ]
    )
    kinds = {2: ("after", 2, "x"), 3: ("after", 5, "i"), 8: ("after", 8, "y"), 10: ("after", 10, "y")}
    places = [
        {"kind": kind, "first": first, "last": last, "label": f"{name}{first}", "name": name}
        for first, (kind, last, name) in kinds.items()
    ]
    places.append({"kind": "before", "first": 11, "last": 11, "label": "y11", "name": "y"})
    places.append({"kind": "return", "first": 12, "last": 12, "label": "r", "name": "-"})
    told = ([3], [(5, 5), (12, 12)])
    assert traced(code, "f(0)", places, *told) == ["y10: -1", "y11: -1", "x2: 0", "r: 0"]
    assert traced(code, "f(5)", places, *told) == ["y8: 0", "y11: 0", "x2: 5", "i3: 2", "r: 1"]


def test_cruxeval(sandbox: Sandbox) -> None:
    tally = compared(sandbox, cruxeval())
    assert (tally.programs, tally.without_anchors, tally.not_compared) == (800, 0, {})
    assert tally.anchors > 2000
    assert tally.disagreements == {}


def test_humaneval(sandbox: Sandbox) -> None:
    tally = compared(sandbox, humaneval())
    assert (tally.programs, tally.without_anchors, tally.not_compared) == (164, 1, {})
    assert tally.anchors > 2000
    assert tally.disagreements == {}


@pytest.mark.slow
def test_mbpp(sandbox: Sandbox) -> None:
    tally = compared(sandbox, mbpp())
    assert (tally.programs, tally.without_anchors, tally.not_compared) == (974, 0, {})
    assert tally.anchors > 5000
    assert tally.disagreements == {}
