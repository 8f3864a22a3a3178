"""vLLM's own metrics as vLLM's own code tells them to Ray; what is left out of them, and what must not be."""

import pytest
from vllm.v1.metrics.ray_wrappers import RayPrometheusStatLogger
from vllm.v1.metrics.stats import IterationStats, PrefixCacheStats, SchedulerStats

from rollout import engine_metrics
from rollout.engine_metrics import EngineMetrics


@pytest.fixture
def told(monkeypatch):
    """What reaches vLLM's own logger."""
    rows = []
    monkeypatch.setattr(RayPrometheusStatLogger, "__init__", lambda self: None)
    monkeypatch.setattr(RayPrometheusStatLogger, "record", lambda self, *stats: rows.append(stats))
    return rows


def step(running, queries=4, hits=1):
    return SchedulerStats(
        num_running_reqs=running, prefix_cache_stats=PrefixCacheStats(requests=1, queries=queries, hits=hits)
    )


def cached(rows):
    return [(row[0].prefix_cache_stats.queries, row[0].prefix_cache_stats.hits) for row in rows if row[0]]


def test_no_token_and_no_lookup_is_lost_between_two_tellings(told, monkeypatch):
    now = 100.0
    monkeypatch.setattr(engine_metrics.time, "monotonic", lambda: now)
    metrics = EngineMetrics()
    for _ in range(10):
        iteration = IterationStats()
        iteration.num_generation_tokens = 3
        metrics.record(step(running=2), iteration)
        now += 0.1
    metrics.record(step(running=0), None)
    assert sum(iteration.num_generation_tokens for _, iteration, *_ in told if iteration) == 30
    assert [sum(counts) for counts in zip(*cached(told), strict=True)] == [44, 11]
    assert len(cached(told)) == 3, "at once, half a second later, and when nothing runs any more"
    assert told[-1][0].num_running_reqs == 0


def test_of_the_sequences_of_a_step_one_waiting_time_is_told(told):
    iteration = IterationStats()
    iteration.inter_token_latencies_iter = [0.25, 0.25, 0.25]
    EngineMetrics().record(None, iteration)
    assert told[0][1].inter_token_latencies_iter == [0.25]
