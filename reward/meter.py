"""What a reward worker did, counted as it goes and told to Ray's metrics now and then: telling each run would slow it."""

from collections import Counter as Tally
from collections import deque
from statistics import quantiles
from threading import Lock

from ray.util.metrics import Counter, Gauge

from reward.programs import Execution

_KEPT = 2000

EXECUTIONS = ("codereason_reward_executions", "Programs run, by what became of them.")
"""Name and meaning of the one counter."""
GAUGES = {
    "waiting": ("Calls taken and not answered yet.", "calls"),
    "p50_ms": ("Median time of the last runs, the wait for a slot included.", "ms"),
    "p99_ms": ("99th percentile of the same.", "ms"),
    "restarts": ("Zygotes that had to be replaced.", "zygotes"),
    "truths": ("Traces remembered.", "traces"),
}
"""Meaning and unit of each gauge, by its name after `codereason_reward_`."""


class Meter:
    """Counts of one worker. Any thread may count; `tell` is called every few seconds."""

    def __init__(self, pool: str, worker: str) -> None:
        self._tags = {"pool": pool, "worker": worker}
        keys = tuple(self._tags)
        self._executions = Counter(*EXECUTIONS, (*keys, "verdict"))
        self._gauges = {name: Gauge(f"codereason_reward_{name}", text, keys) for name, (text, _) in GAUGES.items()}
        self._lock = Lock()
        self._new: Tally[str] = Tally()
        self._latencies: deque[float] = deque(maxlen=_KEPT)

    def count(self, execution: Execution, seconds: float) -> None:
        """Takes note of a run that took `seconds`, its wait for a slot included."""
        with self._lock:
            self._new[execution.verdict.value] += 1
            self._latencies.append(seconds)

    def tell(self, *, waiting: int, restarts: int, truths: int) -> None:
        """Hands the counts to Ray."""
        with self._lock:
            new, self._new = self._new, Tally()
            latencies = list(self._latencies)
        for verdict, runs in new.items():
            self._executions.inc(runs, {**self._tags, "verdict": verdict})
        figures = {"waiting": float(waiting), "restarts": float(restarts), "truths": float(truths)}
        if len(latencies) > 1:
            cuts = quantiles(latencies, n=100, method="inclusive")
            figures |= {"p50_ms": 1000 * cuts[49], "p99_ms": 1000 * cuts[98]}
        for name, figure in figures.items():
            self._gauges[name].set(figure, self._tags)
