"""What a reward worker did, counted as it goes and told to Ray's metrics now and then: telling each run would slow it."""

from collections import Counter as Counts

from ray.util.metrics import Counter, Gauge

from reward.tally import Tally

EXECUTIONS = ("codereason_reward_executions", "Programs run, by what became of them.")
"""Name and meaning of the one counter."""
GAUGES = {
    "in_flight": ("Sandboxes that run a program now.", "sandboxes"),
    "queued": ("Groups, single responses and programs of calls taken that wait for a sandbox.", "jobs"),
    "p50_ms": ("Median time of the last runs, the wait for a slot included.", "ms"),
    "p99_ms": ("99th percentile of the same.", "ms"),
    "restarts": ("Zygotes that had to be replaced.", "zygotes"),
    "truths": ("Traces remembered.", "traces"),
}
"""Meaning and unit of each gauge, by its name after `codereason_reward_`."""


class Meter:
    """Tells a tally of one worker's runs; `tell` is called every few seconds."""

    def __init__(self, pool: str, worker: str) -> None:
        self.tally = Tally()
        self._tags = {"pool": pool, "worker": worker}
        keys = tuple(self._tags)
        self._executions = Counter(*EXECUTIONS, (*keys, "verdict"))
        self._gauges = {name: Gauge(f"codereason_reward_{name}", text, keys) for name, (text, _) in GAUGES.items()}
        self._told: Counts[str] = Counts()

    def tell(self, *, in_flight: int, queued: int, restarts: int, truths: int) -> None:
        """Hands the counts to Ray."""
        executions = self.tally.executions()
        for verdict, runs in (executions - self._told).items():
            self._executions.inc(runs, {**self._tags, "verdict": verdict})
        self._told = executions
        figures: dict[str, float] = {"in_flight": in_flight, "queued": queued, "restarts": restarts, "truths": truths}
        for name, figure in (figures | self.tally.latencies_ms()).items():
            self._gauges[name].set(figure, self._tags)
