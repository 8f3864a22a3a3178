"""`codereason bench`: bad input is told in one line that names the row, the option or the file."""

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

import benchmarks.sandbox
import reward.zygote_process
from cluster.commands.bench import app
from cluster.config import BadInput

GOOD = {"code": "def f(x):\n    return x", "input": "1", "output": "1"}
# The official way sets functions of `os` and `shutil` to None; in the sandbox they are just refused.
UNOFFICIAL = {"code": "import os\ndef f(x):\n    return callable(os.kill)", "input": "1", "output": "True"}


def refusal(*arguments: object) -> str:
    """The one line of bad input; there is no other output."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert isinstance(done.exception, BadInput), done.exception
    assert done.stdout == ""
    return str(done.exception)


@pytest.fixture
def rows(tmp_path):
    def write(*rows):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write


@pytest.mark.parametrize(
    ("name", "row", "says"),
    [
        ("soak", GOOD | {"output": "f(1)"}, "output must be a literal, not 'f(1)'"),
        ("soak", GOOD | {"output": "(" * 300}, "output must be a literal, not '((("),
        ("sandbox", GOOD | {"input": "1 / 0"}, "f(input) == output is no truth: ZeroDivisionError"),
        ("sandbox", GOOD | {"output": "2"}, "f(input) == output is no truth: AssertionError"),
        ("sandbox", GOOD | {"code": "def f("}, "f(input) == output is no truth: SyntaxError"),
        ("sandbox", UNOFFICIAL, "the official way does not pass it"),
    ],
)
def test_a_row_that_does_not_do_is_named(rows, name, row, says):
    path = rows(GOOD, row)
    options = ("--no-pool", "--runs", 20) if name == "sandbox" else ("--runs", 100)
    assert refusal(name, "--programs", path, *options).startswith(f"{path}:2: {says}")


def test_a_row_that_another_python_does_not_run_is_named(rows, monkeypatch):
    monkeypatch.setattr(benchmarks.sandbox, "_official", lambda rows, workers: 1.0)
    here = GOOD | {"code": f"import sys\ndef f(x):\n    return sys.flags.isolated == 0 or {'x' * 9}"}
    path = rows(GOOD, here | {"output": "True"})
    assert refusal("sandbox", "--programs", path, "--no-pool", "--runs", 20).startswith(f"{path}:2: does not run in ")


@pytest.mark.parametrize("name", ["sandbox", "soak"])
def test_a_level_that_cannot_be_had_is_named(monkeypatch, name, rows):
    if os.geteuid() == 0:
        # As for a root in a container that may do nothing.
        powerless = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")
        monkeypatch.setattr(reward.zygote_process, "_PYTHON", (*powerless, *reward.zygote_process._PYTHON))
    options = ("--no-pool",) if name == "sandbox" else ()
    assert refusal(name, "--programs", rows(GOOD), "--mode", "full", *options).startswith("--mode full: level full ")


def test_the_python_to_compare_with_is_told_with_its_start(rows):
    done = CliRunner().invoke(app, ["sandbox", "--programs", str(rows(GOOD)), "--no-pool", "--runs", "20"])
    fresh = json.loads(done.stdout)["fresh_process"]
    # The system's, where there is one: a developer's own may load much at its start, which would flatter the sandbox.
    assert fresh["python"] == "/usr/bin/python3" or not Path("/usr/bin/python3").exists()
    assert 1 < fresh["cpu_ms_a_start"] < 1000


def test_a_python_that_is_not_there_is_named(monkeypatch, rows, tmp_path):
    monkeypatch.setattr(benchmarks.sandbox, "_PYTHON", tmp_path / "python3")
    assert refusal("sandbox", "--programs", rows(GOOD), "--no-pool") == (
        f"no Python at {tmp_path / 'python3'} to compare the sandbox with"
    )
