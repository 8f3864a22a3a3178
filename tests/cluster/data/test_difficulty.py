"""The band of difficulty with the real engine: a model is served, asked and scored, wave after wave, and gone afterwards."""

import json

import pytest
import ray
from rich.console import Console

from cluster.config import BadInput, RunSettings, load
from cluster.data import factory
from cluster.data.splits import read_split
from cluster.run import carry_out
from cluster.runs import read_jsonl

SMALL = {"problems": 1, "chains": True, "grammar": {"statements": [1, 1], "largest": 9}}
PROGRAM = "def f(x):\n    y = x + {}\n    return y\n"


def settings(model, file, **difficulty):
    return RunSettings.model_validate(
        {
            "name": "run",
            "data": {
                **dict.fromkeys(("sft", "validation", "heldout"), SMALL),
                "rl": {"problems": 9, "file": str(file)},
                "filters": {"difficulty": {"model": str(model), "samples": 3, "max_tokens": 16, **difficulty}},
            },
            "rl": {"max_tokens": 16},
            "rollout": {"max_length": 256, "max_sequences": 16},
            "reward": {"replicas": 1, "num_cpus": 0.25},
            "cluster": {"dashboard": False},
        }
    )


@pytest.mark.slow
def test_problems_are_asked_of_a_model_that_is_served_for_it(tiny_model, tmp_path, monkeypatch):
    monkeypatch.setattr(factory, "_WAVE", 2)
    rows = [{"id": str(number), "code": PROGRAM.format(number), "call": f"f({number})"} for number in range(3)]
    rows.insert(1, {"id": "long", "code": PROGRAM.format("len('" + "ab " * 200 + "')"), "call": "f(1)"})
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    run = carry_out(settings(tiny_model, tmp_path / "mine.jsonl"), tmp_path / "run", Console(quiet=True), until="data")
    # An untrained model is right about nothing.
    assert {problem.id: problem.tags["passes"] for problem in read_split(run.split("rl"))} == dict.fromkeys("012", "0/3")
    (aside,) = [row for row in read_jsonl(run.path / "data" / "rejected.jsonl") if row["source"] == "mine"]
    assert (aside["id"], aside["reason"]) == (
        "long",
        "difficulty not measured: the prompt leaves no room for a response",
    )
    assert "| 0/3 | 3 |\n| 1/3 | 0 |" in (run.path / "data" / "README.md").read_text()
    assert not ray.is_initialized()


def test_a_model_that_is_not_there_is_named_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(ray, "init", lambda *_, **__: pytest.fail("Ray was started"))
    (tmp_path / "mine.jsonl").write_text(json.dumps({"code": PROGRAM.format(1), "call": "f(1)"}))
    with pytest.raises(BadInput, match=r"data.filters.difficulty.model: .*none is no model's folder"):
        carry_out(settings(tmp_path / "none", tmp_path / "mine.jsonl"), tmp_path / "run", Console(quiet=True), until="data")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["data.filters.difficulty.at_most=11"], "at_least (0) and at_most (11) must be a range up to samples (10)"),
        (["data.filters.difficulty.at_least=4"], "at_least (4) and at_most (3) must be a range up to samples (10)"),
        (["data.filters.difficulty.max_tokens=512"], "data.filters.difficulty.max_tokens (512) leaves no room for a prompt"),
        (["data.filters.difficulty.splits=[test]"], "data.filters.difficulty.splits.0: "),
    ],
)
def test_a_band_that_cannot_be_is_refused(tmp_path, changes, told):
    small = "{problems: 1, chains: true}"
    splits = "\n".join(f"  {name}: {small}" for name in ("sft", "validation", "rl", "heldout"))
    config = tmp_path / "config.yaml"
    config.write_text(f"name: run\ndata:\n{splits}\n  filters: {{difficulty: {{model: somewhere}}}}\n")
    assert load(config, []).data.filters.difficulty.at_most == 3
    with pytest.raises(BadInput) as error:
        load(config, changes)
    assert told in str(error.value)
