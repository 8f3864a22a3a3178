"""What an engine tells of its load, through vLLM's interface for loggers. Imports vLLM: for engines' processes alone."""

from typing import Any

from vllm.v1.metrics.loggers import StatLoggerBase
from vllm.v1.metrics.stats import IterationStats, MultiModalCacheStats, SchedulerStats

from rollout.settings import Load


class LoadMeter:
    """What an engine is at."""

    def __init__(self) -> None:
        self.last = Load(running=0, waiting=0, cache=0.0)
        """As it was after the last step."""

    def logger(self, vllm_config: Any, engine_index: int = 0) -> StatLoggerBase:
        """What vLLM tells of each step, given as one of its `stat_loggers`."""
        return _Logger(self)


class _Logger(StatLoggerBase):
    def __init__(self, meter: LoadMeter) -> None:
        self._meter = meter

    def record(
        self,
        scheduler_stats: SchedulerStats | None,
        iteration_stats: IterationStats | None,
        mm_cache_stats: MultiModalCacheStats | None = None,
        engine_idx: int = 0,
    ) -> None:
        if scheduler_stats is not None:
            told = scheduler_stats
            self._meter.last = Load(told.num_running_reqs, told.num_waiting_reqs, told.kv_cache_usage)

    def log_engine_initialized(self) -> None:
        """Nothing to say."""
