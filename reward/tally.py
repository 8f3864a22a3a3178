"""What became of runs, counted as they end: by verdict, and how long the last ones took."""

from collections import Counter, deque
from statistics import quantiles
from threading import Lock

from reward.programs import Execution

_KEPT = 2000


class Tally:
    """Counts of one pool of sandboxes. Any thread may count and ask."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._executions: Counter[str] = Counter()
        self._latencies: deque[float] = deque(maxlen=_KEPT)

    def count(self, execution: Execution, seconds: float) -> None:
        """Takes note of a run that took `seconds`, its wait for a slot included."""
        with self._lock:
            self._executions[execution.verdict.value] += 1
            self._latencies.append(seconds)

    def executions(self) -> Counter[str]:
        """Runs since the start, by verdict."""
        with self._lock:
            return self._executions.copy()

    def latencies_ms(self) -> dict[str, float]:
        """`p50_ms` and `p99_ms` of the last runs; nothing before there are two."""
        with self._lock:
            latencies = [*self._latencies]
        if len(latencies) < 2:
            return {}
        cuts = quantiles(latencies, n=100, method="inclusive")
        return {"p50_ms": 1000 * cuts[49], "p99_ms": 1000 * cuts[98]}
