"""How full an engine's memory for keys and values gets. Imports vLLM, so only the process that holds an engine does."""

from typing import Any

from vllm.v1.metrics.loggers import StatLoggerBase
from vllm.v1.metrics.stats import IterationStats, MultiModalCacheStats, SchedulerStats


class CacheMeter:
    """The highest share of its memory that an engine used since it was last asked."""

    def __init__(self) -> None:
        self._peak: float | None = None

    def see(self, share: float) -> None:
        """Take note of a share, as the scheduler had it in one step."""
        self._peak = max(self._peak or 0.0, share)

    def take(self) -> float | None:
        """That highest share, from 0 to 1; None if the engine made no step since."""
        peak, self._peak = self._peak, None
        return peak

    def logger(self, vllm_config: Any, engine_index: int = 0) -> StatLoggerBase:
        """What vLLM tells of each step, given as one of its `stat_loggers`."""
        return _CacheLogger(self)


class _CacheLogger(StatLoggerBase):
    def __init__(self, meter: CacheMeter) -> None:
        self._meter = meter

    def record(
        self,
        scheduler_stats: SchedulerStats | None,
        iteration_stats: IterationStats | None,
        mm_cache_stats: MultiModalCacheStats | None = None,
        engine_idx: int = 0,
    ) -> None:
        if scheduler_stats is not None:
            self._meter.see(scheduler_stats.kv_cache_usage)

    def log_engine_initialized(self) -> None:
        """Nothing to say."""
