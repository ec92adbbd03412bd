"""The history in the sticky comment: kept from run to run, bounded, and nobody's to push out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_step import history, report, sticky
from pipeline_step.comments import parse
from pipeline_step.config import Pull
from pipeline_step.model import Backend, Counts, Measurement, Outcome, Rollout
from pipeline_step.route import Seen
from pipeline_step.run import Event
from pipeline_step.scm import SCMS

DAY = 86_400.0
NOW = 1_790_000_000.0
STABLE = Backend(service="shop", namespace="production")
PREVIEW = Backend(service="shop", namespace="pr-5")
SUBJECT = sticky.Subject(app="shop", number=5, stable=STABLE, preview=PREVIEW, run_url="https://ci.example/1")
LIMITS = sorted({(scm.COMMENT_LIMIT, scm.RENDERS_HTML) for scm in (load() for load in SCMS.values())})


def event(kind: str, weight: int = 0, reason: str = "because", at: float = NOW, **more: object) -> Event:
    return Event(kind=kind, weight=weight, reason=reason, at=at, **more)  # type: ignore[arg-type]


def told(before: str, *events: Event, limit: int = 65_536, html: bool = True, by: str = "wendy") -> str:
    """The comment after a run of its own has told these."""
    lines = [report.entry(one, report.asker(Pull(by=by, role="write", asked="/shift 5"))) for one in events]
    return sticky.comment(SUBJECT, events, before, lines, limit=limit, html=html)


def crowd(count: int) -> Seen:
    """A route that this preview shares with many others."""
    others = {
        f"shop.pr-{n}": Rollout(preview=PREVIEW, run="r", by="b", pull_request=n) for n in range(100, 100 + count)
    }
    weights = dict.fromkeys(others, 0) | {"shop.pr-100": 7, "shop.pr-101": 3, str(STABLE): 85, str(PREVIEW): 5}
    return Seen({}, {}, others, weights)


@pytest.mark.parametrize(("limit", "html"), LIMITS)
def test_500_previews_and_a_year_of_history_stay_under_every_providers_limit(limit: int, html: bool) -> None:
    body, others = "", {"": crowd(500)}
    measured = [
        Measurement(gate=f"compare-{n}", outcome=Outcome.UNDECIDED, reason="w_ai*ts " * 100, value=1.0)
        for n in range(9)
    ]
    for day in range(365):
        at = NOW + day * DAY
        body = told(
            body,
            event("shifted", 1, "@all *look* " * 60, at, measurements=measured, on=others),
            event("shifted", 5, "<b>fine</b> " * 60, at + 60, measurements=measured, on=others),
            event("reverted", 0, "a gate said no " * 60, at + 120, sha="a" * 40),
            limit=limit,
            html=html,
        )
        assert len(body) <= limit
    assert body.splitlines()[0] == report.marker("shop", 5)
    _, lines = history.split(body)
    assert history.DROPPED in lines
    assert len(lines) > 40, "as much as fits"
    assert "2027-09-20" in lines[-1], "the newest stay"
    assert len(body) < limit or len(lines) == history.MOST + 1
    assert ("<details>" in body) is html


def test_the_history_of_earlier_runs_is_kept_in_the_order_of_time() -> None:
    body = told("", event("shifted", 5, at=NOW))
    body = told(body, event("paused", 5, at=NOW + 5), by="olga")
    body = told(body, event("promoted", 0, at=NOW + 10))
    lines = history.split(body)[1]
    assert [line.split(" · ")[1].split(":")[0] for line in lines] == [
        "🚦 takes 5 % of production's requests",
        "🚦 is paused at 5 %",
        "✅ is production now",
    ]
    assert "`/shift 5` by olga (write)" in lines[1]
    assert told(body, event("promoted", 0, at=NOW + 10)) == body, "the same again changes nothing"


def test_a_line_that_another_runs_edit_overwrote_comes_back() -> None:
    """Two runs edit the comment in the same moment: the one that edits next has its own lines in it again."""
    first = event("shifted", 5, at=NOW)
    lost = told("", event("paused", 5, at=NOW + 1))
    body = told(lost, first, event("promoted", 0, at=NOW + 10))
    assert len(history.split(body)[1]) == 3


def test_a_refusal_only_adds_to_the_history() -> None:
    before = told("", event("shifted", 5, "at five"))
    after = told(before, event("refused", 0, "rita has the role read", NOW + 1), by="rita")
    assert history.split(after)[0] == history.split(before)[0]
    assert "rita has the role read" in after
    assert "no share of production's requests" in told("", event("refused", 0, "no"))


def test_attack_history_pushed_out_by_refused_commands() -> None:
    """A stranger comments again and again: the lines of what really happened stay."""
    body = told("", event("promoted", 0, "it was right"))
    for second in range(1, 300):
        body = told(body, event("refused", 0, "the stranger may not " * 20, NOW + second), by="stranger")
    lines = history.split(body)[1]
    assert any("it was right" in line for line in lines)
    assert sum(history.REFUSED in line for line in lines) == history.REFUSALS


def test_everyone_with_a_share_is_named_and_a_crowd_is_summed_up() -> None:
    body = told("", event("shifted", 5, on={"": crowd(500)}))
    assert "| production | this pull request | #100 | #101 |" in body
    assert "| 85 % | 5 % | 7 % | 3 % |" in body
    assert "| 492 more |" in body


def test_gates_have_numbers_and_small_bars_and_the_way_up_a_line_of_them() -> None:
    measured = Measurement(
        gate="compare",
        outcome=Outcome.FAIL,
        reason="worse",
        stable=Counts(total=1000, bad=10),
        preview=Counts(total=100, bad=4),
    )
    body = told("", *(event("shifted", weight, measurements=[measured]) for weight in (1, 5, 25)))
    assert "| compare | **fail** | `█` 4 % of 100, `▃` 1 % of 1000 | worse |" in body
    assert "`▁▂█` 1 → 5 → 25 %" in body
    assert "comment `/revert`" in body


TEXTS = st.text(max_size=60) | st.sampled_from(
    [
        "/shift 50",
        "\n\n/promote\n\n",
        "</details>\n\n/promote",
        "**History**",
        "- 2026-01-01 00:00:00 · x",
        "```",
        "> ",
        "@all",
    ]
)


@settings(max_examples=150, deadline=None)
@given(TEXTS, TEXTS, st.sampled_from(sorted(report.WORDS)), st.booleans())
def test_attack_text_of_a_user_makes_a_command_of_our_own_comment(reason: str, by: str, kind: str, html: bool) -> None:
    """Whatever people write into reasons and names, our own comment commands nothing and pings nobody."""
    body = told(
        told("", event(kind, 5, reason), html=html, by=by), event("refused", 0, by, NOW + 1), html=html, by=reason
    )
    assert parse(body) == ()
    assert "@all" not in body
    assert body.count("<details>") == (1 if html else 0)
    assert len(history.split(body)[1]) == 2


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=400), st.integers(0, 2000), st.booleans())
def test_any_text_in_the_comment_can_be_read_and_added_to(before: str, limit: int, html: bool) -> None:
    assert len(told(before, event("promoted", 0), limit=limit, html=html)) <= limit
