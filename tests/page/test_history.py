"""What a page remembers: bounded, gone on with by the next run, and nothing of another rollout."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from pipeline_step.gates.http_check import Settings as HttpSettings
from pipeline_step.gates.prometheus import Settings as Prometheus
from pipeline_step.gates.scrape import Settings as Scrape
from pipeline_step.model import Counts, Hold, Measurement, Outcome, Phase
from pipeline_step.page import history as histories
from pipeline_step.page.history import MOST_EVENTS, MOST_SAMPLES, History, Sample, Told, decoded, encoded, spread
from pipeline_step.page.sampling import limits, sampled
from pipeline_step.page.telling import continued, gone_on, looked, recorded, told, untold
from pipeline_step.run import Event, Look
from pipeline_step.simulate.traffic import Kind, Scenario

from .histories import BEGAN, Played, bad, configured, good, inconclusive, paused, promoted

GATES = {
    "scrape": ("scrape", Scrape(min_success=98)),
    "slow": ("prometheus", Prometheus(query="q", url="http://p", max=2)),
}


def bare(**fields: object) -> History:
    return History(app="shop", stable="shop.production", preview="shop.pr-7", **fields)


def test_long_series_are_thinned_and_keep_both_ends() -> None:
    history = bare()
    for second in range(5000):
        history = histories.with_sample(history, Sample(at=float(second), weight=1))
    times = [sample.at for sample in history.samples]
    assert len(times) <= MOST_SAMPLES
    assert (times[0], times[-1]) == (0.0, 4999.0)
    assert times == sorted(times)
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert max(gaps) <= 5000 / MOST_SAMPLES * 4, "no part of it is lost"
    assert spread(range(100), 5) == [0, 25, 50, 74, 99]


def test_of_many_events_the_first_and_the_newest_stay() -> None:
    history = bare()
    for number in range(MOST_EVENTS + 30):
        history = histories.with_event(history, Told(float(number), "shifted", 1, ""))
    assert len(history.events) == MOST_EVENTS
    assert (history.events[0].at, history.events[-1].at) == (0.0, MOST_EVENTS + 29.0)
    assert history.left_out == 30


def test_a_history_survives_its_own_page_and_others_do_not() -> None:
    history = good()
    assert decoded(encoded(history)) == history
    assert "<" not in encoded(bare(reason="</script><script>alert(1)</script>"))
    for other in ("", "{}", "[1]", encoded(bare(version=2)), "{not json"):
        assert decoded(other) is None


@pytest.mark.parametrize(
    ("made", "standing"),
    [(good, "good"), (bad, "reverted"), (paused, "paused"), (inconclusive, "inconclusive"), (promoted, "promoted")],
)
def test_how_it_stands(made: object, standing: str) -> None:
    assert made().standing == standing


def test_standings_in_between() -> None:
    begun = Played(Scenario(rps=120), configured())
    assert begun.history.standing == "running", "no gate has said anything yet"
    begun.look()
    assert begun.history.standing == "unproven yet"
    broken = Played(Scenario(rps=300, kind=Kind.LATE, rate=0.03, after=100), configured(), seed=5)
    seen = set()
    while broken.look():
        seen.add(broken.history.standing)
    assert "suspicious" in seen, "raised no further before it is reverted"


def test_a_look_tells_what_comes_and_when() -> None:
    history = good()
    assert (history.then, history.weight, history.step) == ("promotion", 25, 2)
    assert history.due == BEGAN + 360
    assert history.deadline == BEGAN + 1200
    assert history.if_due == "promotion"
    assert history.ahead and history.ahead.weight == 100
    assert 100 < history.ahead.requests < 140
    assert history.ahead.failing < history.ahead.failing_most
    assert paused().deadline == paused().due == 0.0, "neither counts while it is paused"
    assert [event.kind for event in paused().events] == ["shifted", "shifted", "paused"]


def test_a_bad_one_says_what_the_next_step_would_have_done() -> None:
    history = bad()
    assert history.if_due == "all requests go back to production"
    assert history.ahead and history.ahead.weight == 25
    assert history.ahead.failing > 0.1
    assert history.weight == 0
    assert history.samples[-1].weighed[0].against >= history.samples[-1].weighed[0].needed_against


def test_counting_gates_and_values_have_their_bounds_and_limits() -> None:
    scraped = Measurement(
        gate="scrape",
        outcome=Outcome.PASS,
        reason="",
        value=99.5,
        preview=Counts(total=200, bad=1),
        stable=Counts(total=800, bad=2),
    )
    asked = Measurement(gate="slow", outcome=Outcome.PASS, reason="", value=1.25)
    sample = sampled(5.0, 20, [scraped, asked], GATES, {})
    assert sample.counted == 20.0
    compared = sample.compared[0]
    assert compared.preview.low < 1 / 200 < compared.preview.high
    assert compared.stable.high < compared.preview.high, "more requests, a narrower band"
    assert [(one.gate, one.value, one.low, one.high) for one in sample.measured] == [
        ("scrape", 99.5, 98, None),
        ("slow", 1.25, None, 2.0),
    ]
    assert limits("http", HttpSettings(url="http://x", within="500ms")) == (None, 0.5)


def test_a_later_run_goes_on_with_the_page_of_an_earlier_one() -> None:
    earlier = Played(Scenario(rps=120), configured()).until(lambda one: one.now >= BEGAN + 60)
    page = decoded(encoded(earlier.history))
    fresh = untold(configured())
    went_on = continued(fresh, page)
    assert went_on.samples == earlier.history.samples
    assert continued(fresh, None) == fresh
    assert continued(fresh, bad()) == fresh, "what is over begins anew"
    assert continued(replace_app(fresh), page).samples == (), "another app's page is not ours"

    resumed = told(went_on, Event(kind="resumed", weight=1, reason="again", at=earlier.now + 1), configured().gates)
    look = Look(
        rollout=earlier.rollout, measurements=[], decision=Hold("holds"), policy=earlier.policy, at=earlier.now + 2
    )
    after = looked(resumed, look, configured().gates)
    assert after.samples[0] == earlier.history.samples[0]
    another = replace(earlier.rollout, began=earlier.now + 1, since=earlier.now + 1)
    anew = looked(resumed, replace(look, rollout=another), configured().gates)
    assert len(anew.samples) == 1, "it is another rollout, of which nothing was known"
    assert [event.kind for event in anew.events] == ["resumed"]


def replace_app(history: History) -> History:
    return History(app="other", stable=history.stable, preview=history.preview)


def test_only_what_is_new_is_told_again() -> None:
    config = configured()
    events = [Event(kind="shifted", weight=1, reason="", at=10.0), Event(kind="shifted", weight=5, reason="", at=20.0)]
    once = gone_on(untold(config), events[:1], [], config.gates)
    twice = gone_on(once, events, [], config.gates)
    assert [event.weight for event in twice.events] == [1, 5]


def test_an_end_that_is_begun_again_forgets_the_one_before() -> None:
    history = bad()
    again = told(history, Event(kind="shifted", weight=1, reason="", at=history.updated + 60), configured().gates)
    assert (len(again.events), again.samples, again.ahead) == (1, (), None)
    assert not again.over


def test_the_record_alone_tells_what_judges_keep_in_it() -> None:
    played = Played(Scenario(rps=120), configured()).until(lambda one: one.now >= BEGAN + 60)
    config = configured()
    history = recorded(untold(config), played.rollout, config.policy, config.gates, played.now)
    assert history.weight == 1
    assert history.then == "5 %"
    assert history.due == BEGAN + 120
    assert history.samples[0].compared == played.history.samples[-1].compared
    assert [says.gate for says in history.gates] == ["compare"]
    idle = replace(played.rollout, phase=Phase.PAUSED, paused_at=played.now, reason="lunch", counters={})
    history = recorded(history, idle, config.policy, config.gates, played.now + 5)
    assert (history.standing, history.gates, history.reason) == ("paused", (), "lunch")
    assert history.events[-1].kind == "paused"
