"""Pure: what comes next in a rollout, in words and in times, for the terminal and for the progress page."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import assert_never

from pipeline_step.decide import next_move
from pipeline_step.model import (
    Advance,
    Decision,
    Hold,
    Measurement,
    Phase,
    Policy,
    Promote,
    Revert,
    Rollout,
    Seconds,
    Step,
    Stop,
)

COMING = {
    "promoting": "production rolls out the preview's image; then all requests go to it",
    "undoing": "production rolls back to its previous image; then all requests go to it",
}
"""What follows an event by itself, by the event's kind."""


def follows(policy: Policy, rollout: Rollout, measurements: Sequence[Measurement], decision: Decision) -> str:
    """What the decision means for people."""
    match decision:
        case Hold(reason):
            return f"{waits(measurements, reason)}; then {after(policy, rollout)}"
        case Advance(weight=weight):
            return f"{weight} %"
        case Promote():
            return "promotion: production gets the preview's image"
        case Stop(reason):
            return f"held at {rollout.weight} %: {reason}"
        case Revert(reason):
            return f"all requests go back to production: {reason}"
        case _:
            assert_never(decision)


def waits(measurements: Sequence[Measurement], reason: str) -> str:
    """Why it stays where it is, without what a gate says at length."""
    waited = next((m.gate for m in measurements if m.reason == reason), "")
    return f"it waits for a verdict of {waited}" if waited else reason


def after(policy: Policy, rollout: Rollout) -> str:
    """What this step leads to, in a few words."""
    if weight := next_weight(policy, rollout):
        return f"{weight} %"
    last = "promotion" if policy.promote else "it is held there"
    return f"up to {policy.ramp.max_weight} % as the evidence allows, {last}" if policy.ramp else last


def next_weight(policy: Policy, rollout: Rollout) -> int:
    """The percentage of the next step; 0 where there is none, or where a ramp will choose it."""
    later = rollout.step + 1
    return policy.steps[later].weight if policy.ramp is None and later < len(policy.steps) else 0


def followed(policy: Policy, rollout: Rollout) -> Policy:
    """The policy that a record goes by, as far as it shows: a weight that is not its step's was given by `shift`."""
    steps = policy.steps
    if policy.ramp or (rollout.step < len(steps) and steps[rollout.step].weight == rollout.weight):
        return policy
    return dataclasses.replace(policy, steps=(Step(weight=rollout.weight, bake=Seconds(0.0)),), promote=False)


def due(policy: Policy, rollout: Rollout) -> float | None:
    """When the step's bake is over, in seconds since 1970; None where nothing bakes or it does not count down."""
    if policy.ramp or rollout.phase is not Phase.BAKING or rollout.skip:
        return None
    return rollout.since + rollout.paused + policy.steps[min(rollout.step, len(policy.steps) - 1)].bake


def deadline(rollout: Rollout) -> float | None:
    """When the rollout has to have ended, likewise; None while it is paused, which moves it."""
    if rollout.phase is Phase.PAUSED or not rollout.deadline:
        return None
    return rollout.deadline + rollout.paused


def if_due(policy: Policy, rollout: Rollout, measurements: Sequence[Measurement], now: float) -> Decision:
    """What would follow if the bake were over now, and nothing were paused."""
    idle = now - rollout.paused_at if rollout.phase is Phase.PAUSED else 0.0
    baked = dataclasses.replace(rollout, phase=Phase.BAKING, paused=rollout.paused + idle, paused_at=0.0, skip=True)
    return next_move(policy, baked, measurements, now)


def clock(seconds: float) -> str:
    """A length of time as a clock shows it: 0:42, 12:05, 1:02:03."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
