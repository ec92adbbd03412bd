"""Pure: line charts over time as SVG, drawn for a column as narrow as a phone. Colours come from the page's style.

A line is told from others by its dashes and its name as well as by its colour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from pipeline_step.page.markup import element

WIDE, HIGH = 440, 220
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 18, 26
SPANS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)  # seconds

Point = tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """A series by time: its points, drawn in steps where it changes at once, and a band of (time, low, high).

    `kind` is the class that the style gives a colour and dashes.
    """

    name: str
    kind: str
    points: Sequence[Point]
    steps: bool = False
    band: Sequence[tuple[float, float, float]] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Axes:
    """What a chart shows: times from `first` to `last`, values up to `top`, and how a value is written."""

    first: float
    last: float
    top: float
    written: Callable[[float], str]
    bottom: float = 0.0


def chart(
    name: str,
    words: str,
    axes: Axes,
    lines: Sequence[Line],
    limits: Sequence[tuple[float, str]] = (),
    marks: Sequence[tuple[float, str]] = (),
) -> Element:
    """A picture with a name and words for who does not see it; `limits` are levels, `marks` are moments."""
    parts: list[Element] = [element("title", name), element("desc", words), *_grid(axes)]
    taken = -math.inf
    for time, label in marks:
        x = _x(axes, time)
        parts.append(element("line", class_="mark", x1=x, x2=x, y1=TOP, y2=HIGH - BOTTOM))
        if x - taken >= 30:
            late = x > WIDE - RIGHT - 25
            anchor = {"x": x, "text_anchor": "end"} if late else {"x": x + 3}
            parts.append(element("text", label, class_="mark", y=TOP - 5, **anchor))
            taken = x
    for line in lines:
        if line.band:
            parts.append(element("path", class_=f"band {line.kind}", d=_area(axes, line.band)))
    for line in lines:
        parts += _drawn(axes, line)
    for level, label in limits:
        y = _y(axes, level)
        parts.append(element("line", class_="limit", x1=LEFT, x2=WIDE - RIGHT, y1=y, y2=y))
        parts.append(element("text", label, class_="limit", x=LEFT + 5, y=y - 5))
    return element(
        "svg", *parts, viewBox=f"0 0 {WIDE} {HIGH}", role="img", aria_label=f"{name}. {words}", class_="chart"
    )


def nice(top: float, ticks: int = 4) -> tuple[float, float]:
    """A round number at or above `top`, and the distance of about so many round ticks below it."""
    raw = max(top, 1e-9) / ticks
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= raw * 0.999)
    return step * math.ceil(top / step * 0.999), step


def elapsed(seconds: float) -> str:
    """A time since the beginning: 0, 45 s, 12 min, 1 h 30."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s" if whole else "0"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min" if not rest else f"{minutes}:{rest:02d} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h" if not minutes else f"{hours} h {minutes:02d}"


def _grid(axes: Axes) -> list[Element]:
    """Levels with their values at the left, and times below."""
    _, step = nice(axes.top - axes.bottom)
    parts = []
    for number in range(math.ceil(axes.bottom / step - 0.001), math.floor(axes.top / step + 0.001) + 1):
        y = _y(axes, number * step)
        parts.append(element("line", class_="grid", x1=LEFT, x2=WIDE - RIGHT, y1=y, y2=y))
        parts.append(element("text", axes.written(number * step), x=LEFT - 6, y=y + 4, text_anchor="end"))
    span = max(axes.last - axes.first, 1.0)
    between = next((one for one in SPANS if span / one <= 5), SPANS[-1] * math.ceil(span / 5 / SPANS[-1]))
    for tick in range(0, int(span) + 1, between):
        x = _x(axes, axes.first + tick)
        anchor = "end" if x > WIDE - RIGHT - 20 else "middle"
        parts.append(element("text", elapsed(tick), x=x, y=HIGH - 8, text_anchor=anchor))
    return parts


def _drawn(axes: Axes, line: Line) -> list[Element]:
    if not line.points:
        return []
    places = [(_x(axes, time), _y(axes, value)) for time, value in line.points]
    path = [f"M{places[0][0]} {places[0][1]}"]
    for x, y in places[1:]:
        path.append(f"H{x}V{y}" if line.steps else f"L{x} {y}")
    last_x, last_y = places[-1]
    return [
        element("path", class_=f"line {line.kind}", d="".join(path)),
        element("circle", class_=f"end {line.kind}", cx=last_x, cy=last_y, r=3.5),
    ]


def _area(axes: Axes, band: Sequence[tuple[float, float, float]]) -> str:
    above = [f"{_x(axes, time)} {_y(axes, high)}" for time, _, high in band]
    below = [f"{_x(axes, time)} {_y(axes, low)}" for time, low, _ in reversed(band)]
    return f"M{'L'.join(above + below)}Z"


def _x(axes: Axes, time: float) -> float:
    share = (time - axes.first) / max(axes.last - axes.first, 1.0)
    return round(LEFT + (WIDE - LEFT - RIGHT) * min(max(share, 0.0), 1.0), 1)


def _y(axes: Axes, value: float) -> float:
    """Values outside of the axis are drawn at its ends."""
    share = min(max((value - axes.bottom) / (axes.top - axes.bottom), 0.0), 1.0)
    return round(HIGH - BOTTOM - (HIGH - TOP - BOTTOM) * share, 1)
