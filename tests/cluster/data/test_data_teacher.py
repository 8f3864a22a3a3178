"""Whole builds with a teacher: programs in one split, chains in another, an endpoint that goes and comes back."""

import json
import time

import pytest
from teacher_server import Script, completion, grid_teacher, right_chain, serving

from cluster.config import BadInput, RunSettings
from cluster.data.factory import build
from cluster.data.sources import open_sources
from cluster.data.splits import SPLITS, read_split
from cluster.data.teacher import open_teacher
from cluster.runs import RunFolder, read_jsonl
from rl.anchors import instrument
from rl.synthesis.acceptance import objections
from rl.synthesis.grid import cells
from rl.synthesis.structure import broken_rules

SMALL = {"problems": 6, "chains": True, "grammar": {"statements": [1, 2]}}


pytestmark = pytest.mark.usefixtures("cluster")


def chains(request):
    """Right chains for about every second problem."""
    return right_chain(request) if request["seed"] % 2 else completion("I am not sure.")


def settings(url, **splits):
    teacher = {"base_url": url, "model": "m", "in_flight": 8, "tries": 2, "longest_wait_s": 0.01, "deadline_s": 5}
    data = {**dict.fromkeys(SPLITS, SMALL), "teacher": {**teacher, "down_after": 3, "chain_samples": 1}}
    return RunSettings.model_validate({"name": "run", "data": {**data, **splits}})


def built(folder, config):
    run = RunFolder(folder)
    teacher = open_teacher(config.data, folder / "data")
    done = []
    build(config, open_sources(config.data, config.seed, teacher), run, done.append, teacher)
    return run, sum(done)


def test_chains_of_the_teacher_and_an_endpoint_that_goes_and_comes_back(tmp_path):
    with serving(Script(chains)) as script:
        config = settings(script.url, sft={**SMALL, "problems": 10, "chains": "teacher"})
        filed = tmp_path / "data" / "teacher.jsonl"

        def gone(handler):
            """No answer, and not before the five are on disk: what is under way when a teacher is given up is lost."""
            deadline = time.monotonic() + 4.0
            while len(read_jsonl(filed)) < 5 and time.monotonic() < deadline:
                time.sleep(0.01)
            handler.close_connection = True

        script.faults = [None] * 5 + [gone] * 500
        with pytest.raises(BadInput) as error:
            built(tmp_path, config)
        assert "gave no answer to 3 questions in a row" in str(error.value)
        assert "sft has 0 of 10 problems" in str(error.value)
        assert "\n" not in str(error.value)
        assert len(read_split(RunFolder(tmp_path).split("rl"))) == 6, "the splits after it are filled all the same"
        script.faults = []
        answered = len(read_jsonl(tmp_path / "data" / "teacher.jsonl"))
        asked = len(script.requests)
        run, done = built(tmp_path, config)
        assert answered == 5
        fresh = [json.dumps(request) for request in script.requests[asked:]]
        assert len(fresh) == len(set(fresh))
        assert len(read_jsonl(tmp_path / "data" / "teacher.jsonl")) == answered + len(fresh)
    splits = {name: read_split(run.split(name)) for name in SPLITS}
    assert done == sum(len(problems) for problems in splits.values()) == 28
    assert all(objections(problem, problem.chain) == [] for problem in splits["sft"])
    assert {problem.tags["chain"] for problem in splits["sft"]} == {"teacher"}
    programs = [problem.code for problems in splits.values() for problem in problems]
    assert len(programs) == len(set(programs))
    funnel = json.loads((tmp_path / "data" / "funnel.json").read_text())["sft"]
    assert funnel["teacher: no right chain"] >= 1
    rejected = [row for row in read_jsonl(tmp_path / "data" / "rejected.jsonl") if row["kind"] == "teacher: no right chain"]
    assert len(rejected) == funnel["teacher: no right chain"]
    assert not list((tmp_path / "data" / "parts").glob("*"))


def test_programs_of_the_teacher_fill_a_split(tmp_path):
    with serving(Script(grid_teacher("rl", 1))) as script:
        run, _ = built(tmp_path, settings(script.url, rl={"problems": 12, "teacher": {"mutations": 1}}))
        assert len(script.requests) <= 64
    kept = read_split(run.split("rl"))
    assert len(kept) == 12
    for problem in kept:
        assert problem.source == "teacher"
        assert broken_rules(problem.code) == []
        assert instrument(problem.code, problem.call).code == problem.instrumented
        assert problem.tags["cell"] in {str(cell) for cell in cells()}
    card = (tmp_path / "data" / "README.md").read_text()
    assert "m was asked for rl: the same configuration and the same `teacher.jsonl` give the same bytes" in card
    assert "| teacher | 12 | as its terms say |" in card
