"""vLLM's own metrics, handed to Ray and so to the same Prometheus. Imports vLLM: for the process that holds an engine."""

import time
from typing import Any

from vllm.v1.metrics.ray_wrappers import RayPrometheusStatLogger
from vllm.v1.metrics.stats import IterationStats, MultiModalCacheStats, SchedulerStats

_EVERY_S = 0.5


class EngineMetrics(RayPrometheusStatLogger):
    """What vLLM tells of the steps of an engine, by vLLM's names with `_` for `:`.

    Ray takes 10 µs and more for each figure, and a step of a small model is some milliseconds: so of what all sequences of a
    step have in common one is told, and the scheduler's figures twice a second.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._told = 0.0
        self._queries = self._hits = 0

    def record(
        self,
        scheduler_stats: SchedulerStats | None,
        iteration_stats: IterationStats | None,
        mm_cache_stats: MultiModalCacheStats | None = None,
        engine_idx: int = 0,
    ) -> None:
        """Called by vLLM after each step."""
        if iteration_stats is not None:
            del iteration_stats.inter_token_latencies_iter[1:]
        due = scheduler_stats is not None and self._is_due(scheduler_stats)
        super().record(scheduler_stats if due else None, iteration_stats, mm_cache_stats, engine_idx)

    def _is_due(self, stats: SchedulerStats) -> bool:
        """Whether the scheduler's figures are told now; those that are counted then hold the steps before."""
        self._queries += stats.prefix_cache_stats.queries
        self._hits += stats.prefix_cache_stats.hits
        now = time.monotonic()
        # The last step of all must not leave the figures of a busy one.
        if stats.num_running_reqs and now - self._told < _EVERY_S:
            return False
        stats.prefix_cache_stats.queries, stats.prefix_cache_stats.hits = self._queries, self._hits
        self._told, self._queries, self._hits = now, 0, 0
        return True
