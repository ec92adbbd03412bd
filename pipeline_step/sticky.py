"""Pure: the sticky comment in Markdown: outcome first, then the shares, the gates, what to do, and the history."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pipeline_step import history
from pipeline_step.model import Backend, Counts, Measurement, Outcome
from pipeline_step.report import HISTORIC, escape, headline, icon, marker
from pipeline_step.run import Event

MARKS = {Outcome.PASS: "pass", Outcome.FAIL: "**fail**"}
LEVELS = "▁▂▃▄▅▆▇█"
LISTED = 8  # other previews that are named one by one


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """Which pull request it is about, and the two sides of its rollout."""

    app: str
    number: int
    stable: Backend
    preview: Backend
    run_url: str = ""


def comment(
    subject: Subject, events: Sequence[Event], before: str, lines: Sequence[str], *, limit: int, html: bool
) -> str:
    """The comment after these events of one run, the newest last; `before` is its text so far, "" for none.

    It has at most `limit` characters: the oldest part of the history goes first. An event that tells nothing of the
    preview's share only adds to the history.
    """
    told, known = history.split(before)
    news = next((event for event in reversed(events) if event.kind not in HISTORIC), None)
    if news:
        top = _top(subject, news, [event.weight for event in events if event.kind not in HISTORIC])
    else:
        hidden = marker(subject.app, subject.number)
        top = told or f"{hidden}\n\n### {escape(subject.app)}: this pull request has no share of production's requests"
    room = limit - len(top) - 2
    return "\n\n".join(filter(None, [top, history.section(history.merged(known, lines), room, html=html)]))[:limit]


def _top(subject: Subject, news: Event, weights: Sequence[int]) -> str:
    parts = [
        marker(subject.app, subject.number),
        f"### {icon(news)} {escape(subject.app)}: this pull request {headline(news)}",
        escape(news.reason[:2000]),
    ]
    if news.kind not in ("ready", "deleted"):
        parts += [_shares(subject, news), f"`{_bar(news.weight)}`{_steps(weights)}"]
    if news.measurements:
        parts.append(_gates(news.measurements))
    if news.weight:
        parts.append("To stop it at once, comment `/revert`.")
    elif news.kind == "ready":
        parts.append("To give it requests, comment `/shift 5` or `/rollout`.")
    links = [f"[{text}]({to})" for text, to in (("Preview", news.url), ("Pipeline run", subject.run_url)) if to]
    return "\n\n".join([*parts, " · ".join(links)] if links else parts)


def _shares(subject: Subject, news: Event) -> str:
    """Who has which share, where the event knows; else this preview's own."""
    seen = next(iter(news.on.values()), None)
    own, stable = str(subject.preview), str(subject.stable)
    rows = [("this pull request", news.weight)]
    if seen is not None:
        others = {key: weight for key, weight in seen.weights.items() if key not in (own, stable)}
        rows.insert(0, ("production", seen.weights.get(stable, 0)))
        named = sorted(others.items(), key=lambda item: -item[1])
        for key, weight in named[:LISTED]:
            rollout = seen.rollouts.get(key)
            rows.append((f"#{rollout.pull_request}" if rollout else escape(key), weight))
        if rest := named[LISTED:]:
            rows.append((f"{len(rest)} more", sum(weight for _, weight in rest)))
    head = " | ".join(name for name, _ in rows)
    return f"| {head} |\n|{'---:|' * len(rows)}\n| {' | '.join(f'{weight} %' for _, weight in rows)} |"


def _bar(weight: int, width: int = 40) -> str:
    filled = max(1, round(weight * width / 100)) if weight else 0
    return "█" * filled + "░" * (width - filled)


def _steps(weights: Sequence[int]) -> str:
    """How the share went, as a line of small bars; nothing where it did not move."""
    moved = [weight for at, weight in enumerate(weights) if not at or weight != weights[at - 1]][-40:]
    if len(moved) < 2:
        return ""
    top = max(moved)
    return f" `{''.join(_level(weight / top) for weight in moved)}` {' → '.join(map(str, moved[-8:]))} %"


def _level(share: float) -> str:
    return LEVELS[min(len(LEVELS) - 1, max(0, round(share * (len(LEVELS) - 1))))]


def _gates(measurements: Iterable[Measurement]) -> str:
    rows = [
        f"| {escape(m.gate)} | {MARKS.get(m.outcome, m.outcome.value.replace('_', ' '))} | {_numbers(m)} | "
        f"{escape(m.reason[:500])} |"
        for m in measurements
    ]
    return "\n".join(["| gate | says | failing here, in production | why |", "|---|---|---|---|", *rows])


def _numbers(measurement: Measurement) -> str:
    """Both sides' failing shares with small bars on one scale, where the gate counts requests; else its value."""
    here, there = measurement.preview, measurement.stable
    if here is None or there is None:
        return "" if measurement.value is None else f"{measurement.value:g}"
    top = max(here.bad_share, there.bad_share)

    def side(counts: Counts) -> str:
        level = _level(counts.bad_share / top if top else 0.0)
        return f"`{level}` {100 * counts.bad_share:.3g} % of {counts.total:.0f}"

    return f"{side(here)}, {side(there)}"
