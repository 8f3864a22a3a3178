"""The report of a run: whatever is in the folder becomes one safe page."""

import json
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest

from cluster.reports.charts import CHARTS, REWARDS, Series, line_chart, series, shown_charts, smooth, smoothing_window, ticks
from cluster.reports.page import duration, percent, points, read_metrics, reward_curve_svg, signed, write_report

HOSTILE = "<script>alert('gone')</script><img src=x onerror=alert(1)>\u202ereversed\x00\r\ud800</pre></html>"

PROGRAM = """def f(a, b):
    c = a + b[0]
    print(f'c: {c}')
    return_val = c * 2
    print(f'return_val: {return_val}')
    return return_val
"""


def response(final, steps, text="<print> c: 3 </print>"):
    truth = ["c: 3", "return_val: 6"]
    return {
        "text": text,
        "verdict": "ok" if final else "wrong",
        "states": truth,
        "predicted": [state if right else state + "1" for state, right in zip(truth, steps, strict=True)],
        "answer": "6" if final else "61",
        "step_rewards": [float(right) for right in steps],
        "final_reward": float(final),
    }


def problem(number, decoding, responses):
    return {
        "id": f"heldout-{number}",
        "decoding": decoding,
        "final": sum(one["final_reward"] for one in responses) / len(responses),
        "step": 0.5,
        "trace": 0.0,
        "instrumented": PROGRAM,
        "call": "f(1, [2])",
        "output": "6",
        "responses": responses,
    }


def trajectory(problem_id, advantages, text="a < b"):
    return {
        "problem_id": problem_id,
        "call": "f(1, [2])",
        "instrumented": PROGRAM,
        "output": "6",
        **response(advantages[0] > 0, [True, False], text),
        "advantages": advantages,
        "tokens": [text, *["tok"] * (len(advantages) - 1)],
        "policy_versions": [0] * len(advantages),
    }


def figures(mean):
    return {
        **{f"{measure}_accuracy": mean for measure in ("final", "step", "trace")},
        **{f"{measure}_accuracy_interval": [mean - 0.03, mean + 0.03] for measure in ("final", "step", "trace")},
        "problems": 1024,
    }


def gains(mean, half=0.03):
    one = {"mean": mean, "interval": [mean - half, mean + half]}
    return {
        decoding: {f"{measure}_accuracy": one for measure in ("final", "step", "trace")}
        for decoding in ("greedy", "sampled")
    }


def summary(seeds=(1,), gain=0.05, half=0.03):
    return {
        "name": "tiny",
        "seeds": list(seeds),
        "sft": {"greedy": figures(0.4), "sampled": figures(0.38)},
        "rl": {"greedy": figures(0.4 + gain), "sampled": figures(0.44)},
        "gains": {"rl": gains(gain, half)},
        "wall_seconds": {"data": 20.1, "sft": 170.0, "sft_evaluation": 9.0, "rl": 412.0, "rl_evaluation": 9.5},
    }


def write_jsonl(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_config(folder, name="tiny", task="output"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(f"name: {name}\nseed: 1\ndata:\n  heldout:\n    task: {task}\n")


def sft_rows(epochs=4):
    return [
        {"stage": "sft", "epoch": epoch, "step": 94 * epoch, "loss": 2.0 / epoch, "validation_accuracy": 0.1 * epoch}
        for epoch in range(1, epochs + 1)
    ]


def rl_rows(steps=12, stage="rl"):
    return [
        {
            "stage": stage,
            "step": step,
            "final_reward": 0.3 + 0.02 * step,
            "step_accuracy": 0.6 + 0.01 * step,
            "trace_accuracy": float("nan") if step == 3 else 0.2 + 0.01 * step,
            "entropy": 0.3 - 0.01 * step,
            "rollout_s": 3.0,
            "reward_s": 0.2,
            "update_s": 1.1,
            "sync_s": 0.2,
            "response_tokens": 23000,
            "sync_mismatch": 1e-7,
            "staleness": 0,
            "seconds": 5.0 * step,
        }
        for step in range(1, steps + 1)
    ]


def write_run(folder, hostile=""):
    """A finished run of twelve RL steps over ten held-out problems."""
    write_config(folder)
    write_jsonl(folder / "metrics.jsonl", [*sft_rows(), *rl_rows()])
    for stage, right in (("sft", (0, 0, 0, 0, 0, 0, 1, 1, 1, 1)), ("rl", (1, 1, 1, 1, 1, 0, 0, 1, 1, 1))):
        rows = [problem(n, "greedy", [response(final, [True, final], hostile)]) for n, final in enumerate(right)]
        sampled = [problem(n, "sampled", [response(1, [1, 1])] * 2) for n in range(10)]
        write_jsonl(folder / "evaluations" / f"{stage}.jsonl", [*rows, *sampled])
    quiet = [trajectory("rl-quiet", [0.0, 0.0]) for _ in range(3)]
    lively = [trajectory("rl-lively", [a, a / 2]) for a in (-0.8, 0.1, 1.6, -0.9)]
    lively[2]["tokens"][0] = hostile or "best"
    write_jsonl(folder / "rollouts" / "rl" / "step-00011.jsonl", [trajectory("rl-older", [1.0, -1.0])])
    write_jsonl(folder / "rollouts" / "rl" / "step-00012.jsonl", [*quiet, *lively])
    (folder / "summary.json").write_text(json.dumps(summary()))
    return folder


class Page(HTMLParser):
    """What a browser would make of the page: its tags, its attributes and its text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.words = [], [], []
        self.feed(html)
        self.text = " ".join("".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        if tag not in ("span", "code", "strong"):
            self.words.append(" ")

    def handle_data(self, data):
        self.words.append(data)


def page_of(folder):
    path = write_report(folder)
    assert path == folder / "report.html"
    return Page(path.read_text())


def test_a_finished_run_is_told_soberly(tmp_path):
    page = page_of(write_run(tmp_path / "tiny"))
    assert (
        "On 1,024 held-out problems, greedy final-answer accuracy is 45.0% after RL and 40.0% after SFT: "
        "a change of +5.0 points (95% interval +2.0 to +8.0)." in page.text
    )
    assert "includes zero" not in page.text
    assert "45.0% [42.0%, 48.0%]" in page.text
    assert "RL: evaluation 9.5 s" in page.text
    assert "all 10 min 21 s" in page.text
    assert page.tags.count("svg") == 5


def test_a_gain_that_may_be_nothing_is_called_so(tmp_path):
    run = write_run(tmp_path / "tiny")
    (run / "summary.json").write_text(json.dumps(summary(gain=0.01)))
    assert "The interval includes zero, so this does not show a difference." in page_of(run).text


def test_the_page_is_whole_and_asks_for_nothing(tmp_path):
    run = write_run(tmp_path / "tiny")
    page = page_of(run)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert not {"src", "onload", "onerror"} & {name for name, _ in page.attributes}
    assert all(value.startswith("#") for name, value in page.attributes if name == "href")
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes
    assert not list(run.glob("*.unfinished"))


def test_words_of_a_model_stay_words(tmp_path):
    page = page_of(write_run(tmp_path / "tiny", HOSTILE))
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert page.tags.count("html") == 1
    # Once as the best response's first token, and in the full text of both responses to each of eight problems.
    shown = "<script>alert('gone')</script><img src=x onerror=alert(1)>\ufffdreversed\u2400\u240d\ufffd</pre></html>"
    assert page.words.count(shown) == 17
    for hidden in ("\u202e", "\x00", "\r"):
        assert hidden.encode() not in (tmp_path / "tiny" / "report.html").read_bytes()


def test_problems_are_the_first_of_each_kind(tmp_path):
    page = page_of(write_run(tmp_path / "tiny"))
    assert "Greedy final answers, before → after, to 10 problems:" in page.text
    assert "problems: 5 wrong → right, 1 wrong → wrong, 1 right → wrong, 3 right → right." in page.text
    shown = [word for word in page.words if word.startswith("heldout-")]
    assert shown == [f"heldout-{number}" for number in (0, 1, 2, 3, 5, 6, 7, 8)]


def test_every_state_is_marked_by_colour_and_by_sign(tmp_path):
    page = page_of(write_run(tmp_path / "tiny"))
    classes = [value.split()[-1] for name, value in page.attributes if name == "class"]
    colours = [value for value in classes if value in ("right", "wrong")]
    labels = [value for name, value in page.attributes if name == "aria-label" and value in ("right", "wrong")]
    assert labels == colours
    assert len(labels) == 8 * 2 * 3 + 3
    assert page.text.count("✗") == labels.count("wrong") > 0
    assert page.text.count("✓") == labels.count("right") > 0


def test_what_was_not_stated_or_stated_too_much_is_said(tmp_path):
    run = write_run(tmp_path / "tiny")
    short, long = response(0, [True, False]), response(1, [True, True])
    short["predicted"], short["answer"] = ["c: 3"], None
    long["predicted"] = ["c: 3", "return_val: 6", "extra: 1"]
    write_jsonl(run / "evaluations" / "sft.jsonl", [problem(0, "greedy", [short])])
    write_jsonl(run / "evaluations" / "rl.jsonl", [problem(0, "greedy", [long])])
    page = page_of(run)
    assert page.text.count("not stated") == 2
    assert "RL states 1 more than execution has" in page.text


def test_input_problems_show_each_response_with_its_own_trace(tmp_path):
    run = write_run(tmp_path / "tiny")
    write_config(run, task="input")
    proposed = {**response(0, [True, False]), "states": ["c: 9"], "predicted": ["c: 8"], "step_rewards": [0.0]}
    write_jsonl(run / "evaluations" / "sft.jsonl", [problem(0, "greedy", [proposed])])
    write_jsonl(run / "evaluations" / "rl.jsonl", [problem(0, "greedy", [response(1, [True, True])])])
    page = page_of(run)
    assert "True state" not in page.text
    assert "c: 8 true: c: 9" in page.text
    write_jsonl(run / "evaluations" / "sft.jsonl", [problem(0, "greedy", [response(0, [True, False])])])
    assert "any call that returns 6" in page_of(run).text


def test_of_a_split_that_asks_both_each_problem_says_its_own_task(tmp_path):
    run = write_run(tmp_path / "tiny")
    write_config(run, task="both")
    for stage in ("sft", "rl"):
        row = {**problem(0, "greedy", [response(1, [True, True])]), "task": "input"}
        write_jsonl(run / "evaluations" / f"{stage}.jsonl", [row])
    assert "any call that returns 6" in page_of(run).text
    write_jsonl(run / "evaluations" / "sft.jsonl", [{**row, "task": "output"}])
    assert "any call that returns 6" not in page_of(run).text


def test_advantages_are_of_the_last_step_and_of_a_group_that_differs(tmp_path):
    page = page_of(write_run(tmp_path / "tiny"))
    assert "From RL step 12" in page.text
    titles = [value for name, value in page.attributes if name == "title"]
    assert titles == ["+1.60", "+0.80", "−0.80", "−0.40", "−0.90", "−0.45"]
    heats = [value for name, value in page.attributes if name == "style" and value.startswith("--heat")]
    assert heats == [f"--heat:{heat}" for heat in ("1.0", "0.5", "0.5", "0.25", "0.562", "0.281")]


def test_a_step_cut_short_falls_back_on_the_one_before(tmp_path):
    run = write_run(tmp_path / "tiny")
    (run / "rollouts" / "rl" / "step-00013.jsonl").write_text('{"problem_id": "rl-')
    assert "From RL step 12" in page_of(run).text


def test_alike_responses_have_advantages_of_zero(tmp_path):
    run = write_run(tmp_path / "tiny")
    write_jsonl(run / "rollouts" / "rl" / "step-00012.jsonl", [trajectory("rl-0", [0.0, 0.0]) for _ in range(3)])
    page = page_of(run)
    assert "every advantage is zero" in page.text
    assert not {"plus", "minus"} & {value for name, value in page.attributes if name == "class"}


def test_an_unfinished_run_shows_what_there_is(tmp_path):
    run = tmp_path / "early"
    write_config(run, "early")
    assert "Not finished. No stage is done yet." in page_of(run).text
    write_jsonl(run / "metrics.jsonl", sft_rows(2))
    (run / "stages.json").write_text(json.dumps({"data": 20.0, "sft": 75.0}))
    page = page_of(run)
    assert "Not finished. Stages done: data, SFT." in page.text
    assert page.tags.count("svg") == 2
    write_jsonl(run / "evaluations" / "sft.jsonl", [problem(0, "greedy", [response(0, [True, False])])])
    page = page_of(run)
    assert "Greedy final answers to 1 problem: 1 wrong." in page.text
    assert "before and after" not in page.text


def test_an_empty_folder_still_has_a_page(tmp_path):
    assert "Not finished" in page_of(tmp_path).text


def test_a_study_draws_every_seed_in_one_chart(tmp_path):
    for seed in (1, 2, 10):
        write_run(tmp_path / f"seed-{seed}")
    whole = {**summary((1, 2, 10)), "per_seed": {str(seed): summary((seed,)) for seed in (1, 2, 10)}}
    (tmp_path / "summary.json").write_text(json.dumps(whole))
    page = page_of(tmp_path)
    assert "A codereason study, seeds 1, 2, 10" in page.text
    assert "Seed by seed" in page.text
    assert page.tags.count("svg") == 5
    assert page.text.index("seed 1 ") < page.text.index("seed 2 ") < page.text.index("seed 10 ")
    assert page.tags.count("polyline") == 3 * (3 + 1 + 1 + 1 + 4)


def test_a_study_without_a_summary_shows_its_seeds_so_far(tmp_path):
    write_run(tmp_path / "seed-1")
    write_config(tmp_path / "seed-2")
    for seed, seconds in ((1, 30.0), (2, 50.0)):
        (tmp_path / f"seed-{seed}" / "stages.json").write_text(json.dumps({"data": seconds}))
    page = page_of(tmp_path)
    assert "Stages done: data." in page.text
    assert "data 40 s" in page.text


def test_controls_have_rows_and_charts(tmp_path):
    run = write_run(tmp_path / "tiny")
    longer = [{**row, "stage": "sft_longer"} for row in sft_rows(2)]
    write_jsonl(run / "metrics.jsonl", [*sft_rows(4), *rl_rows(), *rl_rows(9, "terminal"), *longer])
    whole = summary()
    whole |= {"terminal": whole["rl"], "sft_longer": whole["sft"]}
    whole["gains"] |= {"terminal": gains(0.02), "sft_longer": gains(-0.001)}
    (run / "summary.json").write_text(json.dumps(whole))
    page = page_of(run)
    assert page.tags.count("svg") == 7
    assert "RL, final reward only" in page.text
    assert "−0.1 [−3.1, +2.9]" in page.text
    assert "longer SFT: from 2 to 1" in page.text


def test_longer_sft_goes_on_where_sft_ended(tmp_path):
    run = write_run(tmp_path / "tiny")
    write_jsonl(run / "metrics.jsonl", [*sft_rows(4), {"stage": "sft_longer", "epoch": 2, "step": 9, "loss": 0.5}])
    (line,) = [one for one in series(CHARTS[1], read_metrics(run)) if one.name == "longer SFT"]
    assert line.points == [(6.0, 0.5)]


def test_the_reward_picture_stands_alone(tmp_path):
    picture = reward_curve_svg(write_run(tmp_path / "tiny"))
    tree = ElementTree.fromstring(picture)
    assert tree.tag == "{http://www.w3.org/2000/svg}svg"
    assert "var(" not in picture
    assert 'fill="#ffffff"' in picture
    assert picture.count("<polyline") == 3
    assert "final answer: from 32.0% to 54.0%" in picture


def test_the_reward_picture_of_nothing_says_so(tmp_path):
    assert "nothing measured yet" in reward_curve_svg(tmp_path)


def test_values_that_are_no_numbers_leave_no_point():
    metrics = {"": {"rl": [{"step": 1, "final_reward": float("nan")}, {"step": 2, "final_reward": 0.5}, {"step": 3}]}}
    assert [(line.name, line.points) for line in series(REWARDS, metrics)] == [("final answer", [(2.0, 0.5)])]


def test_a_comparison_needs_both_sides():
    titles = [chart.title for chart, _ in shown_charts({"": {"rl": rl_rows(3)}})]
    assert not [title for title in titles if "control" in title]


def test_a_chart_of_one_point_has_a_scale():
    picture = line_chart(REWARDS, [Series("final answer", [(1.0, 0.0)])])
    assert "nan" not in picture
    assert "inf" not in picture


def test_moving_means_stay_centred():
    assert smooth([0.0, 3.0, 6.0, 0.0], 3) == [0.0, 3.0, 3.0, 0.0]
    assert smooth([1.0, 2.0], 1) == [1.0, 2.0]
    assert [smoothing_window(count) for count in (1, 19, 40, 1000)] == [1, 1, 5, 15]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 0, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 7.3, [0, 2, 4, 6, 8]),
        (-1, 0, [-1, -0.8, -0.6, -0.4, -0.2, 0]),
    ],
)
def test_ticks_are_round_and_hold_the_data(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


def test_figures_are_written_alike():
    assert [percent(0.4312), percent(1.0)] == ["43.1%", "100.0%"]
    assert [points(0.05), points(-0.0213), points(-0.0001), points(0.0)] == ["+5.0", "−2.1", "0.0", "0.0"]
    assert [signed(1.1), signed(-0.516), signed(-0.001)] == ["+1.10", "−0.52", "0.00"]
    assert [duration(0.42), duration(20.1), duration(59.7)] == ["0.4 s", "20 s", "1 min 00 s"]
    assert duration(872) == "14 min 32 s"
