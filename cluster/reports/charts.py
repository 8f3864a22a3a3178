"""The charts of a report: which metrics each one shows, and line charts as SVG text.

Pure functions from rows to pictures that need no script, no font and no network.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

Point = tuple[float, float]

Metrics = Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]]
"""Rows by run (a seed's name, or no name) and by stage."""


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours, as CSS values."""

    background: str | None
    """None leaves it to the page."""
    ink: str
    muted: str
    grid: str
    lines: tuple[str, ...]


PAGE = Palette(None, "var(--ink)", "var(--muted)", "var(--grid)", tuple(f"var(--line-{number})" for number in range(1, 5)))
"""Follows the page's light or dark scheme."""

LIGHT = Palette("#ffffff", "#1c2530", "#5b6673", "#e2e6ea", ("#1f6fb2", "#b8500f", "#0d7d5a", "#7a4fa3"))
"""For a picture that stands alone."""

DASHES = ("none", "7 3", "2 3", "9 3 2 3", "14 4")

_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 34, 40
_MARGIN = 16
"""Around a picture with a background of its own."""
_ROW = 16
"""Height of a legend's row."""
_KEY = 27
"""Width of a legend's sample of a line."""
_CHARACTER = 6.6
"""Width in pixels that a legend's character is given at the charts' font size."""
_MOST_DOTS = 400
"""A line with more points than this is drawn without a dot for each."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line: colour says what was measured, dash says in which variant (a seed) of it."""

    name: str
    points: Sequence[Point]
    colour: int = 0
    variant: str = ""
    dash: int = 0


@dataclass(frozen=True, slots=True)
class Chart:
    """What a chart shows: which field of which stage makes each line."""

    title: str
    """Also the picture's accessible name."""
    lines: tuple[tuple[str, str, str], ...]
    """(stage, field, name)."""
    note: str = ""
    across: str = "step"
    """The field of the horizontal axis."""
    x: str = "RL step"
    """What it counts, in words."""
    percent: bool = False
    """Whether values are fractions to be written as percents."""
    smoothed: bool = False
    """Whether every point is drawn lightly, and a moving mean as the line."""
    together: bool = False
    """Whether it is a comparison, of no use while one of its lines is missing."""
    width: int = 480
    height: int = 250


REWARDS = Chart(
    "RL: accuracy of sampled responses on training problems",
    (
        ("rl", "final_reward", "final answer"),
        ("rl", "step_accuracy", "steps"),
        ("rl", "trace_accuracy", "whole trace"),
    ),
    "Each dot is one step, sampled on that step's problems; lines are moving means.",
    percent=True,
    smoothed=True,
    width=980,
    height=330,
)


def _against_control(what: str, field: str) -> Chart:
    return Chart(
        f"RL and its control without step rewards: {what}",
        (("rl", field, "RL"), ("terminal", field, "final reward only")),
        "Both start from the same SFT model and have the same wall time.",
        across="seconds",
        x="seconds of training",
        percent=True,
        smoothed=True,
        together=True,
    )


CHARTS = (
    REWARDS,
    Chart(
        "SFT: loss",
        (("sft", "loss", "SFT"), ("sft_longer", "loss", "longer SFT")),
        across="epoch",
        x="epoch",
    ),
    Chart(
        "SFT: chains of validation problems reproduced whole",
        (("sft", "validation_accuracy", "SFT"), ("sft_longer", "validation_accuracy", "longer SFT")),
        "Every token of the chain is the likeliest after the right ones before it.",
        across="epoch",
        x="epoch",
        percent=True,
    ),
    Chart(
        "RL: accuracy on held-out problems while training",
        (
            ("rl_live", "final_accuracy", "final answer"),
            ("rl_live", "step_accuracy", "steps"),
            ("rl_live", "trace_accuracy", "whole trace"),
        ),
        "The first of the held-out problems, asked beside training.",
        percent=True,
    ),
    Chart("RL: entropy of the policy", (("rl", "entropy", "entropy"),), "In nats a token.", smoothed=True),
    Chart(
        "RL: seconds of each phase of a step",
        (
            ("rl", "rollout_s", "rollout"),
            ("rl", "reward_s", "reward"),
            ("rl", "update_s", "update"),
            ("rl", "sync_s", "weight sync"),
        ),
        "Rollout: the slowest group's; reward: a group's mean; the two overlap.",
        smoothed=True,
    ),
    _against_control("final answers", "final_reward"),
    _against_control("steps", "step_accuracy"),
)
"""In the order of the page."""


def shown_charts(metrics: Metrics) -> list[tuple[Chart, list[Series]]]:
    """The charts that have something to show, with their lines."""
    drawn = [(chart, series(chart, metrics)) for chart in CHARTS]
    return [
        (chart, lines)
        for chart, lines in drawn
        if lines and (not chart.together or {line.name for line in lines} == {name for _, _, name in chart.lines})
    ]


def series(chart: Chart, metrics: Metrics) -> list[Series]:
    """A chart's lines, a dash for each run; a row without a finite value for a line has no point on it."""
    found = []
    for dash, (run, stages) in enumerate(metrics.items()):
        for colour, (stage, field, name) in enumerate(chart.lines):
            places = [_point(row, chart.across, field) for row in stages.get(stage, [])]
            points = [place for place in places if place is not None]
            if points:
                found.append(Series(name, points, colour, run, dash))
    return found


def _point(row: Mapping[str, Any], across: str, field: str) -> Point | None:
    x, y = row.get(across), row.get(field)
    return (float(x), float(y)) if x is not None and y is not None and math.isfinite(x) and math.isfinite(y) else None


@dataclass(frozen=True, slots=True)
class Scale:
    """Data to pixels along one axis."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def smooth(values: Sequence[float], window: int) -> list[float]:
    """Centred moving mean over `window` values (odd); narrower at the ends, so that it stays centred there too."""
    half = window // 2
    means = []
    for place in range(len(values)):
        reach = min(half, place, len(values) - 1 - place)
        near = values[place - reach : place + reach + 1]
        means.append(sum(near) / len(near))
    return means


def smoothing_window(points: int) -> int:
    """A light smoothing for so many points: about a tenth of them, odd, between 1 (none) and 15."""
    return min(15, points // 10 | 1)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values from at or below `low` to at or above `high`, 1, 2 or 5 times a power of ten apart."""
    if high == low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [place * step for place in range(first, last + 1)]


def line_chart(chart: Chart, lines: Sequence[Series], palette: Palette = PAGE) -> str:
    """A chart as SVG; without lines it says that there is nothing yet."""
    legend, rows = _legend(lines, palette, chart.width)
    body = [_text(0, 14, chart.title, palette.ink, extra=' font-weight="600" font-size="13"'), legend]
    if lines:
        xs = [point[0] for line in lines for point in line.points]
        ys = [point[1] for line in lines for point in line.points]
        marks = ticks(min(0.0, *ys), max(ys))
        across = Scale(min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1, _LEFT, chart.width - _RIGHT)
        up = Scale(marks[0], marks[-1], chart.height - _BOTTOM, _TOP + rows * _ROW)
        body.append(_axes(across, up, marks, chart, palette))
        body += [_line(line, across, up, chart.smoothed, palette) for line in lines]
    else:
        body.append(_text(chart.width / 2, chart.height / 2, "nothing measured yet", palette.muted, "middle"))
    margin, backdrop = 0, ""
    if palette.background:
        margin = _MARGIN
        backdrop = f'<rect x="-{margin}" y="-{margin}" width="100%" height="100%" fill="{palette.background}"/>'
    width, height = chart.width + 2 * margin, chart.height + 2 * margin
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{-margin} {-margin} {width} {height}" '
        f'width="{width}" height="{height}" role="img" font-family="system-ui, sans-serif" font-size="12">'
        f"<title>{escape(chart.title)}</title><desc>{escape(_in_words(lines, chart.percent))}</desc>"
        f"{backdrop}{''.join(body)}</svg>"
    )


def number(value: float, percent: bool = False) -> str:
    """A value as an axis writes it."""
    return f"{round(100 * value, 6):g}%" if percent else f"{round(value, 9):g}"


def _in_words(lines: Sequence[Series], percent: bool) -> str:
    """What the picture says to those who do not see it."""

    def say(value: float) -> str:
        return f"{value:.1%}" if percent else f"{value:.3g}"

    ends = [(f"{line.name} {line.variant}".strip(), line.points[0][1], line.points[-1][1]) for line in lines]
    return "; ".join(f"{name}: from {say(first)} to {say(last)}" for name, first, last in ends)


def _text(x: float, y: float, text: str, colour: str, anchor: str = "start", extra: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" style="fill:{colour}"{extra}>{escape(text)}</text>'


def _legend(lines: Sequence[Series], palette: Palette, width: int) -> tuple[str, int]:
    """Colours by name, where there are several, then dashes by variant; and how many rows they fill, at least one."""
    names = {line.name: (palette.lines[line.colour % len(palette.lines)], "none") for line in lines}
    variants = {line.variant: (palette.muted, DASHES[line.dash % len(DASHES)]) for line in lines if line.variant}
    parts = []
    place, row = 0.0, 0
    for label, (colour, dash) in [*(names if len(names) > 1 else {}).items(), *variants.items()]:
        taken = _KEY + _CHARACTER * len(label)
        if place + taken > width:
            place, row = 0.0, row + 1
        y = _TOP + row * _ROW
        parts.append(
            f'<line x1="{place:.1f}" x2="{place + 22:.1f}" y1="{y - 5}" y2="{y - 5}" '
            f'style="stroke:{colour};stroke-width:2.4;stroke-dasharray:{dash}"/>'
        )
        parts.append(_text(place + _KEY, y - 1, label, palette.muted))
        place += taken + 14
    return "".join(parts), row + 1


def _axes(across: Scale, up: Scale, marks: Sequence[float], chart: Chart, palette: Palette) -> str:
    parts = []
    for mark in marks:
        y = up(mark)
        parts.append(
            f'<line x1="{across.start}" x2="{across.end}" y1="{y:.1f}" y2="{y:.1f}" '
            f'style="stroke:{palette.grid};stroke-width:1"/>'
        )
        parts.append(_text(across.start - 7, y + 4, number(mark, chart.percent), palette.muted, "end"))
    for mark in ticks(across.low, across.high, 8):
        if across.low <= mark <= across.high and mark == round(mark):
            parts.append(_text(across(mark), up.start + 16, number(mark), palette.muted, "middle"))
    parts.append(_text((across.start + across.end) / 2, up.start + 33, chart.x, palette.muted, "middle"))
    return "".join(parts)


def _line(line: Series, across: Scale, up: Scale, smoothed: bool, palette: Palette) -> str:
    colour = palette.lines[line.colour % len(palette.lines)]
    values = [point[1] for point in line.points]
    if smoothed:
        values = smooth(values, smoothing_window(len(values)))
    places = [(across(point[0]), up(value)) for point, value in zip(line.points, values, strict=True)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = []
    if len(line.points) <= _MOST_DOTS:
        faint = 0.45 if smoothed else 0.9
        dots = [
            f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="2.1" style="fill:{colour};opacity:{faint}"/>'
            for x, y in line.points
        ]
    return (
        "".join(dots) + f'<polyline points="{path}" style="fill:none;stroke:{colour};stroke-width:2;'
        f'stroke-linejoin:round;stroke-dasharray:{DASHES[line.dash % len(DASHES)]}"/>'
    )
