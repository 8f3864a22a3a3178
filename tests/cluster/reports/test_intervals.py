"""Means with intervals as a picture."""

import xml.etree.ElementTree as ElementTree

import pytest

from cluster.reports.intervals import Interval, interval_chart

SVG = "{http://www.w3.org/2000/svg}"


def test_a_row_has_its_interval_its_mean_and_its_seeds():
    rows = [Interval("one & <other>", 0.1, 0.0, 0.2, (0.05, 0.15)), Interval("worse", -0.1, -0.2, 0.0)]
    picture = ElementTree.fromstring(interval_chart("Gain", rows, "points"))
    assert picture.find(f"{SVG}title").text == "Gain"
    assert "one & <other>: 10.0% from 0.0% to 20.0%" in picture.find(f"{SVG}desc").text
    small, large = (
        [float(one.get("cx")) for one in picture.iter(f"{SVG}circle") if one.get("r") == r] for r in ("2.2", "4")
    )
    assert len(small) == 2
    # Of one scale: the seeds lie around their mean at equal distances, and the worse arm left of both.
    assert large[0] - small[0] == pytest.approx(small[1] - large[0], abs=0.2)
    assert large[1] < small[0]
    bars = [line for line in picture.iter(f"{SVG}line") if "stroke-width:2.4" in line.get("style")]
    assert [float(bars[0].get("x2")), float(bars[1].get("x1"))] == pytest.approx(
        [2 * large[0] - float(bars[0].get("x1")), 2 * large[1] - float(bars[1].get("x2"))], abs=0.2
    )


def test_without_a_row_there_is_no_picture():
    with pytest.raises(ValueError, match="rows: none"):
        interval_chart("Gain", [], "points")
