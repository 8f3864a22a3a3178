"""Figures as text for Prometheus: https://prometheus.io/docs/instrumenting/exposition_formats/."""

from collections.abc import Iterator, Mapping

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

__all__ = ["CONTENT_TYPE", "exposition"]

_FIGURES = {
    "executions_total": (CounterMetricFamily, "Programs run, by what became of them.", "verdict"),
    "refusals_total": (CounterMetricFamily, "Requests that were not run, by HTTP status.", "status"),
    "restarts_total": (CounterMetricFamily, "Zygotes that had to be replaced.", None),
    "slots": (GaugeMetricFamily, "Sandboxes, run side by side.", None),
    "in_flight": (GaugeMetricFamily, "Requests whose program runs now.", None),
    "queued": (GaugeMetricFamily, "Requests let in that wait for a sandbox.", None),
    "p50_ms": (GaugeMetricFamily, "Median milliseconds of the last runs, the wait for a sandbox included.", None),
    "p99_ms": (GaugeMetricFamily, "99th percentile of the same.", None),
}
"""By the name after `codereason_sandbox_`: kind, meaning, and the label by which there are several."""


def exposition(figures: Mapping[str, float | Mapping[str, float]]) -> bytes:
    """The figures, each a number or numbers by their label's value; those that are not there yet are left out."""
    registry = CollectorRegistry()
    registry.register(_Families(figures))
    return generate_latest(registry)


class _Families(Collector):
    """The figures as the library takes them."""

    def __init__(self, figures: Mapping[str, float | Mapping[str, float]]) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        for name in (name for name in _FIGURES if name in self._figures):
            kind, meaning, label = _FIGURES[name]
            family = kind(f"codereason_sandbox_{name}", meaning, labels=None if label is None else [label])
            found = self._figures[name]
            for value, figure in found.items() if isinstance(found, Mapping) else [(None, found)]:
                family.add_metric([] if value is None else [value], figure)
            yield family
