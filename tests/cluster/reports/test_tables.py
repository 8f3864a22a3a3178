"""The figures as tables."""

from cluster.reports.tables import markdown_tables, terminal_table

FIGURES = {
    f"{measure}_accuracy{suffix}": value
    for measure in ("final", "step", "trace")
    for suffix, value in (("", 0.5), ("_interval", [0.25, 0.75]))
}
GAINS = {f"{measure}_accuracy": {"mean": 0.1, "interval": [-0.05, 0.25]} for measure in ("final", "step", "trace")}
SUMMARY = {
    "name": "x",
    "seeds": [1, 2],
    "algorithm": "bilevel",
    "sft": {"greedy": {"problems": 7, **FIGURES}},
    "rl": {"greedy": {"problems": 7, **FIGURES}},
    "gains": {"rl": {"greedy": GAINS}},
    "wall_seconds": {"data": 1.4, "rl": 20.0},
}


def test_markdown_says_what_the_summary_says():
    more = {"rl_over": {"terminal": {"greedy": GAINS}}, "guess": {"final_accuracy": 0.125}}
    text = markdown_tables({**SUMMARY, **more, "per_seed": {"1": {"gains": {"rl": {"greedy": GAINS}}}}})
    assert "7 problems, seeds 1, 2" in text
    assert "| Bi-Level GRPO | greedy | 50.0 [25.0, 75.0] |" in text
    assert "| Bi-Level GRPO | greedy | +10.0 [-5.0, +25.0] |" in text
    assert "| Bi-Level GRPO | greedy | 1 | +10.0 [-5.0, +25.0] |" in text
    assert "Bi-Level GRPO against GRPO, terminal reward, in points" in text
    assert "| greedy | +10.0 [-5.0, +25.0] |" in text
    assert "right on 12.5 %" in text
    assert "| data | rl |\n| --- | --- |\n| 1 | 20 |" in text


def test_one_seed_has_no_table_of_seeds():
    assert "seed by seed" not in markdown_tables(SUMMARY)


def test_terminal_table_has_a_row_for_each_model_and_decoding():
    assert terminal_table(SUMMARY).row_count == 2
