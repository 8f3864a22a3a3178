"""A run's or a study's figures as tables: for the terminal, and as Markdown for documents."""

from typing import Any

from rich.table import Table

from rl.benchmarks.accuracy import MEASURES

_MODELS = {
    "sft": "SFT",
    "sft_longer": "SFT, RL's wall time longer",
    "terminal": "GRPO, terminal reward",
    "step": "Step-GRPO",
    "rl_only": "RL without SFT",
}
_ALGORITHMS = {
    "bilevel": "Bi-Level GRPO",
    "step": "Step-GRPO",
    "terminal": "GRPO, terminal reward",
    "rloo": "RLOO",
    "dr_grpo": "Dr. GRPO",
    "gspo": "GSPO",
    "dapo": "DAPO",
}
_HEADS = {"final": "final answer", "step": "steps", "trace": "whole trace"}


def _models(summary: dict[str, Any]) -> list[str]:
    return [model for model in (*_MODELS, "rl") if model in summary]


def _name(summary: dict[str, Any], model: str) -> str:
    return _ALGORITHMS[summary["algorithm"]] if model == "rl" else _MODELS[model]


def _accuracy(figures: dict[str, Any], measure: str) -> str:
    low, high = figures[f"{measure}_accuracy_interval"]
    return f"{100 * figures[f'{measure}_accuracy']:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def _gain(gain: dict[str, Any]) -> str:
    low, high = gain["interval"]
    return f"{100 * gain['mean']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"


def terminal_table(summary: dict[str, Any]) -> Table:
    """Accuracies in per cent with 95 % intervals."""
    table = Table(title=f"{summary['name']}: held-out accuracy in %, with 95 % intervals", title_justify="left")
    for column in ("model", "decoding", *_HEADS.values()):
        table.add_column(column)
    for model in _models(summary):
        for decoding, figures in summary[model].items():
            table.add_row(_name(summary, model), decoding, *(_accuracy(figures, measure) for measure in MEASURES))
    return table


def markdown_tables(summary: dict[str, Any]) -> str:
    """Accuracies, gains over SFT, each seed's gains if there are several, and wall seconds, as Markdown."""
    seeds = ", ".join(map(str, summary["seeds"]))
    plural = "seeds" if len(summary["seeds"]) > 1 else "seed"
    problems = summary["sft"]["greedy"]["problems"]
    parts = [f"Held-out accuracy in %, {problems} problems, {plural} {seeds}, 95 % intervals over problems:"]
    parts.append(_rows(("model", "decoding", *_HEADS.values())))
    for model in _models(summary):
        for decoding, figures in summary[model].items():
            parts[-1] += _row((_name(summary, model), decoding, *(_accuracy(figures, measure) for measure in MEASURES)))
    parts.append("Gain over SFT in points, paired over problems:")
    parts.append(_rows(("model", "decoding", *_HEADS.values())))
    for model, by_decoding in summary["gains"].items():
        for decoding, gains in by_decoding.items():
            parts[-1] += _row(
                (_name(summary, model), decoding, *(_gain(gains[f"{measure}_accuracy"]) for measure in MEASURES))
            )
    for control, by_decoding in summary.get("rl_over", {}).items():
        parts.append(f"{_name(summary, 'rl')} against {_name(summary, control)}, in points, paired over problems:")
        parts.append(_rows(("decoding", *_HEADS.values())))
        for decoding, gains in by_decoding.items():
            parts[-1] += _row((decoding, *(_gain(gains[f"{measure}_accuracy"]) for measure in MEASURES)))
    if "per_seed" in summary:
        parts.append("Gain over SFT, seed by seed:")
        parts.append(_rows(("model", "decoding", "seed", *_HEADS.values())))
        parts[-1] += _seed_rows(summary)
    if "guess" in summary:
        guess = 100 * summary["guess"]["final_accuracy"]
        parts.append(
            f"Always giving the most common value of the RL problems as the answer would be right on {guess:.1f} %."
        )
    parts.append("Wall seconds" + (", mean over seeds:" if "per_seed" in summary else ":"))
    stages = summary["wall_seconds"]
    parts.append(_rows(tuple(stages)) + _row(tuple(f"{seconds:.0f}" for seconds in stages.values())))
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _seed_rows(summary: dict[str, Any]) -> str:
    rows = ""
    for model in summary["gains"]:
        for decoding in summary["gains"][model]:
            for seed, own in summary["per_seed"].items():
                gains = own["gains"][model][decoding]
                cells = (_gain(gains[f"{measure}_accuracy"]) for measure in MEASURES)
                rows += _row((_name(summary, model), decoding, seed, *cells))
    return rows


def _rows(heads: tuple[str, ...]) -> str:
    return _row(heads) + _row(("---",) * len(heads))


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |\n"
