"""Pure: what to do next, from the record, the measurements and the time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from pipeline_step.model import (
    Advance,
    Decision,
    Hold,
    Measurement,
    OnMissing,
    Outcome,
    Phase,
    Policy,
    Promote,
    Revert,
    Rollout,
    Stop,
)


def next_move(policy: Policy, rollout: Rollout, measurements: Sequence[Measurement], now: float) -> Decision:
    """The next move of a rollout that has a weight.

    A failing gate comes before everything, then the deadline, then a gate without a verdict, then the bake. While
    it is paused nothing but the failing gate counts, and the paused time is not part of the deadline.
    """
    for measurement in measurements:
        if measurement.outcome is Outcome.FAIL or _is_revert(policy, measurement):
            return Revert(measurement.reason)
    if rollout.phase is Phase.PAUSED:
        return Hold(rollout.reason or "paused")

    open_gates = [m for m in measurements if _holds(policy, m)]
    if now >= rollout.deadline + rollout.paused:
        without_verdict = [m for m in measurements if m.outcome is not Outcome.PASS]
        why = f": {without_verdict[0].reason}" if without_verdict else ""
        return Revert(f"the deadline passed at {rollout.weight} %{why}", inconclusive=True)
    if open_gates:
        return Hold(open_gates[0].reason)

    step = policy.steps[rollout.step]
    left = rollout.since + rollout.paused + step.bake - now
    if left > 0 and not rollout.skip:
        return Hold(f"{rollout.weight} % holds, {left:.0f} s of its bake left")
    if rollout.step + 1 < len(policy.steps):
        return Advance(rollout.step + 1, f"{rollout.weight} % held for {step.bake:.0f} s")
    if policy.promote and (undecided := [m for m in measurements if m.outcome is Outcome.UNDECIDED]):
        return Hold(undecided[0].reason)
    if policy.promote:
        return Promote(f"{rollout.weight} %, the last step, held for {step.bake:.0f} s")
    return Stop(f"{rollout.weight} %, the last step, held for {step.bake:.0f} s; nothing promotes by itself")


def _is_revert(policy: Policy, measurement: Measurement) -> bool:
    return policy.missing.get(measurement.outcome) is OnMissing.REVERT


def _holds(policy: Policy, measurement: Measurement) -> bool:
    return measurement.outcome is Outcome.WAITING or policy.missing.get(measurement.outcome) is OnMissing.HOLD


def resume(policy: Policy, rollout: Rollout, now: float) -> Rollout:
    """Where a run goes on with what an earlier one left: at the same step, or from a held weight at the next.

    A weight that the strategy does not know (a person shifted to it) counts as the step before the next higher one.
    """
    if rollout.phase is Phase.HELD:
        higher = [index for index, step in enumerate(policy.steps) if step.weight > rollout.weight]
        index = higher[0] if higher else len(policy.steps) - 1
        return dataclasses.replace(
            rollout,
            phase=Phase.BAKING,
            step=index,
            weight=max(rollout.weight, policy.steps[index].weight),
            since=now,
            deadline=now + policy.deadline,
        )
    at_least = [index for index, step in enumerate(policy.steps) if step.weight >= rollout.weight]
    return dataclasses.replace(rollout, step=at_least[0] if at_least else len(policy.steps) - 1)


def advanced(policy: Policy, rollout: Rollout, step: int, now: float) -> Rollout:
    """The record at another step: its weight, from now. What was paused has moved the deadline."""
    return dataclasses.replace(
        rollout,
        step=step,
        weight=policy.steps[step].weight,
        since=now,
        deadline=rollout.deadline + rollout.paused,
        paused=0.0,
        skip=False,
    )


def crowded(preview: str, weight: int, rollouts: Mapping[str, Rollout], budget: int | None) -> str:
    """Why this preview can't have this weight beside the others of the route, in words; "" where it can."""
    others = [rollout for key, rollout in rollouts.items() if key != preview]
    if not others:
        return ""
    holders = ", ".join(f"{other.preview} (run {other.run} by {other.by}, {other.weight} %)" for other in others)
    if budget is None:
        return f"the target is held by {holders}; wait for it, revert it, or let previews share with strategy.budget"
    if alone := [str(other.preview) for other in others if not other.shares]:
        return f"the target is held by {', '.join(alone)}, whose strategy shares it with nobody"
    taken = sum(other.weight for other in others)
    if taken + weight > budget:
        return f"{weight} % would pass the budget of {budget} %: {taken} % are held by {holders}"
    return ""
