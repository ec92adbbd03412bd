"""Pure: a history as one self-contained HTML page: the first view, gates, charts, events, how to stop it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from xml.etree.ElementTree import Element

from pipeline_step.outlook import clock
from pipeline_step.page.figures import figures
from pipeline_step.page.history import STANDINGS, History, encoded
from pipeline_step.page.markup import Child, element, html, link
from pipeline_step.page.style import ICONS, STYLE
from pipeline_step.report import WORDS

MARK = '<script id="pipeline-step-history" type="application/json">'
"""How a page is known again; its history follows, up to the end of the script."""

TONES = {
    "good": ("good", "yes"),
    "promoted": ("good", "yes"),
    "unchanged": ("good", "yes"),
    "promoting": ("good", "up"),
    "failing": ("bad", "no"),
    "reverted": ("bad", "no"),
    "undoing": ("bad", "no"),
    "waiting": ("warn", "wait"),
    "suspicious": ("warn", "look"),
    "inconclusive": ("warn", "wait"),
    "unproven": ("warn", "pause"),
    "interrupted": ("warn", "no"),
    "paused": ("calm", "pause"),
    "held": ("calm", "pause"),
    "unproven yet": ("calm", "wait"),
}
"""Colour and icon of a standing; both only repeat its words."""

PLAIN = ("good", "unproven yet", "suspicious", "running", "paused", "promoted")
"""Standings that numbers explain better than a gate's sentence."""

OUTCOMES = {"pass": "good", "fail": "bad", "undecided": "calm", "waiting": "calm"}


def document(history: History, *, refresh: str = "", problem: str = "") -> str:
    """The page. `refresh` is a script that keeps a served one up to date; `problem` is why it is out of date."""
    tone, icon = TONES.get(history.standing, ("calm", "look"))
    who = f"{history.app}, pull request {history.pull_request}"
    title = f"{STANDINGS[history.standing]}, {history.weight} % · {who}"
    main = element(
        "main",
        element("p", problem, class_="warn") if problem else None,
        _first(history, tone, icon),
        _gates(history),
        element("div", *(figures(history) if history.samples else ()), _next_step(history), class_="charts"),
        _events(history),
        _stop(history),
        _facts(history),
        class_=tone,
    )
    data = element("script", id="pipeline-step-history", type="application/json")
    data.text = encoded(history)
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", title),
        element("link", rel="icon", href="data:,"),
        element("style", STYLE),
    )
    body = element(
        "body",
        element(
            "header",
            element("strong", who),
            element("span", "as of ", _time(history.updated, day=True)) if history.updated else None,
        ),
        element("p", title, class_="unseen", role="status") if refresh else None,
        main,
        element("footer", element("p", _footer(history))),
        data,
        element("script", refresh) if refresh else None,
    )
    return html(element("html", head, body, lang="en"))


def history_in(page: str) -> str:
    """The JSON of the history that a page carries; "" where it carries none."""
    _, found, rest = page.partition(MARK)
    return rest.partition("</script>")[0] if found else ""


def _first(history: History, tone: str, icon: str) -> Element:
    """Is it going well, who has which share, what happens next."""
    return element(
        "section",
        element("div", _icon(icon), element("h1", STANDINGS[history.standing]), class_="verdict"),
        *(element("p", text, class_="why") for text in _why(history)),
        _shares(history),
        _coming(history),
        _plan(history),
        class_=f"first {tone}",
    )


def _why(history: History) -> list[str]:
    """The plainest numbers that there are, and why it stands where it stands; what the gates say comes below."""
    compared = next((sample.compared[0] for sample in reversed(history.samples) if sample.compared), None)
    words = [] if history.standing in PLAIN and compared else [history.reason]
    if compared and compared.preview.share is not None and compared.stable.share is not None:
        preview, stable = (100 * (rate.share or 0.0) for rate in (compared.preview, compared.stable))
        what = compared.name.partition(": ")[2]
        words.insert(
            0, f"{what[:1].upper()}{what[1:]}: {preview:.2g} % in the pull request, {stable:.2g} % in production."
        )
    return [text[:1].upper() + text[1:] for text in words if text]


def _shares(history: History) -> Element:
    rest = 100 - history.weight
    counted = (
        None if history.over else next((s.counted for s in reversed(history.samples) if s.counted is not None), None)
    )
    bar = [element("span", class_=name, style=f"flex:{share} 0 0") for name, share in _sides(history.weight) if share]
    return element(
        "div",
        element("div", *bar, class_="bar", aria_hidden="true"),
        element(
            "ul",
            _side(rest, "production", history.stable, None if counted is None else 100 - counted),
            _side(history.weight, f"pull request {history.pull_request}", history.preview, counted),
            class_="sides",
            aria_label="Who has which share of the requests",
        ),
        class_="shares",
    )


def _sides(weight: int) -> tuple[tuple[str, int], ...]:
    return ("stable", 100 - weight), ("preview", weight)


def _side(weight: int, name: str, backend: str, counted: float | None) -> Element:
    seen = None if counted is None else element("small", f"{counted:.3g} % of the counted requests")
    return element("li", element("b", f"{weight} %"), f" {name}", element("small", backend), seen)


def _coming(history: History) -> Element:
    """What happens next, and the time until then."""
    times = [
        element("div", element("dt", label), element("dd", clock(at - history.updated), _at(at)))
        for label, at in (("Next step in", history.due), ("Deadline in", history.deadline))
        if at > history.updated
    ]
    return element(
        "div",
        element(
            "div",
            element("h2", "What happens next"),
            element("p", _next(history), class_="what"),
            element("p", history.coming, class_="until") if history.coming else None,
        ),
        element("dl", *times) if times and not history.over else None,
        class_="next",
    )


def _next(history: History) -> str:
    """What happens next, in a sentence or part of one."""
    if history.over:
        return "Nothing: it is over, and production has all requests"
    if history.standing in ("held", "unproven"):
        return "A person decides: promote it, go on, or revert it"
    if history.standing == "paused":
        return f"Nothing until somebody resumes it; then {history.then}"
    if history.then.endswith(" %"):
        return f"{history.then} of the requests"
    return history.then[:1].upper() + history.then[1:] if history.then else "The gates are asked"


def _plan(history: History) -> Element | None:
    if not history.plan:
        return (
            element("p", f"The evidence sets the share, up to {history.ramp} %.", class_="why")
            if history.ramp
            else None
        )
    ended = history.standing in ("promoted", "promoting", "unchanged")
    items = []
    for number, (weight, _) in enumerate(history.plan):
        reached = any(event.weight >= weight for event in history.events)
        here = not history.over and not ended and number == history.step
        done = ended or (reached and not here and (history.over or number < history.step))
        left = history.over and not ended and number == history.step and reached
        state = " – now" if here else " ✕ ended here" if left else " ✓" if done else ""
        items.append(
            element(
                "li",
                f"{weight} %{state}",
                class_="done" if done and not left else None,
                aria_current="step" if here else None,
            )
        )
    if history.promotes:
        state = " – now" if history.standing == "promoting" else " ✓" if ended else ""
        items.append(element("li", f"production{state}", class_="done" if ended else None))
    return element("ol", *items, class_="plan", aria_label="The steps of the strategy")


def _gates(history: History) -> Element | None:
    if not history.gates:
        return None
    rows = [
        element(
            "li",
            element("b", one.gate),
            element("span", one.outcome.replace("_", " "), class_=f"tag {OUTCOMES.get(one.outcome, 'warn')}"),
            element("p", one.reason.removeprefix(f"{one.gate}: ")),
        )
        for one in history.gates
    ]
    return _section("What the gates say", element("ul", *rows, class_="gates"))


def _next_step(history: History) -> Element | None:
    """What would have happened at the next step, from the last look."""
    said, ahead = history.if_due, history.ahead
    if not said and not ahead:
        return None
    title = "What would have happened at the next step" if history.over else "If the next step were due now"
    parts: list[Child] = [element("p", f"By the last look: {said}.".replace("..", "."))] if said else []
    if ahead and history.standing not in ("promoted", "promoting"):
        verb, fail = ("would have reached", "would have failed") if history.over else ("would reach", "would fail")
        parts.append(
            element(
                "p",
                f"With {ahead.weight} % of the requests, about {ahead.requests:,.3g} a second {verb} this version. "
                f"At the rate measured so far {_some(ahead.failing)} of them {fail} each second, and by the upper "
                f"bound of that rate {_some(ahead.failing_most)}.",
            )
        )
    return _section(title, *parts)


def _some(number: float) -> str:
    """A number of requests a second."""
    return f"about {number:,.2g}" if number else "none"


def _events(history: History) -> Element | None:
    if not history.events:
        return None
    rows: list[Child] = []
    for told in reversed(history.events):
        words = WORDS.get(told.kind, told.kind).format(weight=told.weight)
        text = element("div", f"It {words}", element("small", told.reason) if told.reason else None)
        rows.append(element("li", _time(told.at), text))
    if history.left_out:
        rows.insert(-1, element("li", "", f"{history.left_out} more in between"))
    return _section("What happened, the newest first", element("ol", *rows, class_="events", reversed="reversed"))


def _stop(history: History) -> Element | None:
    if history.over:
        return None
    number = history.pull_request
    comment: Iterable[Child] = (element("code", "/revert"), " as a comment on the pull request, or ")
    return _section(
        "How to stop it",
        element(
            "p",
            "All requests go back to production at once with ",
            *(comment if history.comments else ()),
            element("code", f"pipeline-step revert --pr {number}"),
            " where its configuration is. ",
            element("code", f"pipeline-step pause --pr {number}"),
            " only keeps the share where it is.",
        ),
    )


def _facts(history: History) -> Element:
    facts: list[tuple[str, Child]] = [
        ("Preview", link(history.url or history.preview, history.url)),
        ("Commit", history.sha),
        ("Image", history.digest),
        ("Pipeline run", link(history.run, history.run_url)),
        ("Asked for by", history.by),
        ("Began", _time(history.began, day=True) if history.began else None),
    ]
    rows: list[Child] = []
    for name, value in facts:
        if value is not None and value != "":
            rows += [element("dt", name), element("dd", value)]
    return _section("What is rolled out", element("dl", *rows, class_="facts"))


def _section(title: str, *children: Child) -> Element:
    return element("section", element("h2", title), *children)


def _icon(name: str) -> Element:
    return element("svg", element("path", d=ICONS[name]), class_="icon", viewBox="0 0 24 24", aria_hidden="true")


def _at(time: float) -> Element:
    return element("small", "at ", _time(time))


def _time(time: float, *, day: bool = False) -> Element:
    at = datetime.fromtimestamp(time, UTC)
    text = at.strftime("%Y-%m-%d %H:%M:%S UTC" if day else "%H:%M:%S")
    return element("time", text, datetime=at.strftime("%Y-%m-%dT%H:%M:%SZ"))


def _footer(history: History) -> str:
    return "Times are UTC. Written by pipeline-step" + (f", run {history.run}." if history.run else ".")
