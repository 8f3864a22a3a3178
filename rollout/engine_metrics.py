"""vLLM's own metrics, handed to Ray and so to the same Prometheus. Imports vLLM: for the process that holds an engine."""

from vllm.v1.metrics.ray_wrappers import RayPrometheusStatLogger
from vllm.v1.metrics.stats import IterationStats, MultiModalCacheStats, SchedulerStats


class EngineMetrics(RayPrometheusStatLogger):
    """What vLLM tells of each step of an engine, by vLLM's names with `_` for `:`."""

    def record(
        self,
        scheduler_stats: SchedulerStats | None,
        iteration_stats: IterationStats | None,
        mm_cache_stats: MultiModalCacheStats | None = None,
        engine_idx: int = 0,
    ) -> None:
        """Called by vLLM after each step."""
        if iteration_stats is not None:
            # Sequences of a step have waited equally long for it: one stands for all, as Ray takes some µs for each figure.
            del iteration_stats.inter_token_latencies_iter[1:]
        super().record(scheduler_stats, iteration_stats, mm_cache_stats, engine_idx)
