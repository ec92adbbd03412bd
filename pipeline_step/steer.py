"""What people do to a rollout that runs elsewhere: pause, resume, skip a bake, freeze the target.

Each is one guarded write of the record; the run sees it at its next look.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline_step import freezes
from pipeline_step.errors import Refused
from pipeline_step.freezes import MANUAL, Manual
from pipeline_step.model import Object, Phase, Rollout
from pipeline_step.record import Rollouts
from pipeline_step.route import change, each, edit
from pipeline_step.run import Event, Result, Run

if TYPE_CHECKING:
    from pipeline_step.cluster import Cluster


def pause(run: Run, reason: str) -> Result:
    """Hold the weight where it is; the paused time counts neither for the bake nor for the deadline."""
    now = run.clock.time()

    def paused(rollout: Rollout) -> Rollout:
        if rollout.phase is Phase.PAUSED:
            return rollout
        if rollout.phase is not Phase.BAKING:
            raise Refused(f"the rollout of {run.preview} is {rollout.phase.value}, which can't be paused")
        return dataclasses.replace(rollout, phase=Phase.PAUSED, paused_at=now, reason=reason)

    return _steer(run, "paused", reason, paused)


def resume(run: Run) -> Result:
    """Let a paused rollout go on."""
    now = run.clock.time()

    def resumed(rollout: Rollout) -> Rollout:
        if rollout.phase is not Phase.PAUSED:
            raise Refused(f"the rollout of {run.preview} is {rollout.phase.value}, not paused")
        idle = rollout.paused + now - rollout.paused_at
        return dataclasses.replace(rollout, phase=Phase.BAKING, paused=idle, paused_at=0.0, reason="")

    return _steer(run, "resumed", f"asked for by {run.config.pull.by}", resumed)


def skip(run: Run) -> Result:
    """End the bake of this step; the gates still have to pass."""

    def skipped(rollout: Rollout) -> Rollout:
        if rollout.phase is not Phase.BAKING:
            raise Refused(f"the rollout of {run.preview} is {rollout.phase.value}: there is no bake to skip")
        return dataclasses.replace(rollout, skip=True)

    return _steer(run, "skipped", f"asked for by {run.config.pull.by}", skipped)


def freeze(run: Run, reason: str) -> Result:
    """Hold back every increase and promotion on the target, in all clusters, until it is lifted."""
    manual = Manual(reason=reason, by=run.config.pull.by, since=run.clock.time())
    each(run.clusters, lambda cluster: _set_freeze(run, cluster, manual))
    _tell(run, "frozen", reason)
    return Result(outcome="frozen", reason=f"{run.target.stable} is frozen: {reason}")


def unfreeze(run: Run) -> Result:
    """Lift the freeze that a person set."""
    each(run.clusters, lambda cluster: _set_freeze(run, cluster, None))
    _tell(run, "unfrozen", f"asked for by {run.config.pull.by}")
    return Result(outcome="unfrozen", reason=f"{run.target.stable} may be rolled out again")


def _tell(run: Run, kind: str, reason: str) -> None:
    """Where a pull request is known: the freeze is production's, and may be set without any."""
    if run.config.pull.number:
        run.tell(Event(kind=kind, weight=0, reason=reason))


def _steer(run: Run, kind: str, reason: str, move: Callable[[Rollout], Rollout]) -> Result:
    moved: list[Rollout] = []

    def updated(rollouts: Rollouts) -> Rollouts:
        if run.key not in rollouts:
            raise Refused(f"nothing is being rolled out from {run.preview}")
        moved.append(move(rollouts[run.key]))
        return {**rollouts, run.key: moved[-1]}

    change(run.target, run.clusters, updated)
    rollout = moved[-1]
    run.tell(Event(kind=kind, weight=rollout.weight, reason=reason, sha=rollout.sha))
    return Result(outcome=kind, reason=reason, weight=rollout.weight, sha=rollout.sha, digest=rollout.digest)


def _set_freeze(run: Run, cluster: Cluster, manual: Manual | None) -> None:
    def amended(routed: Object) -> Object:
        standing = {name: one for name, one in freezes.read(routed).items() if name != MANUAL}
        return freezes.write(routed, {**standing, MANUAL: manual} if manual else standing)

    edit(run.target, cluster, amended)
