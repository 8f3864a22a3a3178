"""How a run is doing, from what it leaves in its folder."""

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from statistics import fmean
from typing import Any

from cluster.config import load
from cluster.events import Events, failures
from cluster.runs import RunFolder, read_jsonl

_RECENT = 10
"""Steps that rates and shares are taken over."""
_SILENT_FACTOR, _SILENT_S = 5, 120.0
"""A stage that is silent for so many of its steps, and so many seconds, looks ill."""
_SCALINGS = 3
"""Changes of the pools' sizes by load that are shown, the last ones."""
_FAILURES = 3
"""So many of the last things that broke are told."""
_STAGES = ("data", "base", "sft", "sft_evaluation", "rl", "rl_evaluation")


def status_of(folder: Path, now: float | None = None) -> dict[str, Any]:
    """The state of the run in a folder.

    Args:
        folder: `runs/NAME`.
        now: seconds since the epoch; the present if not given.

    Raises:
        BadInput: its configuration is damaged.
    """
    run = RunFolder(folder)
    config = load(folder / "config.yaml", []).model_dump(mode="json")
    done = run.finished_stages()
    planned = [*_STAGES, *(f"{control}{part}" for control in config["controls"] for part in ("", "_evaluation"))]
    stage = next((name for name in planned if name not in done), None)
    rows = read_jsonl(run.metrics)
    found: dict[str, Any] = {
        "name": config["name"],
        "run": str(folder),
        "finished": stage is None,
        "stages": {name: done.get(name) for name in planned},
        "stage": stage,
    }
    recent = [row for row in rows if row["stage"] == stage][-_RECENT:]
    if stage is None or not recent:
        return found
    age = max(0.0, (time.time() if now is None else now) - run.metrics.stat().st_mtime)
    # A control has the wall time of RL, however many steps that makes.
    budget = [row["seconds"] for row in rows if row["stage"] == "rl"][-1] if stage in config["controls"] else None
    found |= {"progress": progress(config, recent, budget), "seconds_since_last_step": age, "last": recent[-1]}
    if "wait_s" in recent[-1]:
        found |= {"phases": phases(recent)}
    found["health"] = health(recent, age)
    found["scalings"] = read_jsonl(run.scalings)[-_SCALINGS:]
    found["failures"] = failures(Events(run.events).rows())[-_FAILURES:]
    return found


def progress(config: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], budget_s: float | None) -> dict[str, Any]:
    """How far a stage is and how fast it goes, from its last rows; by seconds where it has a budget of them alone."""
    last = rows[-1]
    supervised = "epoch" in last
    settings, count = (config["sft"], "epoch") if supervised else (config["rl"], "step")
    total = settings["epochs"] if supervised else settings["steps"]
    found: dict[str, Any] = {"unit": f"{count}s", "done": last[count], "of": total}
    if budget_s is not None:
        found = {"unit": "seconds", "done": round(last["seconds"]), "of": round(budget_s)}
    steps, seconds = last[count] - rows[0][count], last["seconds"] - rows[0]["seconds"]
    if steps > 0 and seconds > 0:
        pace = seconds / steps
        left = (total - last[count]) * pace if budget_s is None else budget_s - last["seconds"]
        if settings["max_seconds"] is not None:
            left = min(left, settings["max_seconds"] - last["seconds"])
        found |= {"seconds_each": pace, "seconds_left": max(left, 0.0)}
        if "response_tokens" in last:
            found["tokens_per_s"] = sum(row["response_tokens"] for row in rows[1:]) / seconds
    return found


def phases(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Where a step's time goes, which phase is the slowest, and why."""
    mean = {key: fmean(row[key] for row in rows) for key in ("wait_s", "update_s", "sync_s", "rollout_s", "reward_s")}
    seconds = {"waiting": mean["wait_s"], "training": mean["update_s"], "syncing": mean["sync_s"]}
    slowest = max(seconds, key=lambda phase: seconds[phase])
    if slowest == "training":
        why = "the learner's own work: more learner workers, or a larger learner.token_budget"
    elif slowest == "syncing":
        why = "sending the weights, loading them in every replica and proving it"
    elif mean["reward_s"] > mean["rollout_s"]:
        why = f"the learner waits for scores ({mean['reward_s']:.1f} s a group): more reward.replicas or slots"
    else:
        why = f"the learner waits for responses ({mean['rollout_s']:.1f} s for the slowest group): more rollout.replicas"
        why += ", or rl.max_staleness to sample ahead"
    return {"seconds": seconds, "slowest": slowest, "share": seconds[slowest] / max(sum(seconds.values()), 1e-9), "why": why}


def health(rows: Sequence[Mapping[str, Any]], age: float) -> list[str]:
    """What looks ill, a line each; empty if nothing does."""
    last, found = rows[-1], []
    pace = (last["seconds"] - rows[0]["seconds"]) / max(len(rows) - 1, 1)
    if age > max(_SILENT_S, _SILENT_FACTOR * pace):
        found.append(f"no step for {_span(age)}, where one takes {_span(pace)}: stopped, or stuck")
    faults = last.get("verdicts", {}).get("sandbox_error", 0.0)
    if faults:
        found.append(f"sandboxes failed on {faults:.1%} of the last batch's responses; they are left out, not scored")
    if last.get("masked"):
        found.append(f"{last['masked']:.0f} responses of the last batch were left out")
    if last.get("unfinished", 0.0) > 0.5:
        found.append(f"{last['unfinished']:.0%} of responses are cut off: rl.max_tokens is short")
    if last.get("idle_groups", 0.0) > 0.8:
        found.append(f"{last['idle_groups']:.0%} of groups teach nothing: the problems are too easy or too hard")
    return found


def _span(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))


def shown(found: Mapping[str, Any]) -> str:
    """A status as a person reads it."""
    lines: list[str] = []
    if "stages" in found:
        ended = [f"{name} {_span(seconds)}" for name, seconds in found["stages"].items() if seconds is not None]
        lines += [f"run      {found['run']}", f"done     {', '.join(ended) or 'nothing yet'}"]
        lines.append(f"stage    {found['stage'] or 'finished'}{_place(found.get('progress'))}")
    if "phases" in found:
        parts = ", ".join(f"{phase} {seconds:.1f} s" for phase, seconds in found["phases"]["seconds"].items())
        slowest = found["phases"]
        lines += [f"step     {parts}", f"slowest  {slowest['slowest']} ({slowest['share']:.0%}): {slowest['why']}"]
    if "last" in found:
        told = ("final_reward", "step_accuracy", "validation_accuracy", "staleness", "rollout_mismatch", "sync_mismatch")
        lines.append("last     " + ", ".join(f"{key} {found['last'][key]:.3g}" for key in told if key in found["last"]))
        lines += [f"{'health' if not index else '':<8} {line}" for index, line in enumerate(found["health"] or ["well"])]
    for index, (pool, state) in enumerate(found.get("workers", {}).items()):
        why = f"; Serve says: {' '.join(state['told'].split())}" if state["told"] else ""
        others = f", {state['others']} starting or draining" if state["others"] else ""
        lines.append(f"{'' if index else 'workers':<8} {pool} {state['running']} of {state['wanted']}{others}{why}")
    for row in found.get("scalings", ()):
        lines.append(
            f"scaled   {row['pool']} from {row['from']} to {row['to']} ({row['cause']}), {row['time']}: {row['reason']}"
        )
    for one in found.get("failures", []):
        state = "not yet recovered" if one["recovery_s"] is None else f"recovered after {_span(one['recovery_s'])}"
        lines.append(f"broke    {one['part']}: {one['what']}; {state}")
    if "job" in found:
        job = found["job"]
        lines.append(f"job      {job['job']}: {job['status']} for {_span(job['seconds'])}. {job['message']}".rstrip())
    return "\n".join(lines)


def _place(progress: Mapping[str, Any] | None) -> str:
    if progress is None:
        return ""
    place = f": {progress['done']} of {progress['of']} {progress['unit']}"
    if "seconds_each" in progress:
        place += f", {_span(progress['seconds_each'])} each, {_span(progress['seconds_left'])} left"
    if "tokens_per_s" in progress:
        place += f", {progress['tokens_per_s']:,.0f} tokens/s"
    return place
