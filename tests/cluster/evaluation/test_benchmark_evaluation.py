"""`codereason eval BENCHMARK --model WHERE`: asked, stored, scored and resumed; by an endpoint and by the real engine."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from teacher_server import Script, completion, says, serving, status

from cluster.config import BadInput
from cluster.data.splits import write_split
from cluster.evaluation.answering import AskSettings, FolderModel
from cluster.evaluation.benchmark import Wanted, _same_evaluation, default_folder
from cluster.evaluation.contamination import contamination, run_of
from cluster.evaluation.questions import Benchmark
from rl.problems import Problem

ROOT = Path(__file__).parents[3]
CODE = "def f(a):\n    b = a + {n}\n    c = b * 2\n    return c\n"
ROWS = [{"id": f"p{n}", "code": CODE.format(n=n), "input": "1", "output": str((1 + n) * 2)} for n in range(4)]


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


def evaluate(*arguments, environment=None):
    command = [sys.executable, "-m", "cluster", "eval", *map(str, arguments)]
    environment = {**os.environ, **(environment or {})}
    return subprocess.run(command, capture_output=True, text=True, timeout=500, check=False, cwd=ROOT, env=environment)


def executes(request):
    """A model that executes what it is shown, and states one step of p3 wrongly; sampled answers know nothing."""
    user = request["messages"][-1]["content"]
    n = int(re.search(r"a \+ (\d)", user)[1])
    b = 1 + n
    steps = f"<print>b: {b if n < 3 else 0}</print><print>c: {2 * b}</print><print>return_val: {2 * b}</print>"
    text = (steps if "print(" in user else "") + f"<answer>{2 * b}</answer>"
    right = request["temperature"] == 0 or request["seed"] % 2 == 0
    return {**completion(text if right else "I cannot say."), "usage": {"completion_tokens": 20 if right else 4}}


def test_an_endpoint_is_asked_scored_and_resumed(rows, tmp_path):
    with serving(Script(executes)) as server:
        arguments = [rows, "--model", "big", "--endpoint", server.url, "--samples", "5", "--out", tmp_path / "out", "--json"]
        done = evaluate(*arguments)
        assert done.returncode == 0, done.stderr
        assert len(server.requests) == 4 * (1 + 5)
        found = json.loads(done.stdout)
        assert found == json.loads((tmp_path / "out" / "figures.json").read_text())
        assert (found["anchors"], found["style"], found["model"]) == (True, "instructed", "big")
        greedy = found["greedy"]["scores"]["rows-output"]
        assert [greedy[rule]["pass@1"]["mean"] for rule in ("strict", "official")] == [1.0, 1.0]
        assert greedy["step_accuracy"]["mean"] == pytest.approx((3 + 2 / 3) / 4)
        assert greedy["right_answer_wrong_steps"]["mean"] == 0.25
        assert found["greedy"]["tokens_per_answer"] == 20
        assert set(found["sampled"]["scores"]["rows-output"]["strict"]) == {"pass@1", "pass@5"}
        sampled = [request for request in server.requests if request["temperature"]]
        assert len({request["seed"] for request in sampled}) == 20

        # What is stored is a predictions file like any other.
        scored = evaluate(rows, "--predictions", tmp_path / "out" / "greedy.jsonl", "--json")
        assert json.loads(scored.stdout)["scores"] == found["greedy"]["scores"]

        # As if it had been stopped: an answer is missing, another is half written.
        path = tmp_path / "out" / "greedy.jsonl"
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(lines[:2]) + lines[2][:20])
        again = evaluate(*arguments)
        assert again.returncode == 0, again.stderr
        assert json.loads(again.stdout) == found
        assert len(server.requests) == 24

        other = evaluate(*arguments, "max_tokens=5")
        assert other.returncode == 2
        assert "answers to an evaluation with another max_tokens (1024) are there" in other.stderr


def test_without_anchors_no_prints_are_shown_and_no_steps_counted(rows, tmp_path):
    with serving(Script(executes)) as server:
        done = evaluate(
            *(rows, "--model", "big", "--endpoint", server.url, "--no-anchors", "--out", tmp_path / "out", "--json"),
            *("--limit", 2),
        )
    assert done.returncode == 0, done.stderr
    assert not any("print(" in request["messages"][-1]["content"] for request in server.requests)
    scores = json.loads(done.stdout)["greedy"]["scores"]["rows-output"]
    assert (scores["problems"], scores["strict"]["pass@1"]["mean"], "step_accuracy" in scores) == (2, 1.0, False)


def test_a_limit_asks_less_and_forgets_nothing(rows, tmp_path):
    with serving(Script(executes)) as server:
        arguments = [rows, "--model", "big", "--endpoint", server.url, "--out", tmp_path / "out", "--json"]
        assert json.loads(evaluate(*arguments, "--limit", 3).stdout)["greedy"]["scores"]["rows-output"]["problems"] == 3
        found = json.loads(evaluate(*arguments, "--limit", 1).stdout)
        assert (found["greedy"]["scores"]["rows-output"]["problems"], len(server.requests)) == (3, 3)
        assert json.loads(evaluate(*arguments).stdout)["greedy"]["scores"]["rows-output"]["problems"] == 4
        assert len(server.requests) == 4

        # Answers to other questions under the same ids are not taken for answers to these.
        rows.write_text(rows.read_text().replace("a + 3", "a + 30"))
        other = evaluate(*arguments)
        assert (other.returncode, "answers to an evaluation of other questions than" in other.stderr) == (2, True)


def test_what_failed_before_it_had_an_answer_stands_in_nobodys_way(rows, tmp_path):
    arguments = [rows, "--model", "big", "--out", tmp_path / "out", "--json"]
    absent = evaluate(*arguments)
    assert (absent.returncode, "--model big: no such folder" in absent.stderr) == (2, True)
    assert not (tmp_path / "out").exists()
    with serving(Script(faults=[status(401)] * 9)) as server:
        assert evaluate(*arguments, "--endpoint", server.url).returncode == 1
    with serving(Script(executes)) as server:
        done = evaluate(*arguments, "--endpoint", server.url, "max_tokens=99")
        assert done.returncode == 0, done.stderr
    verdicts = [json.loads(line) for line in (tmp_path / "out" / "greedy.verdicts.jsonl").read_text().splitlines()]
    assert [(row["id"], row["strict"], row["official"]) for row in verdicts] == [(f"p{n}", [True], [True]) for n in range(4)]
    assert verdicts[3]["steps"] == [[0.0, 1.0, 1.0]]


def test_what_stays_unanswered_is_told_and_asked_again(rows, tmp_path):
    with serving(Script(executes, faults=[status(503)])) as server:
        arguments = [rows, "--model", "big", "--endpoint", server.url, "--out", tmp_path / "out", "--json"]
        arguments += ["in_flight=1", "tries=1"]
        found = json.loads(evaluate(*arguments).stdout)
        assert sum(found["unanswered"].values()) == 1
        assert found["greedy"]["scores"]["rows-output"]["problems"] == 3
        found = json.loads(evaluate(*arguments).stdout)
        assert (found["greedy"]["scores"]["rows-output"]["problems"], "unanswered" in found) == (4, False)
        assert len(server.requests) == 5


def test_an_empty_answer_and_a_rejected_question_count_as_wrong(rows, tmp_path):
    too_long = status(400, '{"error": {"message": "maximum context length"}}')
    with serving(Script(executes, faults=[says(""), too_long])) as server:
        arguments = [rows, "--model", "big", "--endpoint", server.url, "--out", tmp_path / "out", "--json", "in_flight=1"]
        found = json.loads(evaluate(*arguments).stdout)
        scores = found["greedy"]["scores"]["rows-output"]
        assert ("unanswered" in found, scores["problems"], scores["strict"]["pass@1"]["mean"]) == (False, 4, 0.5)
        assert scores["step_accuracy"]["mean"] == pytest.approx((0 + 0 + 1 + 2 / 3) / 4)
        assert json.loads(evaluate(*arguments).stdout)["greedy"] == found["greedy"]
        assert len(server.requests) == 4


def test_an_endpoint_that_rejects_everything_has_answered_nothing(rows, tmp_path):
    arguments = [rows, "--model", "big", "--out", tmp_path / "out", "--json"]
    with serving(Script(executes, faults=[status(400)] * 4)) as server:
        done = evaluate(*arguments, "--endpoint", server.url)
        assert (done.returncode, "4 because of the endpoint rejects every question" in done.stderr) == (2, True)
        assert json.loads(evaluate(*arguments, "--endpoint", server.url).stdout)["greedy"]["scores"]["rows-output"]


def test_samples_that_came_are_kept_and_the_others_are_asked_again(rows, tmp_path):
    with serving(Script(executes, faults=[says("")] * 4 + [status(503)])) as server:
        arguments = [rows, "--model", "big", "--endpoint", server.url, "--out", tmp_path / "out", "--json", "--samples", 2]
        arguments += ["in_flight=1", "tries=1"]
        assert sum(json.loads(evaluate(*arguments).stdout)["unanswered"].values()) == 1
        stored = [json.loads(line) for line in (tmp_path / "out" / "sampled.jsonl").read_text().splitlines()]
        assert sorted(len(row["responses"]) for row in stored) == [1, 2, 2, 2]
        assert "unanswered" not in json.loads(evaluate(*arguments).stdout)
        stored = [json.loads(line) for line in (tmp_path / "out" / "sampled.jsonl").read_text().splitlines()]
        assert [len(row["responses"]) for row in stored] == [2, 2, 2, 2]
        assert len(server.requests) == 4 + 8 + 1


@pytest.mark.parametrize(
    ("model", "changes", "told"),
    [
        ("folder", {}, None),
        ("folder", {"file": "model-00002-of-00002.safetensors"}, "weights"),
        ("folder", {"dtype": "float16"}, "dtype"),
        ("folder", {"max_length": 77}, "max_length"),
        ("some/name", {}, None),
        ("some/name", {"snapshot": "2"}, "weights"),
    ],
)
def test_answers_of_other_weights_are_not_taken_up(rows, tmp_path, monkeypatch, model, changes, told):
    for snapshot in ("1", "2"):
        (tmp_path / snapshot).mkdir()
        (tmp_path / snapshot / "config.json").write_text("{}")
        for number in (1, 2):
            (tmp_path / snapshot / f"model-0000{number}-of-00002.safetensors").write_text("old")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "greedy.jsonl").write_text('{"id": "p0", "responses": ["x"], "tokens": [1]}\n')
    name = "1" if model == "folder" else model

    def checked(snapshot, **served):
        settings = AskSettings(rollout=served)
        wanted = Wanted(
            *(Benchmark("rows-output", rows), name, None, None, True, "trained", 0, None, settings, None, tmp_path / "out")
        )
        _same_evaluation(wanted, [], FolderModel(tmp_path / snapshot, settings))

    checked("1")
    file = changes.pop("file", None)
    if file is not None:
        (tmp_path / "1" / file).write_text("other weights")
    if told is None:
        checked("1")
    else:
        with pytest.raises(BadInput, match=f"with another {told} "):
            checked(changes.pop("snapshot", "1"), **changes)


def test_a_wrong_key_or_address_is_named(rows, tmp_path):
    with serving(Script(faults=[status(401)] * 9)) as server:
        arguments = [rows, "--model", "big", "--endpoint", server.url, "--out", tmp_path / "out", "--key-variable", "A_KEY"]
        done = evaluate(*arguments, environment={"A_KEY": "sesame"})
        assert done.returncode == 1
        assert f"--endpoint: {server.url} refuses the key of --key-variable (status 401)" in done.stderr
        missing = evaluate(*arguments)
        assert (missing.returncode, "--key-variable: the environment variable A_KEY" in missing.stderr) == (2, True)
    wrong = evaluate(rows, "--model", "big", "--endpoint", "nowhere", "--out", tmp_path / "other")
    assert (wrong.returncode, "--endpoint: " in wrong.stderr) == (2, True)


def test_the_real_engine_answers_and_the_run_is_compared(rows, tiny_model, tmp_path):
    run = tmp_path / "runs" / "small"
    (run / "data").mkdir(parents=True)
    (run / "config.yaml").write_text("name: small\n")
    (run / "model").symlink_to(tiny_model)
    write_split(run / "data" / "rl.parquet", [Problem("r", CODE.format(n=2) + "# a b c d", "f(1)", "", [], "6")])
    options = ("max_tokens=24", "rollout.num_cpus=0.5", "cluster.dashboard=false")
    where = ("--model", run / "model", "--trained-on", run, "--runs", run.parent)
    done = evaluate(rows, *where, "--samples", 2, "--json", *options)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["style"] == "trained"
    assert found["contamination"]["shared"] == 1
    assert found["contamination"]["rl"] == {"shared": 1, "programs": 1}
    assert Path(found["out"]).is_relative_to(tmp_path)
    stored = [json.loads(line) for line in (Path(found["out"]) / "sampled.jsonl").read_text().splitlines()]
    assert [row["id"] for row in stored] == ["p0", "p1", "p2", "p3"]
    assert all(len(row["responses"]) == 2 and 0 < max(row["tokens"]) <= 24 for row in stored)
    assert found["greedy"]["scores"]["rows-output"]["problems"] == 4
    assert found["greedy"]["scores"]["rows-output"]["by"]["shares words with training"]["yes"]["problems"] == 1


def test_settings_of_the_pool_come_from_the_model(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": 32768, "torch_dtype": "bfloat16"}))
    found = FolderModel(tmp_path, AskSettings(rollout={"num_gpus": 1})).rollout_settings()
    assert (found.max_length, found.dtype, found.num_gpus) == (4096, "bfloat16", 1)
    with pytest.raises(BadInput, match=r"rollout\.replica: "):
        FolderModel(tmp_path, AskSettings(rollout={"replica": 1})).rollout_settings()
    with pytest.raises(BadInput, match=r"config\.json is missing"):
        FolderModel(tmp_path / "absent", AskSettings()).rollout_settings()


def test_answers_lie_in_the_run_that_left_the_model(tmp_path):
    run, benchmark = tmp_path / "demo", Benchmark("cruxeval-output", Path("x"))
    (run / "data").mkdir(parents=True)
    (run / "config.yaml").write_text("")
    assert run_of(run / "model") == run_of(run / "models" / "sft") == run
    assert default_folder(tmp_path, str(run / "models" / "sft"), None, benchmark, True) == (
        run / "benchmarks" / "sft" / "cruxeval-output"
    )
    assert default_folder(tmp_path, "a/b", "http://x", benchmark, False) == (
        tmp_path / "benchmarks" / "a-b" / "cruxeval-output-no-anchors"
    )


def test_contamination_needs_ten_words_in_a_row(tmp_path):
    ten = "a b c d e f g h i j"
    write_split(tmp_path / "data" / "sft.parquet", [Problem("s", f"'{ten}'", "f()", "", [], "1")])
    found = contamination(tmp_path, {"same": f"x = '{ten}'", "nine": "y = 'a b c d e f g h i'"})
    assert found.problems == {"same": ten}
    assert found.rows == {"sft": (1, 1)}
    with pytest.raises(BadInput, match="no data to compare with"):
        contamination(tmp_path / "absent", {})
