"""The commands on programs: their JSON and human forms, and one line for whatever is wrong with the input."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from cluster import cli

ROOT = Path(__file__).parents[3]
CRUXEVAL = Path(__file__).parents[2] / "data" / "cruxeval.jsonl"

CODE = "def f(x, items):\n    print('own')\n    y = x + len(items)\n    return y\n"

ANCHORS = {"code", "anchors", "states", "output", "exception", "stdout", "reason"}
SANDBOX = {"verdict", "value", "exception", "stdout", "limit", "seconds", "cpu_s", "peak_mib"}
SANDBOX |= {"level", "missing_layers", "refusals"}


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(CODE)
    return path


@pytest.fixture
def codereason(monkeypatch, capsys):
    """The command in this process: arguments in, (status, stdout, stderr) out."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["codereason", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capsys.readouterr()
        return end.value.code or 0, printed.out, printed.err

    return call


@pytest.fixture
def refused(codereason):
    """The one line with which a command refuses its input."""

    def call(*arguments):
        status, out, err = codereason(*arguments)
        assert (status, out) == (2, "")
        assert err.startswith("codereason: ")
        assert err.count("\n") == 1
        return err.removeprefix("codereason: ").rstrip()

    return call


def jsonl(path, *rows):
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def test_anchors_as_json(codereason, program):
    status, out, err = codereason("anchors", program, "--call", "f(1, [2])", "--json")
    shown = json.loads(out)
    assert (status, err) == (0, "")
    assert shown.keys() >= ANCHORS
    lines = shown["code"].splitlines()
    assert [(anchor["name"], lines[anchor["line"] - 1].strip()) for anchor in shown["anchors"]] == [
        ("y", "print(f'y: {y}')"),
        ("return_val", "print(f'return_val: {y}')"),
    ]
    assert shown["states"] == ["y: 2", "return_val: 2"]
    assert (shown["output"], shown["exception"], shown["stdout"], shown["reason"]) == ("2", None, "own\n", None)


LINES = "def f(x):\n    b = x\n    y = (i for i in b).gi_code.co_firstlineno\n    return y\n"


@pytest.mark.parametrize(
    ("code", "anchors", "output", "reason"),
    [
        (LINES, 0, "3", "anchors change the program: output"),
        ("def f(x):\n    y = sorted(locals())\n    return y\n", 0, "['x']", "could notice anchors: uses locals"),
        ("import os\ndef f(x):\n    y = os.urandom(9)\n    return y\n", 2, None, "not deterministic: output"),
        ("\ufeffdef f(x):\n    y = x\n    return y\n", 2, "[1]", None),
        ("def f(x):\n    return\n", 0, "None", None),
    ],
)
def test_an_output_is_that_of_the_program_as_it_is(codereason, tmp_path, code, anchors, output, reason):
    path = tmp_path / "program.py"
    path.write_text(code, encoding="utf-8")
    shown = json.loads(codereason("anchors", path, "--call", "f([1])", "--json")[1])
    assert (len(shown["anchors"]), len(shown["states"]), shown["reason"]) == (anchors, anchors, reason)
    assert output in (None, shown["output"])
    _, out, _ = codereason("anchors", path, "--call", "f([1])")
    assert out.endswith(f"\n{reason}\n" if reason else f"\nok: {output}\n")


def test_anchors_for_people(codereason, program):
    status, out, _ = codereason("anchors", program, "--call", "f(1, [2])")
    assert status == 0
    assert out.startswith("def f(x, items):\n")
    assert out.endswith("\n\ny: 2\nreturn_val: 2\n\nok: 2\n")


def test_anchors_of_a_program_that_raises_or_is_none(codereason, tmp_path):
    broken, raises = tmp_path / "broken.py", tmp_path / "raises.py"
    broken.write_text("def f(:")
    raises.write_text("def f(x):\n    y = x\n    raise ValueError(y)\n")
    shown = json.loads(codereason("anchors", raises, "--call", "f(1)", "--json")[1])
    assert (shown["states"], shown["output"], shown["exception"]) == (["y: 1"], None, "ValueError: 1")
    status, out, err = codereason("anchors", broken, "--json")
    assert (status, out) == (2, "")
    assert "code: line 1: " in err
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"id": "a", "code": "def f(:", "call": "f()"}) + "\n")
    shown = json.loads(codereason("anchors", "--jsonl", rows)[1])
    assert shown.keys() >= ANCHORS
    assert (shown["code"], shown["anchors"], shown["output"]) == ("def f(:", [], None)
    assert shown["exception"].startswith("SyntaxError: code: line 1: ")


def test_sandbox_as_json(codereason, program):
    status, out, err = codereason("sandbox", program, "--call", "f(1, [2])", "--json")
    result = json.loads(out)
    assert (status, err, result.keys()) == (0, "", SANDBOX)
    assert 0 < result.pop("seconds") < 2
    assert 0 < result.pop("cpu_s") < 2
    assert 1 < result.pop("peak_mib") < 512
    assert result.pop("level") in ("full", "userns", "nons")
    assert isinstance(result.pop("missing_layers"), dict)
    assert isinstance(result.pop("refusals"), list)
    assert result == {"verdict": "ok", "value": "2", "exception": None, "stdout": "own\n", "limit": None}


def test_sandbox_for_people(codereason, program):
    status, out, _ = codereason("sandbox", program, "--call", "f(1, [2])")
    assert status == 0
    assert out.startswith("own\nok: 2  (0.")
    assert "level " in out


def test_the_sandbox_is_given_input_files_and_packages(codereason, tmp_path):
    asks = tmp_path / "asks.py"
    read = "[input(), helper.x, open('a/b.txt').read(), int(numpy.arange(4).sum())]"
    asks.write_text(f"import helper, numpy\nfound = {read}\n")
    for name, text in (("in.txt", "hello\n"), ("h.py", "x = 7"), ("b", "deep")):
        (tmp_path / name).write_text(text)
    brought = ["--file", f"helper.py={tmp_path / 'h.py'}", "--file", f"a/b.txt={tmp_path / 'b'}"]
    status, out, _ = codereason(
        "sandbox", asks, "--call", "found", "--stdin", tmp_path / "in.txt", *brought, "--packages", "numpy", "--json"
    )
    assert (status, json.loads(out)["value"]) == (0, "['hello', 7, 'deep', 6]")


def test_what_cannot_be_brought_to_the_sandbox_is_named(refused, program, tmp_path):
    assert refused("sandbox", program, "--file", "a.txt").startswith("--file a.txt: must be NAME=PATH")
    assert refused("sandbox", program, "--file", f"a={tmp_path}").startswith("--file a=")
    assert refused("sandbox", program, "--file", f"../a={program}") == "files: '../a' is no path below the program's folder"
    assert refused("sandbox", program, "--stdin", tmp_path / "none") == f"{tmp_path / 'none'}: No such file or directory"
    assert refused("sandbox", program, "--packages", "os").startswith("--packages os: none of those programs may use: numpy")


def test_the_sandbox_says_which_layers_do_not_hold(codereason, program):
    _, out, err = codereason("sandbox", program, "--call", "f(1, [2])", "--mode", "nons")
    assert "level nons)" in out
    assert "does not hold here: process namespace: level nons has none\n" in err
    told = json.loads(codereason("sandbox", program, "--call", "f(1, [2])", "--mode", "nons", "--json")[1])
    assert told["missing_layers"]["namespaces"] == "level nons has none"


def test_limits_and_mode_reach_the_sandbox(codereason, tmp_path):
    loop = tmp_path / "loop.py"
    loop.write_text("while True: pass")
    result = json.loads(codereason("sandbox", loop, "--timeout", "0.2", "--mode", "nons", "--json")[1])
    assert (result["verdict"], result["level"]) == ("timeout", "nons")
    loop.write_text("x = bytearray(100 << 20)")
    verdicts = [json.loads(codereason("sandbox", loop, "--memory", memory, "--json")[1])["verdict"] for memory in (32, 512)]
    assert verdicts == ["memory", "ok"]


def test_rows_of_cruxeval_print_one_object_each(codereason, tmp_path):
    rows = [json.loads(line) for line in CRUXEVAL.read_text(encoding="utf-8").split("\n")[:5]]
    path = jsonl(tmp_path / "rows.jsonl", *rows)
    for command, shape, value in (("anchors", ANCHORS, "output"), ("sandbox", SANDBOX, "value")):
        status, out, _ = codereason(command, "--jsonl", path)
        found = [json.loads(line) for line in out.splitlines()]
        assert (status, [one["id"] for one in found]) == (0, [row["id"] for row in rows])
        assert [one[value] for one in found] == [repr(eval(row["output"])) for row in rows]
        assert all(one.keys() >= shape for one in found)


def test_states_may_be_shown_as_repr(codereason, tmp_path):
    path = jsonl(tmp_path / "rows.jsonl", {"id": 1, "code": "def f(s):\n    t = s + '!'\n    return t", "call": "f('a')"})
    shown = {}
    for options in ((), ("--repr",)):
        result = json.loads(codereason("anchors", "--jsonl", path, *options)[1])
        shown[options] = (result["states"], "{t!r}" in result["code"])
    assert shown == {(): (["t: a!", "return_val: a!"], False), ("--repr",): (["t: 'a!'", "return_val: 'a!'"], True)}


def test_rows_may_have_a_call_or_none(codereason, tmp_path):
    rows = [{"code": "x = 1\nprint(x)"}, {"id": 7, "code": "def g(x): return x", "call": "g(chr(0xd800))"}]
    found = [json.loads(line) for line in codereason("sandbox", "--jsonl", jsonl(tmp_path / "r", *rows))[1].splitlines()]
    assert [(one["id"], one["value"], one["stdout"]) for one in found] == [("1", None, "1\n"), ("7", r"'\ud800'", "")]


ROW = {"task": "output", "code": "def f(x):\n    y = x + 1\n    return y\n", "input": "1", "output": "2"}
RIGHT = "<print>y: 2</print><print>return_val: 2</print><answer>2</answer>"
SCORED = [
    {**ROW, "response": RIGHT},
    {**ROW, "response": "<print>y: 2</print><answer>3</answer>", "note": "kept"},
    {**ROW, "task": "input", "response": "<answer>2 - 1</answer>"},
    {**ROW, "response": "2"},
]


def test_score_adds_to_each_row_what_execution_says(codereason, tmp_path):
    out = tmp_path / "new" / "scored.jsonl"
    status, printed, _ = codereason("score", jsonl(tmp_path / "in.jsonl", *SCORED), "--out", out, "--json")
    found = [json.loads(line) for line in out.read_text().splitlines()]
    states = ["y: 2", "return_val: 2"]
    assert status == 0
    assert found == [
        {**SCORED[0], "verdict": "ok", "step_rewards": [1.0, 1.0], "final_reward": 1.0, "states": states},
        {**SCORED[1], "verdict": "wrong", "step_rewards": [1.0, 0.0], "final_reward": 0.0, "states": states},
        {**SCORED[2], "verdict": "ok", "step_rewards": [0.0, 0.0], "final_reward": 1.0, "states": states},
        {**SCORED[3], "verdict": "unparsable", "step_rewards": [0.0, 0.0], "final_reward": 0.0, "states": states},
    ]
    assert json.loads(printed) == {"out": str(out), "verdicts": {"ok": 2, "wrong": 1, "unparsable": 1}}


@pytest.mark.parametrize(
    ("code", "call", "why"),
    [
        ("def f(e):\n    return eval(e)\n", "f('3')", "line 2: eval can make the model's answer a program"),
        ("class A:\n    def g(self, x):\n        return x\n", "A().g(3)", "A().g(3) is no call of a function by its name"),
    ],
)
def test_a_program_that_cannot_be_asked_for_its_input_is_named(refused, tmp_path, code, call, why):
    row = {"task": "input", "code": code, "call": call, "output": "3", "response": "<answer>f('3')</answer>"}
    path = jsonl(tmp_path / "in.jsonl", row)
    assert refused("score", path, "--out", tmp_path / "out").startswith(f"{path}:1: task input: {why}")


def test_score_for_people(codereason, tmp_path):
    out = tmp_path / "scored.jsonl"
    status, printed, _ = codereason("score", jsonl(tmp_path / "in.jsonl", *SCORED), "--out", out)
    assert (status, printed) == (0, f"{out}: 2 ok, 1 unparsable, 1 wrong\n")
    assert codereason("score", jsonl(tmp_path / "none.jsonl"), "--out", out) == (0, f"{out}: no rows\n", "")
    assert out.read_text() == ""


BAD_ROWS = {
    "{": "not JSON: ",
    "[1]": "must be a JSON object",
    json.dumps(ROW): "response must be a string",
    json.dumps({**ROW, "response": 3}): "response must be a string",
    json.dumps({**ROW, "response": "", "task": "both"}): "task must be output or input, not 'both'",
    json.dumps({**ROW, "response": "", "task": ["output"]}): "task must be output or input",
    json.dumps({**ROW, "response": "", "code": None}): "code must be a string",
    json.dumps({**ROW, "response": "", "input": 1}): "input must be a string",
    json.dumps({"code": "", "output": "", "response": ""}): "input is missing",
    json.dumps({**ROW, "response": "", "code": "def f(:"}): "code or input: code: line 1: ",
    json.dumps({**ROW, "response": "", "input": "1) or f(2"}): "code or input: call: ",
    json.dumps({**ROW, "response": "", "output": "3\n4"}): "output is given as 3 4 but the call gives 2",
    json.dumps({**ROW, "response": "", "input": "'a\\nb'"}): "output is given as 2 but the call gives TypeError: ",
    json.dumps({**ROW, "response": "", "code": "def f(x): raise ValueError('a\\nb')"}): "output is given as 2 but the call ",
}


@pytest.mark.parametrize("line", BAD_ROWS)
def test_a_bad_row_is_named_and_nothing_is_written(refused, tmp_path, line):
    path, out = jsonl(tmp_path / "in.jsonl", SCORED[0], "", line), tmp_path / "scored.jsonl"
    assert refused("score", path, "--out", out).startswith(f"{path}:3: {BAD_ROWS[line]}")
    assert [entry.name for entry in tmp_path.iterdir()] == ["in.jsonl"]


@pytest.mark.parametrize("command", ["anchors", "sandbox"])
def test_a_bad_row_of_programs_is_named_before_any_is_run(refused, tmp_path, command):
    good = {"code": "x = 1"}
    for line, reason in {"{": "not JSON", '{"call": "f()"}': "code must be", '{"code": "", "call": 1}': "call must"}.items():
        path = jsonl(tmp_path / "in.jsonl", good, line)
        assert refused(command, "--jsonl", path).startswith(f"{path}:2: {reason}")


def test_whatever_else_is_wrong_is_told_in_one_line(refused, program, tmp_path):
    missing, binary = tmp_path / "no.py", tmp_path / "binary"
    binary.write_bytes(b"\xff")
    assert str(missing) in refused("anchors", missing)
    assert str(missing) in refused("sandbox", "--jsonl", missing)
    assert str(missing) in refused("score", missing, "--out", tmp_path / "out")
    assert str(binary) in refused("anchors", binary)
    assert str(binary) in refused("sandbox", "--jsonl", binary)
    assert str(tmp_path) in refused("sandbox", tmp_path)
    assert "--jsonl" in refused("sandbox")
    assert "--jsonl" in refused("anchors", program, "--jsonl", program)
    assert "--mode" in refused("sandbox", program, "--mode", "chroot")
    for timeout in ("0", "-1", "nan", "inf", "soon"):
        assert "--timeout" in refused("sandbox", program, f"--timeout={timeout}")
    assert "--memory" in refused("sandbox", program, "--memory", "1")
    assert "--memory" in refused("sandbox", program, "--memory", str(10**15))
    assert "--out" in refused("score", jsonl(tmp_path / "in", SCORED[0]))
    assert "--out" in refused("score", jsonl(tmp_path / "in", SCORED[0]), "--out", program / "below")
    assert "--wrong" in refused("sandbox", program, "--wrong")
    assert "chant" in refused("chant")
    assert "run.yaml" in refused("run", tmp_path / "run.yaml")
    assert "config.yaml" in refused("report", tmp_path)


@pytest.mark.parametrize("command", ["run", "data", "train", "eval", "sft", "report", "anchors", "sandbox", "score"])
def test_every_command_has_help(codereason, command):
    status, out, _ = codereason(command, "--help")
    assert status == 0
    assert "Usage: " in out


def test_python_m_cluster_is_the_command(program):
    command = [sys.executable, "-m", "cluster", "sandbox", str(program), "--call", "f(1, [])", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["value"] == "1"
    done = subprocess.run([*command[:4], "no.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith("codereason: no.py: ")


def test_a_state_with_half_a_character_is_shown(codereason, tmp_path):
    path = tmp_path / "half.py"
    path.write_text("def f():\n    x = chr(0xd800)\n    return 1\n")
    status, out, _ = codereason("anchors", path, "--call", "f()")
    assert (status, "x: \\ud800" in out) == (0, True)


def test_what_a_program_says_in_half_characters_is_shown(codereason, tmp_path):
    path = tmp_path / "half.py"
    path.write_text('raise ValueError("\\ud800")\n')
    status, out, _ = codereason("sandbox", path)
    assert (status, out.startswith("exception: ValueError: \\ud800")) == (0, True)


def test_a_mark_at_the_beginning_of_a_file_is_no_part_of_the_program(codereason, tmp_path):
    path = tmp_path / "marked.py"
    path.write_bytes(b"\xef\xbb\xbfx = 6\n")
    assert codereason("sandbox", path, "--call", "x * 7")[1].startswith("ok: 42")


@pytest.mark.parametrize("out", [".", "/", ".."])
def test_scores_are_not_written_over_a_folder(codereason, tmp_path, out):
    rows = tmp_path / "rows.jsonl"
    rows.write_text("")
    assert codereason("score", rows, "--out", out) == (2, "", f"codereason: --out {out}: is a folder, a file is needed\n")
