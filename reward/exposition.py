"""Figures as text for Prometheus: https://prometheus.io/docs/instrumenting/exposition_formats/."""

from collections.abc import Mapping

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_FIGURES = {
    "executions_total": ("counter", "Programs run, by what became of them.", "verdict"),
    "refusals_total": ("counter", "Requests that were not run, by HTTP status.", "status"),
    "restarts_total": ("counter", "Zygotes that had to be replaced.", None),
    "slots": ("gauge", "Sandboxes, run side by side.", None),
    "in_flight": ("gauge", "Requests whose program runs now.", None),
    "queued": ("gauge", "Requests let in that wait for a sandbox.", None),
    "p50_ms": ("gauge", "Median milliseconds of the last runs, the wait for a sandbox included.", None),
    "p99_ms": ("gauge", "99th percentile of the same.", None),
}
"""By the name after `codereason_sandbox_`: kind, meaning, and the label by which there are several."""


def exposition(figures: Mapping[str, float | Mapping[str, float]]) -> str:
    """The figures, each a number or numbers by their label's value; those that are not there yet are left out."""
    lines = []
    for name, (kind, meaning, label) in _FIGURES.items():
        if name in figures:
            whole = f"codereason_sandbox_{name}"
            lines += [f"# HELP {whole} {meaning}", f"# TYPE {whole} {kind}"]
            match figures[name]:
                case Mapping() as parts:
                    lines += [f'{whole}{{{label}="{value}"}} {float(figure)!r}' for value, figure in parts.items()]
                case figure:
                    lines.append(f"{whole} {float(figure)!r}")
    return "".join(line + "\n" for line in lines)
