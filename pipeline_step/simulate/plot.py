"""Summaries as a table and a chart of characters, as a picture (SVG), and as JSON. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from xml.sax.saxutils import escape

from pipeline_step.simulate.summary import Interval, Summary

MARKS = "abcdefghijklmnopqrstuvwxyz"
COLOURS = ("#1b6ca8", "#d1495b", "#edae49", "#00798c", "#7a4fa3", "#5b8c2a", "#8c564b", "#444444")


def table(summaries: Sequence[Summary]) -> str:
    """One line for each scenario: what the preview does, the chance of each outcome, failed requests and time."""
    rows = [("", "REQUESTS/S", "PREVIEW", "OUTCOME (95 % interval)", "HARMED", "95 % UNDER", "TIME", "95 % UNDER")]
    for mark, one in zip(MARKS, summaries, strict=False):
        outcomes = [f"{name} {_percent(chance)}" for name, chance in one.outcomes.items()]
        rows.append(
            (
                mark,
                f"{_rps(one):,.4g}",
                one.scenario.words,
                outcomes[0],
                f"{one.harmed.value:,.1f}",
                f"{one.harmed_at_most(0.95):,}",
                duration(one.seconds(0.5)),
                duration(one.seconds(0.95)),
            )
        )
        rows += [("", "", "", more, "", "", "", "") for more in outcomes[1:]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def chart(summaries: Sequence[Summary], width: int = 72, height: int = 12) -> str:
    """The preview's average weight over time, a letter for each scenario as in the table; time grows by factors."""
    times = _times(summaries, width)
    grid = [[" "] * width for _ in range(height + 1)]
    for mark, one in reversed(list(zip(MARKS, summaries, strict=False))):
        for column, time in enumerate(times):
            grid[height - round(one.weight(time) / 100.0 * height)][column] = mark
    lines = ["the preview's average weight"]
    for row, cells in enumerate(grid):
        label = f"{100 * (height - row) / height:.0f} %" if row % (height // 4) == 0 else ""
        lines.append(f"{label:>6} |{''.join(cells)}".rstrip())
    axis = [" "] * (width + 8)
    for column in range(0, width, 12):
        for index, character in enumerate(duration(times[column])):
            axis[column + index] = character
    return "\n".join([*lines, " " * 7 + "+" + "-" * width, " " * 8 + "".join(axis).rstrip()])


def svg(title: str, summaries: Sequence[Summary]) -> str:
    """A picture that needs nothing else: the average weight over time above, the share that is over below."""
    wide, high, left, gap = 720, 200, 60, 70
    times = _times(summaries, 240)
    legend = 60 + 2 * (high + gap)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide + 100} {legend + 20 * len(summaries) + 20}" '
        'font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{left}" y="24" font-size="16">{escape(title)}</text>',
    ]
    panels: list[tuple[str, Callable[[Summary, float], float]]] = [
        ("the preview's average weight, %", lambda one, time: one.weight(time)),
        ("rollouts that are over, %", lambda one, time: 100.0 * one.ended(time)),
    ]
    for number, (label, value) in enumerate(panels):
        top = 60 + number * (high + gap)
        parts += _axes(label, times, left, top, wide, high)
        for index, one in enumerate(summaries):
            points = " ".join(
                f"{left + column / (len(times) - 1) * wide:.1f},{top + high - value(one, time) / 100 * high:.1f}"
                for column, time in enumerate(times)
            )
            parts.append(f'<polyline points="{points}" fill="none" stroke-width="2" {_stroke(index)}/>')
    for index, one in enumerate(summaries):
        y = legend + 20 * index
        ends = ", ".join(f"{name} {_percent(chance)}" for name, chance in one.outcomes.items())
        words = f"{_rps(one):,.4g} requests/s, {one.scenario.words}: {ends}; {one.harmed.value:,.1f} harmed"
        parts.append(
            f'<line x1="{left}" x2="{left + 24}" y1="{y - 4}" y2="{y - 4}" stroke-width="2" {_stroke(index)}/>'
        )
        parts.append(f'<text x="{left + 32}" y="{y}">{escape(words)}</text>')
    return "\n".join([*parts, "</svg>\n"])


def document(summaries: Iterable[Summary]) -> str:
    """The same for machines: shares 0..1 with [value, low, high], times in seconds."""
    rows = [
        {
            "requests_per_second": _rps(one),
            "fault": one.scenario.kind.value,
            "preview": one.scenario.words,
            "runs": len(one.played),
            "outcomes": {name: _list(chance) for name, chance in one.outcomes.items()},
            "harmed": {"mean": _list(one.harmed), "p95": one.harmed_at_most(0.95)},
            "seconds": {"median": one.seconds(0.5), "p95": one.seconds(0.95)},
        }
        for one in summaries
    ]
    return json.dumps(rows, indent=2)


def duration(seconds: float) -> str:
    """Such as 25 s, 3.5 min or 2 h."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


def _rps(one: Summary) -> float:
    return one.scenario.recorded.rate if one.scenario.recorded else one.scenario.rps


def _percent(chance: Interval) -> str:
    return f"{100 * chance.value:.3g} % ({100 * chance.low:.2g}-{100 * chance.high:.3g})"


def _list(interval: Interval) -> list[float]:
    return [round(value, 6) for value in (interval.value, interval.low, interval.high)]


def _times(summaries: Sequence[Summary], count: int) -> list[float]:
    """From the first change to the last end, in equal factors."""
    first = min(min(one.seconds for one in summary.played) for summary in summaries) / 2
    last = max(summary.seconds(0.99) for summary in summaries) * 1.05
    return [first * (last / first) ** (index / (count - 1)) for index in range(count)]


def _axes(label: str, times: Sequence[float], left: int, top: int, wide: int, high: int) -> list[str]:
    parts = [f'<text x="{left}" y="{top - 10}">{escape(label)}</text>']
    for value in (0, 25, 50, 75, 100):
        y = top + high - value / 100 * high
        parts.append(f'<line x1="{left}" x2="{left + wide}" y1="{y}" y2="{y}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 8}" y="{y + 4}" text-anchor="end">{value}</text>')
    last = len(times) - 1
    for tick in range(7):
        x = left + tick / 6 * wide
        words = duration(times[math.floor(tick / 6 * last)])
        parts.append(f'<text x="{x:.0f}" y="{top + high + 18}" text-anchor="middle">{words}</text>')
    return parts


def _stroke(index: int) -> str:
    dashes = "" if index < len(COLOURS) else ' stroke-dasharray="5 3"'
    return f'stroke="{COLOURS[index % len(COLOURS)]}"{dashes}'
