"""Means with their intervals, one under the other, as SVG text: what compares the arms of a study at a glance."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from cluster.reports.charts import LIGHT, Palette, Scale, number, ticks

_ROW, _TOP, _BOTTOM, _MARGIN = 24, 40, 44, 16
_CHARACTER = 6.8
"""Width in pixels that a label's character is given."""
_WIDTH = 640


@dataclass(frozen=True, slots=True)
class Interval:
    """One line: a mean, its interval, and smaller marks beside it (seeds)."""

    label: str
    mean: float
    low: float
    high: float
    marks: tuple[float, ...] = ()


def interval_chart(title: str, rows: Sequence[Interval], x: str, palette: Palette = LIGHT) -> str:
    """The rows as a picture; values are fractions, written as percents.

    Raises:
        ValueError: there is no row.
    """
    if not rows:
        raise ValueError("rows: none, a picture shows one at least")
    left = 12 + _CHARACTER * max(len(row.label) for row in rows)
    height = _TOP + _ROW * len(rows) + _BOTTOM
    values = [value for row in rows for value in (row.low, row.high, row.mean, *row.marks)]
    marks = ticks(min(values), max(values))
    across = Scale(marks[0], marks[-1], left, _WIDTH - 20)
    bottom = _TOP + _ROW * len(rows)
    body = [_text(0, 14, title, palette.ink, ' font-weight="600" font-size="13"')]
    for mark in marks:
        shade = palette.muted if abs(mark) < 1e-12 else palette.grid
        body.append(
            f'<line x1="{across(mark):.1f}" x2="{across(mark):.1f}" y1="{_TOP - 8}" y2="{bottom}" style="stroke:{shade}"/>'
        )
        body.append(_text(across(mark), bottom + 16, number(mark, percent=True), palette.muted, ' text-anchor="middle"'))
    body.append(_text((left + _WIDTH - 20) / 2, bottom + 34, x, palette.muted, ' text-anchor="middle"'))
    for place, row in enumerate(rows):
        body += _row(row, _TOP + _ROW * place + _ROW / 2, left, across, palette)
    told = "; ".join(f"{row.label}: {row.mean:.1%} from {row.low:.1%} to {row.high:.1%}" for row in rows)
    width, whole = _WIDTH + 2 * _MARGIN, height + 2 * _MARGIN
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{-_MARGIN} {-_MARGIN} {width} {whole}" width="{width}" '
        f'height="{whole}" role="img" font-family="system-ui, sans-serif" font-size="12">'
        f"<title>{escape(title)}</title><desc>{escape(told)}</desc>"
        f'<rect x="-{_MARGIN}" y="-{_MARGIN}" width="100%" height="100%" fill="{palette.background or "none"}"/>'
        f"{''.join(body)}</svg>"
    )


def _row(row: Interval, y: float, left: float, across: Scale, palette: Palette) -> list[str]:
    colour = palette.lines[0]
    return [
        _text(left - 10, y + 4, row.label, palette.ink, ' text-anchor="end"'),
        f'<line x1="{across(row.low):.1f}" x2="{across(row.high):.1f}" y1="{y}" y2="{y}" '
        f'style="stroke:{colour};stroke-width:2.4"/>',
        *(
            f'<circle cx="{across(mark):.1f}" cy="{y}" r="2.2" style="fill:{palette.muted};opacity:0.7"/>'
            for mark in row.marks
        ),
        f'<circle cx="{across(row.mean):.1f}" cy="{y}" r="4" style="fill:{colour}"/>',
    ]


def _text(x: float, y: float, text: str, colour: str, extra: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" style="fill:{colour}"{extra}>{escape(text)}</text>'
