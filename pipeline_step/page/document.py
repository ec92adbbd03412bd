"""Pure: a history as one self-contained HTML page: the first view, gates, charts, events, how to stop it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import quote
from xml.etree.ElementTree import Element

from pipeline_step.page.figures import figures
from pipeline_step.page.first_view import first_view, shares, tone
from pipeline_step.page.history import STANDINGS, History, encoded
from pipeline_step.page.markup import Child, element, html, link, moment
from pipeline_step.page.style import STYLE
from pipeline_step.report import WORDS

MARK = '<script id="pipeline-step-history" type="application/json">'
"""How a page is known again; its history follows, up to the end of the script."""

OUTCOMES = {"pass": "good", "fail": "bad", "undecided": "calm", "waiting": "calm"}


def document(history: History, *, refresh: str = "", problem: str = "") -> str:
    """The page. `refresh` is a script that keeps a served one up to date; `problem` is why it is out of date."""
    main = element(
        "main",
        first_view(history),
        _gates(history),
        element("div", *(figures(history) if history.samples else ()), _next_step(history), class_="charts"),
        _events(history),
        _stop(history),
        _facts(history),
        class_=tone(history),
    )
    data = element("script", id="pipeline-step-history", type="application/json")
    data.text = encoded(history)
    who = f"{history.app}, pull request {history.pull_request}"
    title = f"{STANDINGS[history.standing]}, {history.weight} % · {who}"
    made_by = f"Written by pipeline-step, run {history.run}." if history.run else "Written by pipeline-step."
    return framed(title, who, history.updated, main, made_by, data, refresh=refresh, problem=problem)


def listing(app: str, histories: Sequence[History], *, refresh: str = "", problem: str = "") -> str:
    """Several rollouts of one service, or none: how each goes, with a link to its page."""
    rows = [
        element(
            "section",
            element(
                "h2",
                element("a", f"Pull request {one.pull_request}", href=f"/{quote(one.preview)}"),
                ": ",
                element("span", STANDINGS[one.standing], class_=f"tag {tone(one)}"),
            ),
            shares(one),
        )
        for one in histories
    ]
    nothing = element("section", element("p", "Nothing is being rolled out: production has all requests."))
    main = element("main", element("h1", "Rollouts", class_="unseen"), *(rows or [nothing]), class_="calm")
    updated = max((one.updated for one in histories), default=0.0)
    title = f"{len(histories)} rollouts of {app}"
    return framed(title, app, updated, main, "Written by pipeline-step.", refresh=refresh, problem=problem)


def framed(
    title: str,
    who: str,
    updated: float,
    main: Element,
    made_by: str,
    data: Element | None = None,
    *,
    refresh: str = "",
    problem: str = "",
) -> str:
    """A whole document around the main part."""
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
    as_of = element("span", "as of ", moment(updated, day=True)) if updated else None
    body = element(
        "body",
        element("header", element("strong", who), as_of, element("p", problem, class_="problem") if problem else None),
        element("p", title, class_="unseen", role="status") if refresh else None,
        main,
        element("footer", element("p", f"Times are UTC. {made_by}")),
        data,
        element("script", refresh) if refresh else None,
    )
    return html(element("html", head, body, lang="en"))


def history_in(page: str) -> str:
    """The JSON of the history that a page carries; "" where it carries none."""
    _, found, rest = page.partition(MARK)
    return rest.partition("</script>")[0] if found else ""


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
        words = WORDS.get(told.kind, f"is {told.kind}").format(weight=told.weight)
        text = element("div", f"It {words}", element("small", told.reason) if told.reason else None)
        rows.append(element("li", moment(told.at), text))
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
        ("Began", moment(history.began, day=True) if history.began else None),
    ]
    rows: list[Child] = []
    for name, value in facts:
        if value is not None and value != "":
            rows += [element("dt", name), element("dd", value)]
    return _section("What is rolled out", element("dl", *rows, class_="facts"))


def _section(title: str, *children: Child) -> Element:
    return element("section", element("h2", title), *children)
