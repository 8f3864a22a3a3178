"""The audit of a run: agreement is told, and whatever was changed afterwards is found and named."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from cluster import cli
from cluster.config import RunSettings
from cluster.data.splits import read_split, write_split
from cluster.runs import RunFolder, write_jsonl
from reward.sandbox import Limits, Sandbox
from reward.scoring import score_group
from reward.tracing import trace
from rl.anchors import instrument
from rl.problems import Problem, Task

CODE = "def f(x):\n    y = x + {}\n    return y\n"
STEPS = 3


def problem(number, task):
    code = CODE.format(number)
    return Problem(f"p{number}", code, "f(1)", instrument(code, "f(1)").code, ["y: 2"], str(1 + number), task)


def responses(number, task):
    """A group: right, wrong at the end, wrong everywhere, unreadable; each with its token for the end of the text."""
    value = 1 + number
    answers = ("1", "[0][0]", "2", "f(1) or 2") if task is Task.INPUT else (str(value), "0", "'a'", "f(1)")
    prints = [f"<print>y: {value}</print><print>return_val: {value}</print>"] * 2 + ["<print>y: x</print>", ""]
    return [f"{shown}<answer>{answer}</answer><eos>" for shown, answer in zip(prints, answers, strict=True)]


def row(asked, response, score):
    return {
        "problem_id": asked.id,
        "call": asked.call,
        "instrumented": asked.instrumented,
        "output": asked.output,
        "text": response,
        "verdict": str(score.verdict),
        "final_reward": score.final_reward,
        "step_rewards": score.step_rewards,
        "states": score.states,
    }


@pytest.fixture(scope="module")
def settings():
    split = {"problems": 1, "chains": True}
    data = dict.fromkeys(("sft", "validation", "rl", "heldout"), split)
    return RunSettings.model_validate({"name": "small", "data": data, "reward": {"cpu_s": 0.5}})


@pytest.fixture(scope="module")
def scored():
    """Rows of every task, as a run writes them, by step."""
    with Sandbox(Limits(cpu_s=0.5)) as sandbox:
        return {
            task: [
                [
                    row(asked, response, score_group(asked, [response], lambda shown: trace(sandbox, shown))[0])
                    for asked in [problem(step, task)]
                    for response in responses(step, task)
                ]
                for step in range(1, STEPS + 1)
            ]
            for task in Task
        }


@pytest.fixture
def run(request, tmp_path, settings, scored):
    """A run on disk, with the data and the rollouts of three steps; of the output task, unless asked for another."""
    task = getattr(request, "param", Task.OUTPUT)
    folder = RunFolder(tmp_path / "small")
    folder.open(settings)
    write_split(folder.split("rl"), [problem(number, task) for number in range(1, STEPS + 1)])
    for step, rows in enumerate(scored[task], start=1):
        write_jsonl(folder.rollouts("rl") / f"step-{step:05d}.jsonl", rows)
    return folder


@pytest.fixture
def audit(monkeypatch, capsys):
    """The command in this process: arguments in, (status, stdout, stderr) out."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["codereason", "audit", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            cli.main()
        printed = capsys.readouterr()
        return end.value.code or 0, printed.out, printed.err

    return call


def change(run, step, line, **fields):
    """Changes fields of one row on disk; returns what the audit must call it."""
    path = run.rollouts("rl") / f"step-{step:05d}.jsonl"
    lines = path.read_text().split("\n")
    lines[line - 1] = json.dumps({**json.loads(lines[line - 1]), **fields})
    path.write_text("\n".join(lines))
    return f"{path}:{line}"


@pytest.mark.parametrize("run", Task, indirect=True)
def test_an_untouched_run_agrees_in_every_row(audit, run, scored):
    verdicts = {task: [row["verdict"] for step in steps for row in step] for task, steps in scored.items()}
    assert verdicts == {
        Task.OUTPUT: ["ok", "wrong", "wrong", "unparsable"] * STEPS,
        Task.INPUT: ["ok", "wrong", "wrong", "unparsable"] * STEPS,
    }
    status, out, _ = audit(run.path)
    assert (status, out) == (
        0,
        f"{run.path}: 12 of 12 rewards agree with a new execution (drawn from 12 rows, 0 masked ones left out)\n",
    )


def test_a_sample_is_as_large_as_asked_and_the_same_for_the_same_seed(audit, run):
    change(run, 2, 1, final_reward=0.5)

    def found(seed):
        status, out, _ = audit(run.path, "--sample", 5, "--seed", seed, "--json")
        told = json.loads(out)
        assert (told["rows"], told["executed"], told["agree"] + len(told["differences"])) == (12, 5, 5)
        assert status == bool(told["differences"])
        return bool(told["differences"])

    drawn = [found(seed) for seed in range(8)]
    assert drawn == [found(seed) for seed in range(8)]
    assert set(drawn) == {True, False}


CHANGES = {
    "verdict": "wrong",
    "final_reward": 0.0,
    "step_rewards": [1.0, 0.0],
    "call": "f(2)",
    "output": "7",
    "instrumented": CODE,
    "problem_id": "p99",
}


@pytest.mark.parametrize("field", CHANGES)
def test_a_changed_row_is_named(audit, run, field):
    place = change(run, 2, 1, **{field: CHANGES[field]})
    status, out, _ = audit(run.path)
    named, summary = out.splitlines()
    assert status == 1
    assert named.startswith(f"{place}: {field}: {json.dumps(CHANGES[field])} is stored, ")
    assert "11 of 12 rewards agree" in summary


@pytest.mark.parametrize("run", Task, indirect=True)
def test_a_response_that_does_not_earn_its_reward_is_named(audit, run):
    place = change(run, 3, 1, text="<answer>0</answer>")
    status, out, _ = audit(run.path, "--json")
    (found,) = json.loads(out)["differences"]
    assert (status, found["place"]) == (1, place)
    assert (found["field"], found["stored"], found["found"]) == ("verdict", "ok", "wrong")


@pytest.mark.parametrize("run", Task, indirect=True)
def test_what_a_row_says_of_its_problem_does_not_decide(audit, run):
    """A program that would make a wrong answer right is not the one that is executed."""
    easy = instrument("def f(x):\n    return 0\n", "f(1)").code
    place = change(run, 1, 2, instrumented=easy, output="0", verdict="ok", final_reward=1.0)
    status, out, _ = audit(run.path)
    assert status == 1
    assert out.startswith(f"{place}: instrumented: ")


@pytest.mark.parametrize("claim", [{"final_reward": 1.0, "step_rewards": []}, {"final_reward": 0.0, "step_rewards": [1.0]}])
def test_a_masked_row_that_has_rewards_is_executed(audit, run, claim):
    change(run, 1, 1, verdict="sandbox_error", **claim)
    status, out, _ = audit(run.path)
    assert status == 1
    assert 'verdict: "sandbox_error" is stored' in out
    assert "0 masked ones left out" in out


def test_masked_rows_are_no_rewards(audit, run):
    change(run, 1, 1, verdict="sandbox_error", final_reward=0.0, step_rewards=[])
    status, out, _ = audit(run.path)
    assert status == 0
    assert "11 of 11 rewards agree with a new execution (drawn from 12 rows, 1 masked ones left out)" in out


def test_a_masked_row_that_scores_now_is_told(audit, run):
    place = change(run, 1, 1, verdict="sandbox_error", final_reward=0.0, step_rewards=[])
    assert f"{place}: masked, and scores now: ok" in audit(run.path)[1].splitlines()
    assert json.loads(audit(run.path, "--json")[1])["unmasked"] == [place]


def test_where_nothing_was_verified_nothing_agrees(audit, run):
    for step in range(1, STEPS + 1):
        for line in range(1, 5):
            change(run, step, line, verdict="sandbox_error", final_reward=0.0, step_rewards=[])
    status, out, _ = audit(run.path)
    assert (status, "0 of 0 rewards agree" in out) == (3, True)


@pytest.mark.parametrize("run", Task, indirect=True)
def test_an_output_that_its_own_call_does_not_give_is_named(audit, run, request):
    task = request.node.callspec.params["run"]
    wrong = replace(problem(1, task), output="99")
    write_split(run.split("rl"), [wrong, problem(2, task), problem(3, task)])
    places = [change(run, 1, line, output="99") for line in range(1, 5)]
    status, out, _ = audit(run.path)
    named = out.splitlines()
    assert status == 1
    assert named[:4] == [f'{place}: output: "99" is stored, "2" was found' for place in places]
    change(run, 1, 1, verdict="sandbox_error", final_reward=0.0, step_rewards=[])
    status, out, _ = audit(run.path)
    assert (status, out.splitlines()[:4]) == (1, named[:4])
    assert "8 of 12 rewards agree with a new execution (drawn from 12 rows, 0 masked ones left out)" in out


@pytest.mark.parametrize("stored", [{"final_reward": False}, {"final_reward": 0}, {"step_rewards": [False, False]}])
def test_a_reward_is_compared_with_its_type(audit, run, stored):
    place = change(run, 2, 3, **stored)
    status, out, _ = audit(run.path)
    (field,) = stored
    assert (status, out.startswith(f"{place}: {field}: ")) == (1, True)


@pytest.mark.parametrize("verdict", ["timeout", "crashed", "no_result"])
def test_a_verdict_that_a_busy_machine_can_cause_is_no_difference(audit, run, verdict):
    place = change(run, 1, 1, verdict=verdict, final_reward=0.0, step_rewards=[])
    status, out, _ = audit(run.path)
    assert status == 3
    assert out.startswith(f"{place}: {verdict} is stored, which a busy machine can cause, and ok was found\n")
    assert "11 of 11 rewards agree" in out
    change(run, 1, 1, final_reward=1.0)
    assert audit(run.path)[0] == 1


def test_a_line_that_a_crash_cut_short_is_no_row(audit, run):
    with (run.rollouts("rl") / "step-00003.jsonl").open("a") as file:
        file.write('{"problem_id": "p1", "te')
    status, out, _ = audit(run.path)
    assert (status, "12 of 12" in out) == (0, True)


def test_other_stages_are_audited_too(audit, run):
    row = json.loads((run.rollouts("rl") / "step-00001.jsonl").read_text().split("\n")[0])
    write_jsonl(run.rollouts("terminal") / "step-00001.jsonl", [{**row, "step_rewards": [0.0, 0.0]}])
    status, out, _ = audit(run.path)
    assert status == 1
    assert f"{run.rollouts('terminal') / 'step-00001.jsonl'}:1: step_rewards: [0.0, 0.0] is stored" in out
    assert "12 of 13 rewards agree" in out


def alone(run, asked, response, verdict, step_rewards):
    """Leaves the run with one problem and one row."""
    for path in run.rollouts("rl").glob("*.jsonl"):
        path.unlink()
    write_split(run.split("rl"), [asked])
    stored = {"verdict": verdict, "final_reward": float(verdict == "ok"), "step_rewards": step_rewards, "text": response}
    facts = {"problem_id": asked.id, "call": asked.call, "instrumented": asked.instrumented, "output": asked.output}
    write_jsonl(run.rollouts("rl") / "step-00001.jsonl", [facts | stored])


def test_a_timeout_is_a_verdict_that_can_be_reproduced(audit, run):
    alone(run, problem(1, Task.INPUT), "<answer>9**9**9</answer>", "timeout", [])
    status, out, _ = audit(run.path)
    assert (status, "1 of 1 rewards agree" in out) == (0, True)


def test_the_limits_are_those_of_the_run(audit, run):
    code = "def f(x):\n    return 'a' * x\n"
    long = Problem("long", code, "f(300)", instrument(code, "f(300)").code, [], repr("a" * 300))
    alone(run, long, f"<answer>{long.output}</answer>", "ok", [0.0])
    assert audit(run.path)[0] == 0
    config = run.path / "config.yaml"
    config.write_text(config.read_text().replace("output_bytes: 65536", "output_bytes: 256"))
    status, out, _ = audit(run.path)
    assert status == 3
    assert out.splitlines() == [
        f"{run.rollouts('rl') / 'step-00001.jsonl'}:1: not executed: the sandbox failed on it, or its problem's own program "
        "does not run",
        f"{run.path}: 0 of 0 rewards agree with a new execution (drawn from 1 rows, 0 masked ones left out, 1 that "
        "nothing can be said of)",
    ]


def test_a_row_that_was_not_executed_neither_agrees_nor_disagrees(audit, run):
    gone = [replace(problem(number, Task.OUTPUT), code="def f(x): return 1 / 0\n") for number in (1, 2)]
    gone = [replace(asked, instrumented=instrument(asked.code, "f(1)").code) for asked in gone]
    write_split(run.split("rl"), [*gone, problem(3, Task.OUTPUT)])
    for line in range(1, 5):
        place = [change(run, step, line, instrumented=gone[0].instrumented) for step in (1, 2)]
    wrong = change(run, 3, 1, verdict="wrong")
    status, out, _ = audit(run.path, "--json")
    told = json.loads(out)
    assert (status, told["rows"], told["masked"], told["executed"], told["agree"]) == (1, 12, 0, 4, 3)
    assert len(told["undecided"]) == 8
    assert set(place) <= set(told["undecided"])
    assert [one["place"] for one in told["differences"]] == [wrong]
    change(run, 3, 1, verdict="ok")
    assert audit(run.path)[0] == 3


def spoiled(run, how):
    """Makes a run unfit to be audited; returns how the refusal begins."""
    step, data, config = run.rollouts("rl") / "step-00001.jsonl", run.split("rl"), run.path / "config.yaml"
    match how:
        case "not JSON":
            step.write_text("nonsense\n")
            return f"{step}:1: not JSON: "
        case "no object":
            step.write_text("[]\n")
            return f"{step}:1: must be a JSON object"
        case "no text":
            return f"{change(run, 1, 2, text=None)}: text must be a string"
        case "no verdict":
            return f"{change(run, 1, 2, verdict='fine')}: verdict must be one of ok, wrong, "
        case "no data":
            data.unlink()
            return f"{data}: not there, "
        case "spoilt data":
            data.write_bytes(data.read_bytes()[:-100])
            return f"{data}: cannot be read as Parquet: "
        case "no program":
            write_split(data, [replace(problem, code="def f(:") for problem in read_split(data)])
            return "the run's data: problem "
        case "no rollouts":
            for path in run.rollouts("rl").iterdir():
                path.unlink()
            return f"{run.path / 'rollouts'}: no rollouts there; "
        case "no run":
            config.unlink()
            return f"{config}: No such file"
    config.write_text("name: x\n")
    return f"{config}: data: "


HOW = [
    "not JSON",
    "no object",
    "no text",
    "no verdict",
    "no data",
    "spoilt data",
    "no program",
    "no rollouts",
    "no run",
    "bad settings",
]


@pytest.mark.parametrize("how", HOW)
def test_a_run_that_cannot_be_audited_is_refused_with_one_line(audit, run, how):
    line = spoiled(run, how)
    status, out, err = audit(run.path)
    assert (status, out) == (2, "")
    assert err.splitlines()[-1].startswith(f"codereason: {line}")


def test_a_run_of_the_real_loop_agrees(smoke_run):
    command = [sys.executable, "-m", "cluster", "audit", str(smoke_run.folder), "--sample", "200", "--json"]
    done = subprocess.run(command, cwd=cli.__file__.rsplit("/", 2)[0], capture_output=True, text=True, timeout=300)
    assert (done.returncode, json.loads(done.stdout)["differences"]) == (0, [])
