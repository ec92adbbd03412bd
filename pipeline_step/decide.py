"""Pure: what to do next, from the record, the measurements and the time."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import assert_never

from pipeline_step.model import (
    Advance,
    Decision,
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
    Stop,
)
from pipeline_step.ramp import next_weight


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

    if now >= rollout.deadline + rollout.paused:
        return _inconclusive(policy, rollout, measurements)
    if policy.ramp:
        return _ramped(policy, policy.ramp, rollout, measurements, now)
    if open_gates := [m for m in measurements if _holds(policy, m) and not _unasked(rollout, m)]:
        return Hold(open_gates[0].reason)

    step = policy.steps[rollout.step]
    left = rollout.since + rollout.paused + step.bake - now
    if left > 0 and not rollout.skip:
        return Hold(f"{rollout.weight} % holds, {left:.0f} s of its bake left")
    held = f"held for {step.bake:.0f} s"
    if rollout.step + 1 < len(policy.steps):
        return Advance(rollout.step + 1, policy.steps[rollout.step + 1].weight, f"{rollout.weight} % {held}")
    if policy.promote and (undecided := [m for m in measurements if m.outcome is Outcome.UNDECIDED]):
        return Hold(undecided[0].reason)
    return _finish(policy, rollout, now, f"{rollout.weight} %, the last step, {held}")


def _finish(policy: Policy, rollout: Rollout, now: float, why: str) -> Hold | Promote | Stop:
    """The end of a rollout that has proven all it had to: promoted once it has soaked, where anything promotes."""
    left = rollout.began + policy.soak - now
    if left > 0 and not rollout.skip:
        return Hold(f"{why}; {left:.0f} s of the soak left")
    return Promote(why) if policy.promote else Stop(f"{why}; nothing promotes by itself")


def _ramped(
    policy: Policy, ramp: Ramp, rollout: Rollout, measurements: Sequence[Measurement], now: float
) -> Advance | Hold | Promote | Stop:
    """By harm budget: finish once proven, else the weight that the evidence allows, never sooner than at the next poll.

    A lower weight does not wait for gates that hold. Changes of less than a fifth are not worth a write.
    """
    open_gates = [m for m in measurements if _holds(policy, m)]
    unproven = [m for m in measurements if m.outcome is not Outcome.PASS]
    if not open_gates and all(policy.missing.get(m.outcome) is OnMissing.PASS for m in unproven):
        return _finish(policy, rollout, now, f"proven at {rollout.weight} %")
    judged = next((m.judged for m in measurements if m.judged), None)
    if judged and now >= rollout.since + ramp.poll:
        wanted = _allowed(ramp, rollout.weight, judged)
        bound = f"at most {100 * judged.upper:.2g} % of the preview's requests fail"
        if wanted <= 0.8 * rollout.weight:
            return Advance(rollout.step + 1, wanted, f"{bound}, too many for {rollout.weight} %")
        raised = wanted >= 1.2 * rollout.weight or rollout.weight < wanted == ramp.max_weight
        if raised and not open_gates:
            return Advance(rollout.step + 1, wanted, bound)
    return Hold((open_gates or unproven)[0].reason)


def _allowed(ramp: Ramp, current: int, judged: Judged) -> int:
    weight = next_weight(
        current,
        upper=judged.upper,
        suspicious=judged.suspicious,
        requests_per_second=judged.rate,
        delay=ramp.poll + judged.staleness,
        harm_budget=ramp.harm_budget,
        max_weight=ramp.max_weight,
    )
    return round(weight)


def first_weight(policy: Policy, rate: float | None, staleness: float) -> int:
    """The percentage to begin with; a ramp wants the requests a second, and where they are unknown begins at 1 %."""
    if policy.ramp is None:
        return policy.steps[0].weight
    if rate is None:
        return 1
    unseen = Judged(upper=1.0, suspicious=False, slo_proven=False, rate=rate, staleness=Seconds(staleness))
    return _allowed(policy.ramp, 0, unseen)


def _inconclusive(policy: Policy, rollout: Rollout, measurements: Sequence[Measurement]) -> Promote | Stop | Revert:
    """At the deadline: what the strategy wants without a verdict."""
    without_verdict = [m for m in measurements if m.outcome is not Outcome.PASS]
    why = f": {without_verdict[0].reason}" if without_verdict else ""
    reason = f"the deadline passed at {rollout.weight} %{why}"
    match policy.on_inconclusive:
        case OnInconclusive.REVERT:
            return Revert(reason, inconclusive=True)
        case OnInconclusive.HOLD:
            return Stop(reason, inconclusive=True)
        case OnInconclusive.PROMOTE_IF_SLO:
            if not _slo_proven(measurements):
                return Revert(reason, inconclusive=True)
            proven = f"every SLO is proven; {reason}"
            return Promote(proven) if policy.promote else Stop(f"{proven}; nothing promotes by itself")
        case _:
            assert_never(policy.on_inconclusive)


def _slo_proven(measurements: Sequence[Measurement]) -> bool:
    """Whether a judge is only short of its comparison with stable, and every other gate passes."""
    open_judges = [m for m in measurements if m.outcome is not Outcome.PASS]
    return all(
        m.outcome is Outcome.UNDECIDED and m.judged is not None and m.judged.slo_proven and not m.judged.suspicious
        for m in open_judges
    ) and any(m.judged is not None and m.judged.slo_proven for m in measurements)


def _is_revert(policy: Policy, measurement: Measurement) -> bool:
    return policy.missing.get(measurement.outcome) is OnMissing.REVERT


def _holds(policy: Policy, measurement: Measurement) -> bool:
    return measurement.outcome is Outcome.WAITING or policy.missing.get(measurement.outcome) is OnMissing.HOLD


def _unasked(rollout: Rollout, measurement: Measurement) -> bool:
    """Whether the gate only lacks the requests that a preview without a weight can't have."""
    return rollout.weight == 0 and measurement.outcome in (Outcome.NO_DATA, Outcome.TOO_LITTLE)


def resume(policy: Policy, rollout: Rollout, now: float) -> Rollout:
    """Where a run goes on with what an earlier one left: at the same step, or from a held weight at the next.

    A weight that the strategy does not know (a person shifted to it) counts as the step before the next higher one.
    """
    if policy.ramp:
        if rollout.phase is Phase.HELD:
            return dataclasses.replace(rollout, phase=Phase.BAKING, since=now, deadline=now + policy.deadline)
        return rollout
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


def advanced(rollout: Rollout, step: int, weight: int, now: float) -> Rollout:
    """The record at another step: its weight, from now. What was paused has moved the deadline."""
    return dataclasses.replace(
        rollout,
        step=step,
        weight=weight,
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
