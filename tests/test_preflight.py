"""What is said of the traffic before a rollout: how long a proof takes, and whether the deadline leaves time for it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from pipeline_step.gates import compare
from pipeline_step.model import OnMissing, Outcome, Policy, Ramp, Seconds, Step
from pipeline_step.preflight import Pace, outlook, proofs

POLICY = Policy(
    steps=tuple(Step(weight=weight, bake=Seconds(60)) for weight in (5, 50)),
    deadline=Seconds(600),
    promote=True,
    missing={Outcome.NO_DATA: OnMissing.HOLD},
)
AUTO = dataclasses.replace(POLICY, steps=(), ramp=Ramp(harm_budget=20, max_weight=40, poll=Seconds(5)))
QUIET = Pace(rate=12.0, stable={"errors": (100.0, 100_000.0)})


def gate(**settings: Any) -> compare.Settings:
    return msgspec.convert(settings, compare.Settings)


def test_the_proof_of_the_default_margin() -> None:
    """At 12 requests a second and 50 %, +0.5 pp takes about 2.8 min; at less weight longer."""
    slow, fast = proofs(gate(), QUIET, (5, 50))
    assert fast.seconds == fast.longest == pytest.approx(167, abs=2)
    assert slow.seconds > 4 * fast.seconds
    twice = proofs(gate(), dataclasses.replace(QUIET, rate=24.0), (50,))[0]
    assert twice.seconds == pytest.approx(fast.seconds / 2)


def test_pods_that_are_still_to_be_compared_may_take_three_times_as_long() -> None:
    (proof,) = proofs(gate(), dataclasses.replace(QUIET, processes=2), (50,))
    assert proof.longest == 3 * proof.seconds


def test_what_the_past_tells_of_the_pods_takes_the_place_of_the_assumption() -> None:
    (alone,) = proofs(gate(), QUIET, (50,))
    (proof,) = proofs(gate(), dataclasses.replace(QUIET, processes=2, overdispersion={"errors": 1.2}), (50,))
    assert proof.seconds == proof.longest == pytest.approx(1.2 * alone.seconds)


def test_the_hardest_metric_counts() -> None:
    seen = {"errors": (0.0, 100_000.0), "latency": (20_000.0, 100_000.0)}
    (proof,) = proofs(gate(latency={}), Pace(rate=100.0, stable=seen), (50,))
    (alone,) = proofs(gate(), Pace(rate=100.0, stable=seen), (50,))
    assert proof.hardest == "latency", "a fifth is slow, and 1 pp more is hard to tell"
    assert proof.seconds > 5 * alone.seconds


def test_an_slo_has_to_be_proven_too() -> None:
    """377 clean requests prove less than 1 %; a stable that misses it leaves no room."""
    clean = Pace(rate=10.0, stable={"errors": (0.0, 10_000_000.0)})
    (proof,) = proofs(gate(errors={"slo": "99%", "max_increase": "50pp"}), clean, (50,))
    assert proof.seconds == pytest.approx(-math.log(0.05) / -math.log(0.99) / 5.0, rel=0.01)
    (hopeless,) = proofs(gate(errors={"slo": "99.95%"}), QUIET, (50,))
    assert math.isinf(hopeless.seconds)


@pytest.mark.parametrize(
    ("policy", "found", "settings", "in_time", "words"),
    [
        (
            POLICY,
            QUIET,
            {},
            True,
            "12 requests a second, of which 0.1 % fail; to exclude 0.5pp more errors takes about 26 min at 5 %, "
            "2.8 min at 50 %",
        ),
        (
            dataclasses.replace(POLICY, deadline=Seconds(150)),
            QUIET,
            {},
            False,
            "2.8 min at 50 %: the deadline of 2.5 min, 60 s of which the steps before take, is too short for that",
        ),
        (
            dataclasses.replace(POLICY, deadline=Seconds(230)),
            dataclasses.replace(QUIET, processes=3),
            {},
            False,
            "60 s of which the steps before take, may be too short for that",
        ),
        (AUTO, QUIET, {}, True, "at 1 %, 26 min at 5 %, 13 min at 10 %, 5.3 min at 25 %, 3.4 min at 40 %"),
        (POLICY, Pace(rate=0.0, stable={}), {}, True, "while there are none, nothing can be proven"),
        (POLICY, QUIET, {"errors": {"slo": "99.95%"}}, False, "stable's own errors leave no room for the SLO"),
    ],
    ids=["in time", "too late", "perhaps too late", "a ramp", "no requests", "no room"],
)
def test_the_outlook(policy: Policy, found: Pace, settings: Mapping[str, Any], in_time: bool, words: str) -> None:
    said = outlook(gate(**settings), policy, found)
    assert words in said.text
    assert said.in_time is in_time
