"""The data stage with a real sandbox: splits that share nothing, and every candidate accounted for."""

import gzip
import hashlib
import json
from collections import Counter

import pytest
from datasets import load_dataset

from cluster.config import BadInput, RunSettings
from cluster.data import factory
from cluster.data.factory import build
from cluster.data.numbered import Gridded
from cluster.data.screening import benchmark_texts, program_fingerprint
from cluster.data.sources import open_sources
from cluster.data.splits import SPLITS, read_split
from cluster.runs import RunFolder, read_jsonl
from rl.problems import Task
from rl.responses import parse
from rl.synthesis.acceptance import objections
from rl.synthesis.grid import cells

SMALL = {"problems": 12, "chains": True, "grammar": {"statements": [1, 1], "largest": 9, "list_length": [2, 2]}}
"""A grammar so small that programs come up again and again."""


def settings(**splits):
    data = {"sft": {**SMALL, "chains": True}, "validation": SMALL, "rl": SMALL, "heldout": SMALL}
    return RunSettings.model_validate({"name": "run", "data": {**data, **splits}})


def built(folder, config):
    done = []
    build(config, open_sources(config.data, config.seed), RunFolder(folder), done.append)
    assert sum(done) == sum(len(problems(folder, name)) for name in SPLITS)
    return RunFolder(folder)


def problems(folder, name):
    return read_split(RunFolder(folder).split(name))


pytestmark = pytest.mark.usefixtures("cluster")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return built(tmp_path_factory.mktemp("run"), settings())


def refusal(work):
    with pytest.raises(BadInput) as error:
        work()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_no_program_is_in_two_splits_or_twice_in_one(run):
    programs = [program_fingerprint(problem.code) for name in SPLITS for problem in problems(run.path, name)]
    assert len(programs) == len(set(programs)) == 48


def test_problems_say_what_execution_said(run):
    for problem in problems(run.path, "rl"):
        scope = {}
        exec(problem.code, scope)
        assert repr(eval(problem.call, scope)) == problem.output
        assert problem.states[-1] == f"return_val: {problem.output}"
        assert (problem.task, problem.source) == (Task.OUTPUT, "generator")
        assert problem.tags == {"anchors": str(len(problem.states))}


def test_chains_come_where_they_are_asked_for_and_are_right(run):
    for problem in problems(run.path, "sft"):
        response = parse(problem.chain)
        assert [step.state for step in response.steps] == problem.states
        assert response.answer == problem.output


def test_every_candidate_is_either_kept_or_rejected_with_its_reason(run):
    funnel = json.loads((run.path / "data" / "funnel.json").read_text())
    rejected = read_jsonl(run.path / "data" / "rejected.jsonl")
    assert tuple(funnel) == SPLITS
    for name in SPLITS:
        kept = [problem.id for problem in problems(run.path, name)]
        aside = [row for row in rejected if row["id"].startswith(f"{name}-")]
        reasons = {key: count for key, count in funnel[name].items() if key != "kept"}
        assert funnel[name]["kept"] == len(kept) == 12
        assert sum(reasons.values()) == len(aside)
        assert {row["reason"] for row in aside} == set(reasons)
        numbers = [int(identity.removeprefix(f"{name}-")) for identity in kept + [row["id"] for row in aside]]
        assert sorted(numbers) == list(range(len(numbers)))
    told = {row["reason"] for row in rejected}
    assert {"program already in the split", "program already in another split"} <= told


def test_the_files_are_plain_parquet(run, tmp_path):
    rows = load_dataset("parquet", data_files=str(run.split("heldout")), split="train", cache_dir=str(tmp_path))
    assert rows.num_rows == 12
    assert {"id", "code", "call", "instrumented", "states", "output", "task", "chain"} <= set(rows.column_names)
    assert rows[0]["states"] == problems(run.path, "heldout")[0].states


def test_the_seed_fixes_every_row_and_the_heldout_seed_its_own_split(run, tmp_path):
    again = built(tmp_path / "again", settings())
    for name in SPLITS:
        assert problems(again.path, name) == problems(run.path, name)
    other = built(tmp_path / "other", settings().model_copy(update={"seed": 2}))
    assert problems(other.path, "heldout") == problems(run.path, "heldout")
    assert problems(other.path, "rl") != problems(run.path, "rl")


class Interrupted(Exception):
    """What Ctrl-C is in these tests."""


def test_an_interrupted_build_goes_on_and_gives_the_same_bytes(run, tmp_path, monkeypatch):
    monkeypatch.setattr(factory, "_WAVE", 5)
    config, folder = settings(), RunFolder(tmp_path)
    made = 0

    def stop(done):
        nonlocal made
        made += done
        if made > 20:
            raise Interrupted

    with pytest.raises(Interrupted):
        build(config, open_sources(config.data, config.seed), folder, stop)
    assert folder.split("heldout").exists()
    assert not folder.split("rl").exists()
    again = []
    build(config, open_sources(config.data, config.seed), folder, again.append)
    assert sum(again) == 48
    assert not list((tmp_path / "data" / "parts").glob("*"))
    for name in ("funnel.json", "rejected.jsonl", *(f"{split}.parquet" for split in SPLITS)):
        assert (tmp_path / "data" / name).read_bytes() == (run.path / "data" / name).read_bytes()


def test_what_was_decided_in_an_interrupted_wave_is_not_decided_again(run, tmp_path):
    config, folder = settings(), RunFolder(tmp_path)

    def stop(done):
        if (tmp_path / "data" / "parts" / "rl-00000000.unfinished").exists() and done:
            raise Interrupted

    with pytest.raises(Interrupted):
        build(config, open_sources(config.data, config.seed), folder, stop)
    unfinished = tmp_path / "data" / "parts" / "rl-00000000.unfinished"
    *others, row = map(json.loads, unfinished.read_text().splitlines())
    assert row["problem"]["id"].startswith("rl-")
    row["problem"]["tags"] = json.dumps({"from": "disk"})
    unfinished.write_text("".join(json.dumps(one) + "\n" for one in [*others, row]))
    again = []
    build(config, open_sources(config.data, config.seed), folder, again.append)
    assert sum(again) == 48
    found, wanted = problems(tmp_path, "rl"), problems(run.path, "rl")
    assert [problem.id for problem in found] == [problem.id for problem in wanted]
    assert [problem.id for problem in found if problem.tags == {"from": "disk"}] == [row["problem"]["id"]]


def test_the_card_says_what_there_is(run):
    card = (run.path / "data" / "README.md").read_text()
    funnel = json.loads((run.path / "data" / "funnel.json").read_text())
    assert f"| kept | {' | '.join(str(funnel[name]['kept']) for name in SPLITS)} |" in card
    assert f"| tried | {' | '.join(str(sum(funnel[name].values())) for name in SPLITS)} |" in card
    assert f"| generator | {4 * 12} | made here, Apache-2.0 |" in card
    assert hashlib.sha256(run.split("rl").read_bytes()).hexdigest()[:16] in card
    shown = [f"```python\n{one.code.strip()}\n\n{one.call}  # {one.output}\n```" for one in problems(run.path, "rl")]
    assert "## 10 problems of rl, drawn by the seed" in card
    assert sum(one in card for one in shown) == 10
    loaded = load_dataset(str(run.path / "data"), cache_dir=str(run.path / "cache"))
    assert {name: loaded[name].num_rows for name in loaded} == dict.fromkeys(SPLITS, 12)


def test_the_grid_is_a_source_with_mutated_inputs(tmp_path):
    small = {"problems": 1, "chains": True}
    run = built(
        tmp_path / "run",
        settings(rl={"problems": 40, "grid": {"mutations": 2}}, sft=small, validation=small, heldout=small),
    )
    kept = problems(run.path, "rl")
    calls = Counter(program_fingerprint(problem.code) for problem in kept)
    assert len(kept) == 40
    assert max(calls.values()) == 3
    assert len({(problem.code, problem.call) for problem in kept}) == 40
    assert {problem.source for problem in kept} == {"grid"}
    named = {str(cell) for cell in cells()}
    assert all(problem.tags["cell"] in named for problem in kept)
    assert "## Cells of the grid" in (run.path / "data" / "README.md").read_text()


def test_a_stretch_of_the_grid_is_the_same_however_it_is_cut():
    source = Gridded("rl", 1, 3)
    whole = source.candidates(0, 20)
    assert [candidate.id for candidate in whole[:4]] == ["rl-0", "rl-0.1", "rl-0.2", "rl-1"]
    assert [candidate for cut in range(20) for candidate in source.candidates(cut, cut + 1)] == whole


FILTERED = [
    ("def f(alpha, beta):\n    gamma = alpha * beta + 7\n    return gamma\n", "1, 2"),
    ("def f(left, right):\n    area = left * right + 9\n    return area\n", "3, 4"),
    ("def f(rows):\n    first, *rest = sorted(rows)\n    return rest + [first]\n", "[2, 1]"),
]


def test_what_is_in_a_benchmark_or_much_like_another_stays_out(tmp_path):
    rows = [{"id": str(i), "code": code, "input": given, "output": ""} for i, (code, given) in enumerate(FILTERED)]
    for row in rows:
        scope = {}
        exec(row["code"], scope)
        row["output"] = repr(eval(f"f({row['input']})", scope))
    with gzip.open(tmp_path / "bench.jsonl.gz", "wt") as file:
        file.write(json.dumps({"prompt": "x", "canonical_solution": "first, *rest = sorted(rows)\nreturn rest + [first]"}))
    filters = {"benchmarks": [str(tmp_path / "bench.jsonl.gz")], "ngram": 5, "alike": 0.9}
    small = {"problems": 1, "chains": True}
    config = settings(
        rl={"problems": 9, "file": programs_file(tmp_path / "mine.jsonl", rows)}, sft=small, validation=small, heldout=small
    )
    config = RunSettings.model_validate({**config.model_dump(), "data": {**config.data.model_dump(), "filters": filters}})
    run = built(tmp_path / "run", config)
    rejected = read_jsonl(run.path / "data" / "rejected.jsonl")
    assert [problem.id for problem in problems(run.path, "rl")] == ["0"]
    assert {row["id"]: row["reason"] for row in rejected if row["source"] == "mine"} == {
        "1": "much like another: 0",
        "2": "in a benchmark: first rest sorted rows return",
    }


def test_a_benchmark_that_is_none_is_named(tmp_path):
    (tmp_path / "bench.jsonl").write_text('{"id": 1}\n')
    with pytest.raises(BadInput, match=r"bench.jsonl:1: holds no text"):
        list(benchmark_texts(tmp_path / "bench.jsonl"))
    with pytest.raises(BadInput, match=r"data.filters.benchmarks: .*no.jsonl: No such file"):
        list(benchmark_texts(tmp_path / "no.jsonl"))


ROWS = [
    {"id": "good", "code": "def f(x):\n    y = x + 1\n    return y\n", "input": "1", "output": "2"},
    {"id": "layout", "code": "def f(x): # the same\n    y = x+1\n\n    return y\n", "input": "5", "output": "6"},
    {"id": "again", "code": "def f(x):\n    y = (x + 1)\n    return y\n", "input": "1", "output": "2"},
    {"id": "wrong", "code": "def f(x):\n    y = x + 2\n    return y\n", "input": "1", "output": "2"},
    {"id": "raises", "code": "def f(x):\n    y = x / 0\n    return y\n", "input": "1", "output": "2"},
    {"id": "broken", "code": "def f(x:\n", "input": "1", "output": "2"},
    {"id": "open", "code": "def f(x):\n    return x\n", "input": "1", "output": "[["},
    {"id": "no call", "code": "def f(x):\n    return x\n", "input": "1) + (2", "output": "3"},
    {
        "id": "long",
        "code": "def f(x):\n    y = x\n    return 0 if y == 0 else f(y - 1)\n",
        "input": "20",
        "output": "0",
    },
    {"id": "address", "code": "def f(x):\n    o = object()\n    return x\n", "input": "1", "output": "1"},
    {"id": "surrogate", "code": "def f(x):\n    y = chr(x)\n    return x\n", "input": "0xd800", "output": "55296"},
    {"id": "set", "code": "def f(x):\n    y = set(x)\n    return y\n", "input": "[2, 1]", "output": "{2, 1}"},
    {"id": "g", "entry": "g", "code": "def g(s):\n    t = s\n    return t\n", "input": "'é\u2028'", "output": '"é\u2028"'},
]
REASONS = {
    "again": "call already in the split",
    "wrong": "recorded output is not what the call returns",
    "raises": "execution: exception",
    "open": "recorded output is not what the call returns",
    "long": "trace length over 10",
    "address": "a value shows its address",
    "surrogate": "a value has no text in UTF-8",
}


def programs_file(path, rows):
    path.write_text("\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    return str(path)


def test_prompts_are_decoupled_unless_asked_otherwise(run, tmp_path):
    config = settings()
    together = config.model_copy(update={"data": config.data.model_copy(update={"decoupled": False})})
    built(tmp_path, together)
    for name in SPLITS:
        assert all(problem.decoupled for problem in problems(run.path, name))
        assert not any(problem.decoupled for problem in problems(tmp_path, name))


def test_a_file_of_programs_takes_the_generators_place(tmp_path):
    path = programs_file(tmp_path / "mine.jsonl", ROWS)
    run = built(tmp_path / "run", settings(rl={"problems": 50, "file": path, "task": "input"}))
    kept = problems(run.path, "rl")
    rejected = read_jsonl(run.path / "data" / "rejected.jsonl")
    reasons = {row["id"]: row["reason"] for row in rejected if row["source"] == "mine"}
    assert {name: reasons[name] for name in REASONS} == REASONS
    assert reasons.keys() - REASONS.keys() == {"broken", "no call"}
    assert reasons["broken"].startswith("not a program: code: line 1: ")
    assert reasons["no call"].startswith("not a program: call: ")
    assert [problem.id for problem in kept] == ["good", "layout", "set", "g"]
    assert {(problem.task, problem.source) for problem in kept} == {(Task.INPUT, "mine")}
    assert kept[-1].call == "g('é\u2028')"
    funnel = json.loads((run.path / "data" / "funnel.json").read_text())["rl"]
    assert funnel["kept"] == len(kept)
    assert sum(funnel.values()) == len(ROWS)
    assert funnel["not a program"] == 2


@pytest.mark.parametrize("task", Task)
def test_programs_of_a_file_have_chains_too_in_either_direction(tmp_path, task):
    path = programs_file(tmp_path / "mine.jsonl", ROWS)
    run = built(tmp_path / "run", settings(rl={"problems": 50, "file": path, "task": str(task), "chains": True}))
    kept = problems(run.path, "rl")
    assert [problem.id for problem in kept] == ["good", "layout", "set", "g"]
    for problem in kept:
        assert objections(problem, problem.chain) == []
        assert parse(problem.chain).proposed_input == (None if task is Task.OUTPUT else problem.call[2:-1])
    assert "no chain" not in json.loads((run.path / "data" / "funnel.json").read_text())["rl"]


def test_generated_problems_of_the_input_task_have_chains_of_that_task(tmp_path):
    run = built(tmp_path / "run", settings(sft={**SMALL, "task": "input"}))
    for problem in problems(run.path, "sft"):
        assert problem.task is Task.INPUT
        assert objections(problem, problem.chain) == []


def test_both_tasks_are_asked_by_turns(tmp_path):
    both = {"problems": 8, "chains": True, "task": "both", "grid": {"mutations": 1}}
    run = built(tmp_path / "run", settings(sft=both, rl=both, validation={**SMALL, "problems": 4, "task": "both"}))
    card = (run.path / "data" / "README.md").read_text()
    assert "| split | problems | output task | input task | with chains | sha256 |" in card
    for name in ("sft", "rl", "validation"):
        kept = problems(run.path, name)
        counts = Counter(problem.task for problem in kept)
        assert set(counts) == set(Task)
        assert f"| {name} | {len(kept)} | {counts[Task.OUTPUT]} | {counts[Task.INPUT]} | {len(kept)} | " in card
        assert all(objections(problem, problem.chain) == [] for problem in kept)
    firsts = {problem.task for problem in problems(run.path, "sft") if "." not in problem.id}
    assert firsts == set(Task), "neither a program's own call nor a mutated one is asked one way alone"


def test_from_a_file_come_at_most_as_many_as_asked_for_however_many_are_bad(tmp_path):
    bad = [{"code": "def f(): return 1", "input": "", "output": "2"}] * 45
    path = programs_file(tmp_path / "mine.jsonl", [*bad, *ROWS[:1], {**ROWS[-1], "id": "more"}])
    run = built(tmp_path / "run", settings(rl={"problems": 1, "file": path}, sft=SMALL))
    assert [problem.id for problem in problems(run.path, "rl")] == ["good"]


def test_a_program_held_out_from_a_file_is_not_trained_on(tmp_path):
    path = programs_file(tmp_path / "mine.jsonl", [ROWS[0], ROWS[-1]])
    heldout = {"problems": 1, "file": path}
    run = built(tmp_path / "run", settings(rl={"problems": 9, "file": path}, heldout=heldout, sft=SMALL))
    assert [problem.id for problem in problems(run.path, "heldout")] == ["good"]
    assert [problem.id for problem in problems(run.path, "rl")] == ["g"]


def test_a_file_without_a_usable_row_is_named(tmp_path):
    path = programs_file(tmp_path / "mine.jsonl", ROWS[3:5])
    config = settings(heldout={"problems": 1, "file": path})
    message = refusal(lambda: built(tmp_path / "run", config))
    assert message.startswith(f"{path}: no row is a problem that can be used")
    assert '"execution: exception": 1' in message


def test_a_grammar_too_small_for_its_split_is_named(tmp_path):
    tiny = {"statements": [0, 0], "list_length": [1, 1], "argument": [0, 0], "largest": 1}
    message = refusal(lambda: built(tmp_path / "run", settings(heldout={"problems": 15, "grammar": tiny})))
    assert message.startswith("data.heldout.grammar: gave only ")
    assert "program already in the split" in message
