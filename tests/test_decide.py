"""Decisions: a table of what is known, and the move that follows."""

from __future__ import annotations

import dataclasses

import pytest

from pipeline_step.decide import advanced, crowded, first_weight, next_move, resume
from pipeline_step.model import (
    Advance,
    Backend,
    Hold,
    Judged,
    Measurement,
    OnInconclusive,
    OnMissing,
    Outcome,
    Phase,
    Policy,
    Promote,
    Ramp,
    Revert,
    Rollout,
    Seconds,
    Step,
    Stop,
)

HOLD_ALL = dict.fromkeys((Outcome.NO_DATA, Outcome.TOO_LITTLE, Outcome.UNREACHABLE), OnMissing.HOLD)
POLICY = Policy(
    steps=tuple(Step(weight=weight, bake=Seconds(60)) for weight in (1, 5, 25)),
    deadline=Seconds(600),
    promote=True,
    missing=HOLD_ALL,
)
BEGAN = 1000.0


def rollout(**changes: object) -> Rollout:
    start = Rollout(
        preview=Backend(service="shop", namespace="pr-35"),
        run="r1",
        by="ada",
        weight=1,
        began=BEGAN,
        since=BEGAN,
        deadline=BEGAN + 600,
    )
    return dataclasses.replace(start, **changes)


def saw(outcome: Outcome) -> Measurement:
    return Measurement(gate="scrape", outcome=outcome, reason=f"it was {outcome.value}")


@pytest.mark.parametrize(
    ("outcomes", "after", "move"),
    [
        ([], 59, Hold("1 % holds, 1 s of its bake left")),
        ([], 60, Advance(1, 5, "1 % held for 60 s")),
        ([Outcome.PASS], 60, Advance(1, 5, "1 % held for 60 s")),
        ([Outcome.PASS, Outcome.FAIL], 1, Revert("it was fail")),
        ([Outcome.FAIL], 9999, Revert("it was fail")),
        ([Outcome.NO_DATA], 300, Hold("it was no_data")),
        ([Outcome.TOO_LITTLE], 300, Hold("it was too_little")),
        ([Outcome.UNREACHABLE], 300, Hold("it was unreachable")),
        ([Outcome.WAITING], 300, Hold("it was waiting")),
        ([Outcome.NO_DATA], 600, Revert("the deadline passed at 1 %: it was no_data", inconclusive=True)),
        ([Outcome.PASS], 600, Revert("the deadline passed at 1 %", inconclusive=True)),
    ],
)
def test_the_first_step(outcomes: list[Outcome], after: float, move: object) -> None:
    assert next_move(POLICY, rollout(), [saw(outcome) for outcome in outcomes], BEGAN + after) == move


def test_the_last_step_promotes_or_stops() -> None:
    last = rollout(step=2, weight=25)
    assert isinstance(next_move(POLICY, last, [], BEGAN + 60), Promote)
    assert isinstance(next_move(dataclasses.replace(POLICY, promote=False), last, [], BEGAN + 60), Stop)


@pytest.mark.parametrize("outcome", HOLD_ALL)
def test_missing_verdicts_follow_their_own_policy(outcome: Outcome) -> None:
    for choice, kind in ((OnMissing.HOLD, Hold), (OnMissing.REVERT, Revert), (OnMissing.PASS, Advance)):
        policy = dataclasses.replace(POLICY, missing={**HOLD_ALL, outcome: choice})
        assert isinstance(next_move(policy, rollout(), [saw(outcome)], BEGAN + 60), kind)


def test_a_paused_rollout_holds_past_its_deadline_but_not_past_a_failing_gate() -> None:
    paused = rollout(phase=Phase.PAUSED, reason="lunch")
    assert next_move(POLICY, paused, [saw(Outcome.PASS)], BEGAN + 9999) == Hold("lunch")
    assert next_move(POLICY, paused, [saw(Outcome.FAIL)], BEGAN) == Revert("it was fail")


@pytest.mark.parametrize(
    ("weight", "step", "resumed"), [(1, 0, (0, 1)), (5, 1, (1, 5)), (3, 0, (1, 3)), (25, 0, (2, 25)), (60, 0, (2, 60))]
)
def test_a_dead_runs_step_is_found_by_its_weight(weight: int, step: int, resumed: tuple[int, int]) -> None:
    again = resume(POLICY, rollout(weight=weight, step=step), BEGAN + 30)
    assert (again.step, again.weight) == resumed
    assert (again.since, again.deadline) == (BEGAN, BEGAN + 600), "its bake and deadline go on"


@pytest.mark.parametrize(("held", "resumed"), [(1, (1, 5)), (5, (2, 25)), (10, (2, 25)), (25, (2, 25)), (60, (2, 60))])
def test_a_held_weight_goes_on_at_the_next_step(held: int, resumed: tuple[int, int]) -> None:
    again = resume(POLICY, rollout(phase=Phase.HELD, weight=held), 5000)
    assert (again.step, again.weight) == resumed
    assert (again.phase, again.since, again.deadline) == (Phase.BAKING, 5000, 5600)


def test_a_judge_without_a_verdict_lets_the_weight_rise_and_not_promote() -> None:
    undecided = [saw(Outcome.UNDECIDED)]
    assert isinstance(next_move(POLICY, rollout(), undecided, BEGAN + 60), Advance)
    last = rollout(step=2, weight=25)
    assert next_move(POLICY, last, undecided, BEGAN + 60) == Hold("it was undecided")
    late = next_move(POLICY, last, undecided, BEGAN + 600)
    assert late == Revert("the deadline passed at 25 %: it was undecided", inconclusive=True)
    assert isinstance(next_move(dataclasses.replace(POLICY, promote=False), last, undecided, BEGAN + 60), Stop)


def test_advancing_starts_the_bake_anew_and_keeps_what_was_counted() -> None:
    at = advanced(rollout(counters={"scrape": {"a": 1}}), 2, 25, 2000)
    assert (at.step, at.weight, at.since, at.counters) == (2, 25, 2000, {"scrape": {"a": 1}})
    assert at.deadline == BEGAN + 600, "the deadline is that of the whole"


def test_who_may_share_a_target() -> None:
    mine, other = rollout(), rollout(preview=Backend(service="shop", namespace="pr-36"), weight=20, run="r2")
    both = {str(mine.preview): mine, str(other.preview): other}
    key = str(mine.preview)
    assert crowded(key, 5, {key: mine}, None) == ""
    assert "held by shop.pr-36 (run r2 by ada, 20 %)" in crowded(key, 5, both, None)
    assert "shares it with nobody" in crowded(key, 5, both, 30)
    both[str(other.preview)] = dataclasses.replace(other, shares=True)
    assert crowded(key, 10, both, 30) == ""
    assert "11 % would pass the budget of 30 %: 20 % are held by shop.pr-36" in crowded(key, 11, both, 30)


def test_paused_time_does_not_count() -> None:
    idle = rollout(paused=100.0)
    assert next_move(POLICY, idle, [], BEGAN + 159) == Hold("1 % holds, 1 s of its bake left")
    assert isinstance(next_move(POLICY, idle, [], BEGAN + 160), Advance)
    assert isinstance(next_move(POLICY, idle, [], BEGAN + 699), Advance)
    assert isinstance(next_move(POLICY, idle, [], BEGAN + 700), Revert)
    at = advanced(idle, 1, 5, 2000)
    assert (at.paused, at.deadline) == (0.0, BEGAN + 700)


def test_a_skipped_bake_still_asks_the_gates() -> None:
    skipped = rollout(skip=True)
    assert isinstance(next_move(POLICY, skipped, [saw(Outcome.PASS)], BEGAN), Advance)
    assert isinstance(next_move(POLICY, skipped, [saw(Outcome.NO_DATA)], BEGAN), Hold)
    assert advanced(skipped, 1, 5, 2000).skip is False


AUTO = dataclasses.replace(
    POLICY, steps=(), ramp=Ramp(harm_budget=20, max_weight=50, poll=Seconds(5)), soak=Seconds(120)
)


def judge(outcome: Outcome = Outcome.UNDECIDED, **changes: object) -> Measurement:
    """A judge that has bounded the failures at 10 %, at 100 requests a second: 20 in 5 s is 40 %."""
    known = Judged(upper=0.1, suspicious=False, slo_proven=False, rate=100.0, staleness=Seconds(0))
    known = dataclasses.replace(known, **changes)
    return Measurement(gate="compare", outcome=outcome, reason=f"it was {outcome.value}", judged=known)


@pytest.mark.parametrize(
    ("weight", "after", "measurement", "expected"),
    [
        pytest.param(4, 5, judge(), 16, id="at most fourfold"),
        pytest.param(16, 5, judge(), 40, id="as the budget allows"),
        pytest.param(16, 5, judge(upper=0.01), 50, id="up to the largest weight"),
        pytest.param(48, 5, judge(upper=0.01), 50, id="the last small step is worth a write"),
        pytest.param(36, 5, judge(), None, id="a rise of a tenth is not"),
        pytest.param(4, 4.9, judge(), None, id="not before the next poll"),
        pytest.param(4, 5, judge(suspicious=True), None, id="not under suspicion"),
        pytest.param(4, 5, judge(Outcome.TOO_LITTLE), None, id="not while a gate holds"),
        pytest.param(4, 5, judge(Outcome.NO_DATA), None, id="not without data"),
        pytest.param(50, 5, judge(), 40, id="down when the bound rises"),
        pytest.param(50, 5, judge(Outcome.TOO_LITTLE, suspicious=True, upper=0.5), 8, id="down although a gate holds"),
        pytest.param(4, 5, judge(rate=1000.0), None, id="more requests, no more weight"),
        pytest.param(4, 5, judge(rate=200.0, staleness=Seconds(15)), 5, id="old counters count as delay"),
        pytest.param(4, 5, saw(Outcome.UNDECIDED), None, id="not without a judge"),
    ],
)
def test_the_ramp_follows_the_evidence(
    weight: int, after: float, measurement: Measurement, expected: int | None
) -> None:
    move = next_move(AUTO, rollout(step=3, weight=weight), [measurement], BEGAN + after)
    if expected is None:
        assert move == Hold(measurement.reason)
    else:
        assert isinstance(move, Advance)
        assert (move.step, move.weight) == (4, expected)
        assert "% of the preview's requests fail" in move.reason


def test_the_ramp_ends_once_proven_and_soaked() -> None:
    proven = [judge(Outcome.PASS), saw(Outcome.PASS)]
    at = rollout(weight=16)
    assert next_move(AUTO, at, proven, BEGAN + 119) == Hold("proven at 16 %; 1 s of the soak left")
    assert next_move(AUTO, at, proven, BEGAN + 120) == Promote("proven at 16 %")
    assert next_move(AUTO, dataclasses.replace(at, skip=True), proven, BEGAN + 5) == Promote("proven at 16 %")
    stays = dataclasses.replace(AUTO, promote=False)
    assert next_move(stays, at, proven, BEGAN + 120) == Stop("proven at 16 %; nothing promotes by itself")
    assert next_move(AUTO, at, [judge(Outcome.PASS), saw(Outcome.WAITING)], BEGAN + 120) == Hold("it was waiting")
    assert next_move(AUTO, at, [judge(Outcome.PASS), saw(Outcome.FAIL)], BEGAN + 120) == Revert("it was fail")
    assert next_move(AUTO, at, proven, BEGAN + 600).inconclusive, "too late is too late"


def test_a_proof_that_may_be_missing_does_not_hold_the_ramp() -> None:
    policy = dataclasses.replace(AUTO, missing={**HOLD_ALL, Outcome.UNREACHABLE: OnMissing.PASS})
    both = [judge(Outcome.PASS), saw(Outcome.UNREACHABLE)]
    assert isinstance(next_move(policy, rollout(weight=16), both, BEGAN + 120), Promote)
    assert isinstance(next_move(AUTO, rollout(weight=16), both, BEGAN + 120), Hold)


def test_listed_steps_soak_too() -> None:
    policy = dataclasses.replace(POLICY, soak=Seconds(300))
    last = rollout(step=2, weight=25, since=BEGAN + 120)
    assert next_move(policy, last, [], BEGAN + 299) == Hold("25 %, the last step, held for 60 s; 1 s of the soak left")
    assert isinstance(next_move(policy, last, [], BEGAN + 300), Promote)


@pytest.mark.parametrize(
    ("rate", "staleness", "weight"),
    [(100.0, 0, 4), (100.0, 15, 1), (10.0, 0, 10), (0.0, 0, 10), (10_000.0, 0, 1), (None, 0, 1)],
)
def test_the_ramp_begins_with_what_the_budget_allows_at_worst(
    rate: float | None, staleness: float, weight: int
) -> None:
    assert first_weight(AUTO, rate, staleness) == weight
    assert first_weight(POLICY, rate, staleness) == 1, "a list begins with its first step"


@pytest.mark.parametrize(
    ("choice", "measurements", "kind"),
    [
        (OnInconclusive.REVERT, [judge(slo_proven=True)], Revert),
        (OnInconclusive.HOLD, [judge()], Stop),
        (OnInconclusive.HOLD, [judge(Outcome.FAIL)], Revert),
        (OnInconclusive.PROMOTE_IF_SLO, [judge(slo_proven=True)], Promote),
        (OnInconclusive.PROMOTE_IF_SLO, [judge(slo_proven=True), saw(Outcome.PASS)], Promote),
        (OnInconclusive.PROMOTE_IF_SLO, [judge()], Revert),
        (OnInconclusive.PROMOTE_IF_SLO, [judge(slo_proven=True, suspicious=True)], Revert),
        (OnInconclusive.PROMOTE_IF_SLO, [judge(Outcome.NO_DATA, slo_proven=True)], Revert),
        (OnInconclusive.PROMOTE_IF_SLO, [judge(slo_proven=True), saw(Outcome.UNREACHABLE)], Revert),
        (OnInconclusive.PROMOTE_IF_SLO, [saw(Outcome.PASS)], Revert),
    ],
)
@pytest.mark.parametrize("policy", [POLICY, AUTO], ids=["list", "auto"])
def test_the_deadline_without_a_verdict(
    policy: Policy, choice: OnInconclusive, measurements: list[Measurement], kind: type
) -> None:
    policy = dataclasses.replace(policy, on_inconclusive=choice)
    move = next_move(policy, rollout(weight=5), measurements, BEGAN + 600)
    assert isinstance(move, kind)
    if kind is Stop or (kind is Revert and measurements[0].outcome is not Outcome.FAIL):
        assert move.inconclusive
        assert move.reason.startswith("the deadline passed at 5 %")


def test_a_ramp_goes_on_where_it_was() -> None:
    assert resume(AUTO, rollout(weight=16, step=2), BEGAN + 30) == rollout(weight=16, step=2)
    again = resume(AUTO, rollout(phase=Phase.HELD, weight=16, step=2), 5000)
    assert (again.phase, again.step, again.weight) == (Phase.BAKING, 2, 16)
    assert (again.since, again.deadline) == (5000, 5600)


def test_a_ramp_may_come_to_every_percentage() -> None:
    assert AUTO.weights == tuple(range(1, 51))
    assert POLICY.weights == (1, 5, 25)
