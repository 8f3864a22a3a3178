"""Programs without any bad intent run to their end: nothing that benchmarks ask of Python is refused.

Each suite is run as its own scorer does (HumanEval, arXiv:2107.03374; MBPP, arXiv:2108.07732; CRUXEval, arXiv:2401.03065),
and once more with a wrong solution, so that running to the end means something.
"""

import ast
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reward.sandbox import Limits, Program, Sandbox
from rl.verdicts import Verdict

DATA = Path(__file__).parents[1] / "data"
Row = dict
WRONG = "def {name}(*args, **kwargs):\n    return object()\n"
"""Takes whatever it is given, raises nothing by itself, and is never right."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(Limits(wall_s=20, cpu_s=10)) as sandbox:
        yield sandbox


def cruxeval(row: Row, wrong: bool) -> str:
    rebound = WRONG.format(name="f") if wrong else ""
    return f"{row['code']}\n{rebound}assert {row['output']} == f({row['input']})"


def humaneval(row: Row, wrong: bool) -> str:
    rebound = WRONG.format(name=row["entry_point"]) if wrong else ""
    return f"{row['prompt']}{row['canonical_solution']}\n{rebound}{row['test']}\ncheck({row['entry_point']})"


def mbpp(row: Row, wrong: bool) -> str:
    tests = "\n".join(row["test_list"])
    rebound = "".join(WRONG.format(name=name) for name in called(tests) & defined(row["code"])) if wrong else ""
    return f"{row['code']}\n{rebound}{row['test_setup_code']}\n{tests}"


def called(tests: str) -> set[str]:
    """Names that are called in a text."""
    calls = (node.func for node in ast.walk(ast.parse(tests)) if isinstance(node, ast.Call))
    return {function.id for function in calls if isinstance(function, ast.Name)}


def defined(code: str) -> set[str]:
    """Functions that a text defines at its top."""
    return {node.name for node in ast.parse(code).body if isinstance(node, ast.FunctionDef)}


SUITES = {
    "cruxeval.jsonl": (cruxeval, 800),
    "humaneval.jsonl.gz": (humaneval, 164),
    "mbpp.jsonl.gz": (mbpp, 974),
}


def rows(name: str) -> list[Row]:
    path = DATA / name
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def others(sandbox: Sandbox, name: str, text: Callable[[Row, bool], str], wrong: bool, verdict: Verdict) -> list:
    """The rows of a suite that do not end with `verdict`."""
    found = []
    for row in rows(name):
        execution = sandbox.run(Program(text(row, wrong)))
        if execution.verdict is not verdict:
            found.append((row.get("task_id", row.get("id")), execution.verdict, execution.exception))
    return found


@pytest.mark.parametrize("name", SUITES)
def test_no_right_solution_is_refused(sandbox, name):
    text, count = SUITES[name]
    assert len(rows(name)) == count
    assert others(sandbox, name, text, False, Verdict.OK) == []


@pytest.mark.parametrize("name", SUITES)
def test_every_wrong_solution_raises(sandbox, name):
    assert others(sandbox, name, SUITES[name][0], True, Verdict.EXCEPTION) == []


CLASS = '''
import unittest
from datetime import datetime, timedelta

class Account:
    """Keeps a balance and a history."""
    def __init__(self, owner):
        self.owner, self.balance, self.history = owner, 0, []
    def deposit(self, amount):
        if amount <= 0:
            raise ValueError("nothing to deposit")
        self.balance += amount
        self.history.append((datetime(2024, 1, 1) + timedelta(days=len(self.history)), amount))
        return self.balance

class AccountTestDeposit(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.started = True
    def setUp(self):
        self.account = Account("a")
    def tearDown(self):
        del self.account
    def test_deposit(self):
        self.assertEqual(self.account.deposit(5), 5)
        self.assertEqual(self.account.history, [(datetime(2024, 1, 1), 5)])
    def test_refusal(self):
        with self.assertRaisesRegex(ValueError, "nothing"):
            self.account.deposit(0)
    def test_many(self):
        for amount in range(1, 4):
            with self.subTest(amount=amount):
                self.assertGreater(self.account.deposit(amount), 0)
    @unittest.skip("not today")
    def test_skipped(self):
        self.fail()

class AccountTestMock(unittest.TestCase):
    def test_mock(self):
        from unittest import mock
        account = Account("b")
        with mock.patch.object(account, "deposit", return_value=7) as deposit:
            self.assertEqual(account.deposit(1), 7)
        deposit.assert_called_once_with(1)
'''
RUN_ALL = (
    "(lambda r: (r.testsRun, len(r.errors + r.failures), len(r.skipped)))(unittest.main(argv=['t'], exit=False).result)"
)

EVERYDAY = {
    "a tested class": (Program(CLASS, RUN_ALL), "(5, 0, 1)"),
    "a tested class with a fault": (Program(CLASS.replace("+= amount", "-= amount"), RUN_ALL), "(5, 4, 1)"),
    "lines of numbers": (
        Program("import sys\nn = int(input())\nrows = [[*map(int, line.split())] for line in sys.stdin]",
                "(n, [sum(row) for row in rows])", stdin="2\n1 2 3\n4 5 6\n"),
        "(2, [6, 15])",
    ),
    "all of descriptor 0": (Program("text = open(0).read().split()", "text", stdin="a b\nc"), "['a', 'b', 'c']"),
    "bytes of standard input": (
        Program("import sys, io\nread = io.BytesIO(sys.stdin.buffer.read()).readline", "read()", stdin="ä\n"),
        "b'\\xc3\\xa4\\n'",
    ),
    "a package of several files": (
        Program(
            "import csv\nfrom pathlib import Path\nfrom shop import total\nfrom shop.tax import RATE\n"
            "prices = [float(row['price']) for row in csv.DictReader(open('data/prices.csv', newline=''))]",
            "(total(prices), RATE, sorted(p.name for p in Path('.').iterdir()))",
            files={
                "shop/__init__.py": b"from .tax import RATE\ndef total(prices): return sum(prices) * (1 + RATE)\n",
                "shop/tax.py": b"RATE = 0.5\n",
                "data/prices.csv": b"price\n1.5\n2.5\n",
            },
        ),
        "(6.0, 0.5, ['data', 'shop'])",
    ),
    "classes of every kind": (
        Program(
            "from dataclasses import dataclass, field\nfrom enum import Enum, auto\n"
            "from typing import NamedTuple, Generic, TypeVar\nfrom abc import ABC, abstractmethod\nT = TypeVar('T')\n"
            "class Kind(Enum):\n    A = auto()\n"
            "@dataclass(order=True)\nclass D(Generic[T]):\n    x: int\n    y: list[T] = field(default_factory=list)\n"
            "class P(NamedTuple):\n    x: int = 1\nclass S(ABC):\n    @abstractmethod\n    def area(self): ...",
            "(D(1), Kind.A, P(), S.__abstractmethods__)",
        ),
        "(D(x=1, y=[]), <Kind.A: 1>, P(x=1), frozenset({'area'}))",
    ),
    "text through the standard library": (
        Program(
            "import json, re, hashlib, base64, textwrap, decimal, fractions, statistics, random, logging, warnings, io\n"
            "from contextlib import redirect_stdout\nlogging.warning('to stderr')\nwarnings.warn('to stderr')\n"
            "out = io.StringIO()\nwith redirect_stdout(out):\n    print('kept')",
            "(json.loads('[1]'), re.sub('a+', 'b', 'caat'), base64.b64encode(b'x'), decimal.Decimal('0.1') * 3,"
            " fractions.Fraction(1, 3) + 1, statistics.mean([1, 2]), out.getvalue())",
        ),
        "([1], 'cbt', b'eA==', Decimal('0.3'), Fraction(4, 3), 1.5, 'kept\\n')",
    ),
    "generators, closures and coroutines": (
        Program(
            "def numbers():\n    got = yield 1\n    yield got\ng = numbers()\nfirst = next(g)\n"
            "async def answer(): return 42\ndef drive(c):\n    try:\n        c.send(None)\n"
            "    except StopIteration as end:\n        return end.value",
            "(first, g.send(2), drive(answer()), [f() for f in [lambda i=i: i for i in range(3)]])",
        ),
        "(1, 2, 42, [0, 1, 2])",
    ),
    "a program that exits well": (Program("try:\n    exit(0)\nexcept SystemExit as e:\n    c = e.code", "c"), "0"),
    "clocks and signals of its own": (
        Program(
            "import signal, time\nrung = []\nsignal.signal(signal.SIGALRM, lambda *_: rung.append(1))\n"
            "signal.setitimer(signal.ITIMER_REAL, 0.01)\nend = time.monotonic() + 5\n"
            "while not rung and time.monotonic() < end: time.sleep(0.001)", "rung"
        ),
        "[1]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EVERYDAY)
def test_everyday_programs_give_what_they_give_anywhere(sandbox, name):
    program, value = EVERYDAY[name]
    execution = sandbox.run(program)
    assert (execution.verdict, execution.exception, execution.value) == (Verdict.OK, None, value)


def test_everyday_numpy():
    code = (
        "import numpy as np\nrng = np.random.default_rng(0)\na = np.arange(6, dtype=np.float64).reshape(2, 3)\n"
        "assert np.allclose(np.linalg.inv(np.eye(3) * 2), np.eye(3) / 2)\n"
        "m = np.ma.masked_less(a, 2)\nf = np.fft.ifft(np.fft.fft(a[0])).real.round(9)"
    )
    call = "((a @ a.T).tolist(), int(m.count()), f.tolist(), rng.integers(0, 9, 3).shape,"
    call += " np.linalg.solve(a[:, :2], [1, 7]).tolist())"
    with Sandbox(Limits(wall_s=20, cpu_s=10), packages=("numpy",)) as sandbox:
        execution = sandbox.run(Program(code, call))
    assert (execution.exception, execution.value) == (
        None,
        "([[5.0, 14.0], [14.0, 50.0]], 4, [0.0, 1.0, 2.0], (3,), [1.0, 1.0])",
    )
