"""Lines as SVG: inside of the picture, with ticks that people can read."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_step.page.charts import BOTTOM, HIGH, LEFT, RIGHT, TOP, WIDE, Axes, Line, chart, elapsed, nice
from pipeline_step.page.markup import html


def axes(last: float = 600.0, top: float = 1.0) -> Axes:
    return Axes(first=0.0, last=last, top=top, written=lambda value: f"{value:.3g}")


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(-1e3, 2e6), st.floats(-10, 1e9)), min_size=1, max_size=30), st.floats(1, 1e6))
def test_nothing_is_drawn_outside_of_its_axes(points: list[tuple[float, float]], last: float) -> None:
    line = Line(name="a", kind="preview", points=points, band=[(x, y - 1, y + 1) for x, y in points])
    svg = html(chart("name", "words", axes(last), [line]))
    for path in re.findall(r' d="([^"]+)"', svg):
        for x, y in re.findall(r"(-?[\d.]+) (-?[\d.]+)", path):
            assert LEFT <= float(x) <= WIDE - RIGHT
            assert TOP <= float(y) <= HIGH - BOTTOM


@given(st.floats(1e-6, 1e9))
def test_ticks_are_round_and_few(top: float) -> None:
    reached, step = nice(top)
    assert reached >= top * 0.998
    assert 2 <= round(reached / step) <= 5


@pytest.mark.parametrize("span", [0.0, 3, 59, 700, 5000, 90_000, 3_000_000])
def test_a_time_axis_has_a_few_words(span: float) -> None:
    svg = html(chart("name", "words", axes(span), [Line(name="a", kind="preview", points=[(0, 0.5), (span, 0.6)])]))
    ticks = [text for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg) if re.search(r"^0$|s$|min$|h", text)]
    assert 1 <= len(ticks) <= 8


def test_times_are_words() -> None:
    assert [elapsed(seconds) for seconds in (0, 45, 60, 90, 3600, 5400)] == [
        "0",
        "45 s",
        "1 min",
        "1:30 min",
        "1 h",
        "1 h 30",
    ]


def test_lines_differ_by_more_than_colour_and_say_what_they_are() -> None:
    lines = [Line(name=kind, kind=kind, points=[(0, 0.1), (60, 0.4)]) for kind in ("preview", "stable")]
    svg = html(chart("Rates", "both rise", axes(), lines, limits=[(0.5, "enough")], marks=[(30.0, "5 %")]))
    assert 'aria-label="Rates. both rise"' in svg
    assert "<title>Rates</title>" in svg
    assert "enough" in svg
    assert "5\u00a0%" in svg
    assert svg.count('class="line ') == 2
