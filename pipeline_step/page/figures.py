"""Pure: the charts of a history, each with its words, its key, and the same numbers as a table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from xml.etree.ElementTree import Element

from pipeline_step.page.charts import Axes, Line, chart, elapsed, nice
from pipeline_step.page.history import Compared, History, Rate, Sample, spread
from pipeline_step.page.markup import element

ROWS = 24  # of a table, at most


def figures(history: History) -> Iterator[Element]:
    """All charts that there are numbers for; the history has samples."""
    yield _shares(history)
    for name in _names(history, lambda sample: [one.gate for one in sample.weighed]):
        yield _evidence(history, name)
    for name in _names(history, lambda sample: [one.name for one in sample.compared]):
        yield _rates(history, name)
    for name in _names(history, lambda sample: [one.gate for one in sample.measured]):
        yield _values(history, name)


def _shares(history: History) -> Element:
    weights = sorted(
        [(one.at, float(one.weight)) for one in history.samples]
        + [(one.at, float(one.weight)) for one in history.events]
    )
    counted = [(one.at, one.counted) for one in history.samples if one.counted is not None]
    settled = [value for _, value in counted[len(counted) // 2 :]]
    top, _ = nice(max([weight for _, weight in weights] + settled + [1.0]) * 1.15)
    lines = [Line(name="configured", kind="preview", points=weights, steps=True)]
    if counted:
        lines.append(Line(name="counted", kind="counted", points=counted))
    words = f"The preview's share went from {weights[0][1]:g} % to {weights[-1][1]:g} %"
    words += f"; {counted[-1][1]:.3g} % of the requests were counted there." if counted else "."
    rows = [
        (_since(history, one.at), f"{one.weight} %", "–" if one.counted is None else f"{one.counted:.3g} %")
        for one in spread(history.samples, ROWS)
    ]
    axes = _axes(history, min(top, 100.0), lambda value: f"{value:g} %")
    return _figure(history, "The preview's share of the requests", words, axes, lines, ("time", "set", "counted"), rows)


def _evidence(history: History, gate: str) -> Element:
    """Both ways as a part of what a verdict needs, so that one threshold serves for both."""
    found = [(sample.at, one) for sample in history.samples for one in sample.weighed if one.gate == gate]
    against = [(at, max(0.0, one.against / one.needed_against)) for at, one in found]
    favour = [(at, max(0.0, one.in_favour / one.needed_in_favour)) for at, one in found]
    reached = max(value for _, value in against + favour)
    last = found[-1][1]
    words = (
        f"Against the preview: {_odds(last.against)}, and a revert needs {_odds(last.needed_against)}. "
        f"In its favour: {_odds(last.in_favour)}, and a promotion needs {_odds(last.needed_in_favour)}."
    )
    lines = [
        Line(name="against the preview", kind="against", points=against),
        Line(name="in its favour", kind="favour", points=favour),
    ]
    rows = [(_since(history, at), _odds(one.against), _odds(one.in_favour)) for at, one in spread(found, ROWS)]
    axes = _axes(history, min(max(1.25, reached * 1.1), 2.0), lambda value: f"{100 * value:.0f} %")
    title = f"How close {gate} is to a verdict"
    limits = [(1.0, "enough for a verdict")]
    return _figure(history, title, words, axes, lines, ("time", "against", "in favour"), rows, limits)


def _rates(history: History, name: str) -> Element:
    found = [(sample.at, one) for sample in history.samples for one in sample.compared if one.name == name]
    lines = [
        Line(
            name=side,
            kind=kind,
            points=[(at, share) for at, one in found if (share := getattr(one, kind).share) is not None],
            band=[(at, rate.low, rate.high) for at, one in found if (rate := getattr(one, kind)).total],
        )
        for kind, side in (("stable", "production"), ("preview", "pull request"))
    ]
    last: Compared = found[-1][1]
    settled = [value for line in lines for _, value in line.points[len(line.points) // 2 :]]
    top, _ = nice(max([*settled, last.preview.high, last.stable.high, 1e-6]) * 1.1)
    words = (
        f"Pull request: {_counts(last.preview)}. Production: {_counts(last.stable)}. "
        f"The bands hold at any time: each is wrong with a chance of {100 * last.beta:g} % at most."
    )
    rows = [(_since(history, at), _interval(one.preview), _interval(one.stable)) for at, one in spread(found, ROWS)]
    axes = _axes(history, min(top, 1.0), _percent)
    gate, _, what = name.partition(": ")
    heads = ("time", "pull request", "production")
    return _figure(history, f"{what[:1].upper()}{what[1:]} ({gate})", words, axes, lines, heads, rows)


def _values(history: History, gate: str) -> Element:
    found = [(sample.at, one) for sample in history.samples for one in sample.measured if one.gate == gate]
    last = found[-1][1]
    limits = [(level, word) for level, word in ((last.low, "at least"), (last.high, "at most")) if level is not None]
    values = [one.value for _, one in found] + [level for level, _ in limits]
    low, high = min(values), max(values)
    room = 0.2 * (high - low) or abs(high) * 0.1 or 1.0
    bottom = 0.0 if 0 <= low < 0.5 * high else low - room
    needed = " and ".join(f"{word} {level:g}" for level, word in limits)
    words = f"Now {last.value:g}" + (f"; needed {needed}." if needed else ".")
    rows = [(_since(history, at), f"{one.value:g}") for at, one in spread(found, ROWS)]
    axes = Axes(
        first=_first(history),
        last=history.updated,
        top=high + room,
        bottom=bottom,
        written=lambda value: f"{value:.4g}",
    )
    lines = [Line(name="value", kind="preview", points=[(at, one.value) for at, one in found])]
    shown = [(level, f"{word} {level:g}") for level, word in limits]
    return _figure(
        history, f"The value of {gate} against its limits", words, axes, lines, ("time", "value"), rows, shown
    )


def _figure(
    history: History,
    title: str,
    words: str,
    axes: Axes,
    lines: Sequence[Line],
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    limits: Sequence[tuple[float, str]] = (),
) -> Element:
    marks = [(one.at, f"{one.weight} %") for one in history.events if one.kind in ("shifted", "reverted")]
    keys = [element("li", _swatch(line.kind), line.name) for line in lines]
    head = element(
        "tr", *(element("th", text, class_="n" if column else None, scope="col") for column, text in enumerate(heads))
    )
    body = [
        element("tr", element("th", row[0], scope="row"), *(element("td", cell, class_="n") for cell in row[1:]))
        for row in rows
    ]
    table = element("table", element("thead", head), element("tbody", *body))
    scrolled = element("div", table, class_="rows", tabindex=0, role="region", aria_label=f"{title}, as a table")
    return element(
        "figure",
        element("figcaption", element("h2", title), element("p", words), element("ul", *keys, class_="key")),
        chart(title, words, axes, lines, limits, marks),
        element("details", element("summary", "The same as a table"), scrolled),
    )


def _swatch(kind: str) -> Element:
    return element("svg", element("path", class_=f"line {kind}", d="M1 5H29"), viewBox="0 0 30 10", aria_hidden="true")


def _names(history: History, of: Callable[[Sample], Sequence[str]]) -> list[str]:
    """In the order in which they appear; without those that the newest half of the looks does not have."""
    recent = history.samples[len(history.samples) // 2 :]
    return list(dict.fromkeys(name for sample in recent for name in of(sample)))


def _axes(history: History, top: float, written: Callable[[float], str]) -> Axes:
    return Axes(first=_first(history), last=history.updated, top=top, written=written)


def _first(history: History) -> float:
    return min([one.at for one in history.samples[:1]] + [one.at for one in history.events[:1]])


def _since(history: History, at: float) -> str:
    return elapsed(at - _first(history))


def _odds(log_odds: float) -> str:
    """Such as 7:1, or 1:7 for what speaks for the other side."""
    size = abs(log_odds)
    number = "over 1,000,000" if size > math.log(1e6) else f"{math.exp(size):,.{0 if size >= math.log(9.5) else 1}f}"
    return f"1:{number}" if log_odds < 0 else f"{number}:1"


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _counts(rate: Rate) -> str:
    if rate.share is None:
        return "no requests"
    return f"{rate.bad:,.0f} of {rate.total:,.0f} ({_interval(rate)})"


def _interval(rate: Rate) -> str:
    """The share with its bounds."""
    if rate.share is None:
        return "–"
    return f"{_percent(rate.share)}, from {_percent(rate.low)} to {_percent(rate.high)}"
