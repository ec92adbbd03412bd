"""Pure: what the page answers at one glance: is it going well, who has which share, what happens next."""

from __future__ import annotations

from xml.etree.ElementTree import Element

from pipeline_step.outlook import clock
from pipeline_step.page.history import STANDINGS, History
from pipeline_step.page.markup import element, moment
from pipeline_step.page.style import ICONS

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

OTHERS = ("calm", "look")

PLAIN = ("good", "unproven yet", "suspicious", "running", "paused", "promoted")
"""Standings that numbers explain better than a gate's sentence."""


def tone(history: History) -> str:
    """The colour of how it goes, as a class of the style."""
    return TONES.get(history.standing, OTHERS)[0]


def first_view(history: History) -> Element:
    """Is it going well, who has which share, what happens next."""
    colour, icon = TONES.get(history.standing, OTHERS)
    return element(
        "section",
        element("div", _icon(icon), element("h1", STANDINGS[history.standing]), class_="verdict"),
        *(element("p", text, class_="why") for text in _why(history)),
        shares(history),
        _coming(history),
        _plan(history),
        class_=f"first {colour}",
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


def shares(history: History) -> Element:
    """Who has which share, as a bar and in numbers."""
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


def _icon(name: str) -> Element:
    return element("svg", element("path", d=ICONS[name]), class_="icon", viewBox="0 0 24 24", aria_hidden="true")


def _at(time: float) -> Element:
    return element("small", "at ", moment(time))
