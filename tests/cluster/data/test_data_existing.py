"""Existing programs through the whole data stage: bad rows, structural rules, several calls of a program, and the band of
difficulty, measured here by a rule in the model's place."""

import json
from collections import Counter
from pathlib import Path

import pytest
from datasets import Dataset

from cluster.config import BadInput, DifficultySettings, RunSettings
from cluster.data import factory
from cluster.data.difficulty import Difficulty, Measured
from cluster.data.factory import build
from cluster.data.sources import open_sources
from cluster.data.splits import read_split
from cluster.runs import RunFolder, read_jsonl

DATA = Path(__file__).parents[2] / "data"
SMALL = {"problems": 1, "chains": True, "grammar": {"statements": [1, 1], "largest": 9}}


pytestmark = pytest.mark.usefixtures("cluster")


def settings(filters=None, **splits):
    data = dict.fromkeys(("sft", "validation", "rl", "heldout"), SMALL)
    return RunSettings.model_validate({"name": "run", "data": {**data, "filters": filters or {}, **splits}})


def built(folder, config, difficulty=None):
    build(config, open_sources(config.data, config.seed), RunFolder(folder), lambda done: None, difficulty=difficulty)
    return RunFolder(folder)


def kept(run, split="rl"):
    return read_split(run.split(split))


def rejected(run, source):
    return {row["id"]: row for row in read_jsonl(run.path / "data" / "rejected.jsonl") if row["source"] == source}


def funnel(run):
    return json.loads((run.path / "data" / "funnel.json").read_text())["rl"]


def jsonl(path, rows):
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return str(path)


GOOD = [
    {"id": "plus", "code": "def f(x):\n    y = x + 1\n    return y\n", "call": "f(1)"},
    {"id": "words", "code": "def f(x):\n    y = x.split()\n    return y\n", "call": "f('a b')"},
    {"id": "default", "code": "def f(x, y=2):\n    z = x * y\n    return z\n", "call": "f(4)"},
]


def test_bad_rows_are_counted_and_kept_aside_and_the_rest_goes_on(tmp_path):
    path = jsonl(tmp_path / "mine.jsonl", ["[", GOOD[0], {"id": "no", "code": 1}, {**GOOD[1], "id": "plus"}, GOOD[2]])
    run = built(tmp_path / "run", settings(rl={"problems": 9, "file": path}))
    assert [problem.id for problem in kept(run)] == ["plus", "default"]
    assert funnel(run) == {"kept": 2, "bad row": 3}
    aside = rejected(run, "mine")
    assert {name: row["reason"].partition(f"{path}:")[2] for name, row in aside.items()} == {
        "mine-1": "1: not JSON: Expecting value: line 1 column 2 (char 1)",
        "mine-3": "3: code must be a string",
        "mine-4": "4: id plus is another row's already",
    }


def test_structural_rules_hold_where_they_are_asked_for(tmp_path):
    path = jsonl(tmp_path / "mine.jsonl", GOOD)
    run = built(tmp_path / "run", settings(filters={"structure": True}, rl={"problems": 9, "file": path}))
    assert [problem.id for problem in kept(run)] == ["plus", "words"]
    assert rejected(run, "mine")["default"]["reason"] == "structure: line 1: f has default arguments"
    assert funnel(run) == {"kept": 2, "structure": 1}


def test_humanevals_programs_have_several_calls_and_mutations(tmp_path):
    split = {"problems": 40, "file": str(DATA / "humaneval.jsonl.gz"), "mutations": 1, "chains": True}
    run = built(tmp_path / "run", settings(rl=split))
    problems = kept(run)
    assert len(problems) == 40
    assert len({(problem.code, problem.call) for problem in problems}) == 40
    calls = Counter(problem.code for problem in problems)
    assert max(calls.values()) > 2
    names = {problem.id for problem in problems}
    assert {"HumanEval/2", "HumanEval/2.1", "HumanEval/2~1"} <= names
    assert {problem.source for problem in problems} == {"humaneval"}


def test_a_dataset_is_a_source(tmp_path):
    rows = {"program": [row["code"] for row in GOOD], "asked": [row["call"] for row in GOOD]}
    Dataset.from_dict(rows).to_parquet(str(tmp_path / "set.parquet"))
    dataset = {"path": str(tmp_path / "set.parquet"), "fields": {"code": "program", "call": "asked"}}
    run = built(tmp_path / "run", settings(rl={"problems": 9, "dataset": dataset}))
    assert [(one.id, one.output) for one in kept(run)] == [("set-0", "2"), ("set-1", "['a', 'b']"), ("set-2", "8")]


class Interrupted(Exception):
    """What Ctrl-C is in these tests."""


class Rule:
    """A model's place is taken by a rule: it is right as often as the call's digits sum up to, modulo five."""

    def __init__(self, stop_after=10**9):
        self.asked = []
        self._stop_after = stop_after

    def __call__(self, found, note):
        for problem in found:
            if len(self.asked) == self._stop_after:
                raise Interrupted
            self.asked.append(problem.id)
            note(problem, Measured(sum(int(digit) for digit in problem.call if digit.isdigit()) % 5, judged=4))


def band(rule, **settings):
    wanted = DifficultySettings(model=Path("model"), samples=4, **{"at_least": 1, "at_most": 2, **settings})
    return Difficulty(wanted, rule)


def passes(call):
    return sum(int(digit) for digit in call if digit.isdigit()) % 5


RL = {"problems": 12, "grammar": {"statements": [1, 2], "largest": 30}}


def test_only_problems_in_the_band_are_kept_until_the_split_is_full(tmp_path):
    rule = Rule()
    run = built(tmp_path / "run", settings(rl=RL), band(rule))
    assert len(kept(run)) == 12
    assert all(problem.tags["passes"] == f"{passes(problem.call)}/4" for problem in kept(run))
    assert {passes(problem.call) for problem in kept(run)} == {1, 2}
    assert all("passes" not in problem.tags for problem in kept(run, "heldout"))
    aside = [row for row in rejected(run, "generator").values() if row["id"].startswith("rl-")]
    for row in (row for row in aside if row["kind"] == "difficulty"):
        right = passes(row["call"])
        assert right in (0, 3, 4)
        assert row["tags"]["passes"] == f"{right}/4"
        assert row["reason"] == f"difficulty: {right} of 4 right, 1 to 2 are wanted"
    assert all(passes(row["call"]) in (1, 2) for row in aside if row["kind"] == "the split was full")
    counts = funnel(run)
    assert counts["difficulty"] > 0
    assert sum(counts.values()) == len(aside) + 12
    assert len(rule.asked) == len(set(rule.asked)) == 12 + counts["difficulty"] + counts.get("the split was full", 0)


def test_an_interrupted_measurement_asks_for_nothing_twice(tmp_path, monkeypatch):
    monkeypatch.setattr(factory, "_FEWEST", 8)
    once, first, second = Rule(), Rule(stop_after=21), Rule()
    whole = built(tmp_path / "once", settings(rl=RL), band(once))
    with pytest.raises(Interrupted):
        built(tmp_path / "again", settings(rl=RL), band(first))
    known = tmp_path / "again" / "data" / "parts" / "passes-rl.jsonl"
    known.write_text(known.read_text() + '{"id": "rl-')
    again = built(tmp_path / "again", settings(rl=RL), band(second))
    assert first.asked + second.asked == once.asked
    assert len(first.asked) == 21
    for name in ("rl.parquet", "rejected.jsonl", "funnel.json"):
        assert (again.path / "data" / name).read_bytes() == (whole.path / "data" / name).read_bytes()
    assert not list((again.path / "data" / "parts").glob("*"))


def test_a_band_that_nothing_is_in_is_named(tmp_path):
    config = settings(rl={"problems": 2, "file": jsonl(tmp_path / "mine.jsonl", GOOD)})
    with pytest.raises(BadInput, match=r'mine.jsonl: no row is a problem that can be used \({"difficulty": 3}\)'):
        built(tmp_path / "run", config, band(Rule(), at_least=3, at_most=3))


def test_what_could_not_be_measured_is_set_aside(tmp_path):
    def measure(found, note):
        for problem, measured in zip(found, (Measured(0, 3), Measured(0, 0, room=False), Measured(2, 4)), strict=True):
            note(problem, measured)

    run = built(tmp_path / "run", settings(rl={"problems": 9, "file": jsonl(tmp_path / "mine.jsonl", GOOD)}), band(measure))
    assert [problem.id for problem in kept(run)] == ["default"]
    assert {name: row["reason"] for name, row in rejected(run, "mine").items()} == {
        "plus": "difficulty not measured: 3 of 4 responses were scored",
        "words": "difficulty not measured: the prompt leaves no room for a response",
    }
    assert funnel(run) == {"kept": 1, "difficulty not measured": 2}
