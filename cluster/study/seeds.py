"""A study: the same run with several seeds, and what holds over all of them."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.console import Console

from cluster.config import RunSettings
from cluster.evaluation.heldout import DECODINGS, gain_figures, per_problem
from cluster.run import carry_out
from cluster.runs import RunFolder, write_whole
from rl.benchmarks.accuracy import MEASURES, estimate, paired_gain

Means = dict[tuple[str, str, str], dict[str, float]]
"""By model, decoding and measure: each problem's mean over seeds."""


def carry_out_study(settings: RunSettings, seeds: Sequence[int], root: Path, console: Console) -> Path:
    """Do the run with each seed, each in its own folder `seed-N` of the study's, and summarise them.

    Returns:
        The study's folder.
    """
    folder = (root / settings.name).resolve()
    for seed in seeds:
        console.rule(f"seed {seed}")
        # The name is also that of its pools, on a cluster that may hold several studies.
        one = settings.model_copy(update={"name": f"{settings.name}-seed-{seed}", "seed": seed})
        carry_out(one, folder / f"seed-{seed}", console)
    write_whole(folder / "summary.json", json.dumps(summarise_study(settings, seeds, folder), indent=2))
    return folder


def summarise_study(settings: RunSettings, seeds: Sequence[int], folder: Path) -> dict[str, Any]:
    """Figures over the seeds, in the shape of a run's, with each seed's own beside them.

    All seeds are measured on the same held-out problems, so a problem's accuracy is its mean over seeds; intervals are
    over problems, for these seeds. How much seeds differ shows in `per_seed`.
    """
    runs = {seed: RunFolder(folder / f"seed-{seed}") for seed in seeds}
    per_seed = {str(seed): json.loads(run.summary.read_text()) for seed, run in runs.items()}
    models = ["sft", "rl", *settings.controls]
    summary: dict[str, Any] = {"name": settings.name, "seeds": list(seeds), "algorithm": settings.rl.algorithm}
    means: Means = {
        (model, decoding, measure): _mean_over_seeds([run.evaluation(model) for run in runs.values()], decoding, measure)
        for model in models
        for decoding in DECODINGS
        for measure in MEASURES
    }
    for model in models:
        summary[model] = {}
        for decoding in DECODINGS:
            figures: dict[str, Any] = {"problems": len(means[model, decoding, MEASURES[0]])}
            for measure in MEASURES:
                found = estimate(list(means[model, decoding, measure].values()))
                figures[f"{measure}_accuracy"] = found.mean
                figures[f"{measure}_accuracy_interval"] = [found.low, found.high]
            summary[model][decoding] = figures
    summary["gains"] = {model: _gains(means, "sft", model) for model in models[1:]}
    summary["rl_over"] = {control: _gains(means, control, "rl") for control in settings.controls}
    summary["guess"] = {"final_accuracy": fmean(figures["guess"]["final_accuracy"] for figures in per_seed.values())}
    stages = per_seed[str(seeds[0])]["wall_seconds"]
    summary["wall_seconds"] = {
        stage: fmean(figures["wall_seconds"][stage] for figures in per_seed.values()) for stage in stages
    }
    summary["per_seed"] = per_seed
    return summary


def _gains(means: Means, before: str, after: str) -> dict[str, Any]:
    return {
        decoding: {
            f"{measure}_accuracy": gain_figures(
                paired_gain(means[before, decoding, measure], means[after, decoding, measure])
            )
            for measure in MEASURES
        }
        for decoding in DECODINGS
    }


def _mean_over_seeds(evaluations: Sequence[Path], decoding: str, measure: str) -> dict[str, float]:
    """A measure of each problem that every seed has, averaged over the seeds."""
    found = [per_problem(path, decoding, measure) for path in evaluations]
    common = set(found[0]).intersection(*found[1:])
    return {problem: fmean(one[problem] for one in found) for problem in sorted(common)}
