"""`codereason anchors --teacher`: verified anchors, the agreement rate with our engine, and what is refused."""

import json
import sys

import pytest
import yaml
from teacher_server import Script, completion, serving, status

from cluster import cli
from cluster.data.teacher.anchors import summary_of

CODE = "def f(x):\n    y = x + 1\n    for _ in range(2):\n        y += x\n    return y * 2\n"
LIKE_OURS = """def f(x):
    y = x + 1
    print(f'y: {y}')
    for _ in range(2):
        y += x
    print(f'y: {y}')
    res = y * 2
    print(f'return_val: {res}')
    return res
"""
FEWER = LIKE_OURS.replace("    print(f'y: {y}')\n    for", "    for")
SPLIT = {"problems": 4, "chains": True, "grammar": {}}


def configuration(folder, url, **teacher):
    asked = {
        "base_url": url,
        "model": "m",
        "tries": 2,
        "longest_wait_s": 0.01,
        "deadline_s": 5,
        "down_after": 2,
        "in_flight": 1,
        **teacher,
    }
    data = {**dict.fromkeys(("sft", "validation", "rl", "heldout"), SPLIT), "teacher": asked}
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({"name": "run", "data": data}))
    return path


@pytest.fixture
def codereason(monkeypatch, capsys, tmp_path):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["codereason", *map(str, arguments), "--runs", str(tmp_path / "runs")])
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capsys.readouterr()
        return end.value.code or 0, printed.out, printed.err

    return call


def programs(folder, *names):
    path = folder / "programs.jsonl"
    path.write_text(
        "".join(json.dumps({"id": name, "code": CODE.replace("y", name), "call": "f(1)"}) + "\n" for name in names)
    )
    return path


def reply(request):
    """By the name in the program: as our engine, with an anchor less, in a code block, changed, or in prose."""
    code = request["messages"][-1]["content"]
    for name, answer in {
        "ours": LIKE_OURS,
        "fewer": FEWER,
        "block": f"Here:\n```python\n{LIKE_OURS}```\n",
        "changed": LIKE_OURS.replace("x + 1", "x + 2"),
        "prose": "I would rather not.",
    }.items():
        if name in code:
            return completion(answer.replace("y", name).replace(f"P{name}thon", "Python"))
    return completion("", refusal="no")


def test_verified_share_and_agreement_rate(codereason, tmp_path):
    rows = programs(tmp_path, "ours", "fewer", "block", "changed", "prose", "refused")
    with serving(Script(reply)) as script:
        config = configuration(tmp_path, script.url)
        code, out, _ = codereason("anchors", "--jsonl", rows, "--teacher", config, "--json")
        asked = len(script.requests)
        assert (code, asked) == (0, 5 + 2), "the refusal is asked for twice"
        assert codereason("anchors", "--jsonl", rows, "--teacher", config, "--json")[1] == out
        assert len(script.requests) == asked, "every answer is on disk"
        human = codereason("anchors", "--jsonl", rows, "--teacher", config)[1]
    *each, summary = map(json.loads, out.splitlines())
    assert [row["id"] for row in each if row["verified"]] == ["ours", "fewer", "block"]
    assert each[0]["states"] == ["ours: 2", "ours: 4", "return_val: 8"]
    assert each[1]["agreement"] == {"both": 2, "teacher_only": 0, "engine_only": 1, "rate": 2 / 3, "identical": False}
    assert each[3]["reason"] == "line 2: 'changed = x + 2' instead of 'changed = x + 1'"
    assert summary == {
        "programs": 6,
        "verified": 3,
        "verified_share": 0.5,
        "identical_share": 2 / 3,
        "shared_anchors": 8 / 9,
        "refused": {"refused": 2, "teacher: refuses": 1},
    }
    assert "verified: 3 of 6 programs (50.0%)" in human
    assert "placed as our engine places them: 66.7% of the verified programs" in human


def test_one_program_and_what_ends_the_command(codereason, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(CODE.replace("y", "ours"))
    with serving(Script(reply)) as script:
        config = configuration(tmp_path, script.url)
        code, out, _ = codereason("anchors", program, "--call", "f(1)", "--teacher", config)
        assert (code, out.count("print(")) == (0, 3)
        assert "return_val: 8" in out
        script.faults = [status(503)] * 100
        rows = programs(tmp_path, "one", "two", "three")
        code, out, err = codereason("anchors", "--jsonl", rows, "--teacher", config)
        assert (code, out) == (2, "")
        assert err.count("\n") == 1
        assert "gave no answer to 2 questions in a row" in err
    config.write_text(config.read_text().replace("teacher:", "nobody:"))
    assert "nobody" in codereason("anchors", program, "--teacher", config)[2]
    assert codereason("anchors", program, "--teacher", config, "--repr")[0] == 2


def test_nothing_verified_has_no_rate():
    assert summary_of([{"verified": False, "kind": "refused"}])["identical_share"] is None
