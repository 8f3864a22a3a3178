"""The paper's figures beside a run's own."""

import json

import pytest

from cluster.evaluation.targets import COLUMNS, TARGETS, beside_the_paper
from cluster.reports.page import write_report


def figures(mean):
    return {"mean": mean, "low": mean - 0.1, "high": mean + 0.1}


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "benchmarks" / "rl" / "cruxeval-output"
    folder.mkdir(parents=True)
    scores = {"problems": 800, "strict": {"pass@1": figures(0.4)}, "official": {"pass@1": figures(0.5)}}
    scores |= {"step_accuracy": figures(0.3), "right_answer_wrong_steps": figures(0.25)}
    found = {"anchors": False, "greedy": {"scores": {"cruxeval-output": scores}}}
    (folder / "figures.json").write_text(json.dumps(found))
    return tmp_path


def test_cells_not_averages():
    # Table 2 prints .878 as the mean of these four.
    cells = [TARGETS[name][3] for name in TARGETS if name.startswith(("cruxeval", "livecodebench"))]
    assert sum(cells) / 4 == pytest.approx(0.8875)
    assert all(len(row) == len(COLUMNS) for row in TARGETS.values())


def test_a_runs_figures_stand_beside_the_papers(run):
    passes, steps, hacked = beside_the_paper(run)
    assert (passes["ours"], passes["official"], passes["paper"]["StepCodeReasoner-7B"]) == (0.4, 0.5, 0.916)
    assert (steps["ours"], steps["paper"]) == (0.3, {"CodeReasoner-7B": 0.635, "StepCodeReasoner-7B": 0.807})
    assert (hacked["ours"], hacked["paper"]) == (0.25, {})


def test_the_report_shows_them(run):
    page = write_report(run).read_text()
    assert "cruxeval-output, without anchors" in page
    assert "40.0%" in page
    assert "91.6%" in page


def test_a_run_without_benchmarks_has_no_such_section(tmp_path):
    assert 'id="benchmarks"' not in write_report(tmp_path).read_text()
