"""Decisions: a table of what is known, and the move that follows."""

from __future__ import annotations

import dataclasses

import pytest

from pipeline_step.decide import advanced, crowded, next_move, resume
from pipeline_step.model import (
    Advance,
    Backend,
    Hold,
    Measurement,
    OnMissing,
    Outcome,
    Phase,
    Policy,
    Promote,
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
        ([], 60, Advance(1, "1 % held for 60 s")),
        ([Outcome.PASS], 60, Advance(1, "1 % held for 60 s")),
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
    at = advanced(POLICY, rollout(counters={"scrape": {"a": 1}}), 2, 2000)
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
    at = advanced(POLICY, idle, 1, 2000)
    assert (at.paused, at.deadline) == (0.0, BEGAN + 700)


def test_a_skipped_bake_still_asks_the_gates() -> None:
    skipped = rollout(skip=True)
    assert isinstance(next_move(POLICY, skipped, [saw(Outcome.PASS)], BEGAN), Advance)
    assert isinstance(next_move(POLICY, skipped, [saw(Outcome.NO_DATA)], BEGAN), Hold)
    assert advanced(POLICY, skipped, 1, 2000).skip is False
