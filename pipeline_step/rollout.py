"""The main flow, from top to bottom: begin, then observe, measure, decide and act until it is over.

What is recorded on the route is the only state: a run that dies leaves a step that the next run resumes. Taking
traffic back comes before everything else, on any error and on any signal.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, assert_never

from pipeline_step.begin import begin, freeze_in_force, moved_on
from pipeline_step.decide import advanced, next_move, resume
from pipeline_step.errors import ConfigError, Exit, HttpError, Interrupted, NotReady, Refused, StepError, Superseded
from pipeline_step.hold import HEARTBEAT, Beat, holding, record_on, rewrite
from pipeline_step.measure import measure
from pipeline_step.model import (
    Advance,
    Decision,
    Hold,
    Measurement,
    Phase,
    Promote,
    Revert,
    Rollout,
    Seconds,
    Step,
    Stop,
)
from pipeline_step.preflight import opening
from pipeline_step.preview import digest_of
from pipeline_step.promotion import already_running, bring_over, running
from pipeline_step.propagation import PAUSE, Watch, make_room, unsettled
from pipeline_step.revert import take_back
from pipeline_step.route import Seen, drifted, each, observe, plan
from pipeline_step.run import Event, Look, Result, Run
from pipeline_step.settings import seconds

REASSERTIONS = 5  # times that weights which someone else set are set again before giving up


def rollout(run: Run) -> Result:
    """The command: the whole strategy, resumed where an earlier run left it; nothing for what production runs."""

    def resumed(left: Rollout) -> Rollout:
        return resume(run.policy, left, run.clock.time())

    with holding(run) as beat:
        if image := already_running(run):
            reason = f"production runs {image} already"
            run.tell(Event(kind="unchanged", weight=0, reason=reason))
            return Result(outcome="unchanged", reason=reason, digest=digest_of(image), sha=run.config.pull.sha)
        return _guarded(run, resumed, opening(run), beat, lambda begun: _follow(run, begun, beat))


def shift(run: Run, weight: int) -> Result:
    """The command: one weight, watched by the gates for one bake, and held."""
    bake = Seconds(seconds(run.config.file.strategy.bake) if run.config.gates else 0.0)
    step = Step(weight=weight, bake=bake)
    policy = dataclasses.replace(run.policy, steps=(step,), ramp=None, soak=Seconds(0.0), promote=False)
    one_step = dataclasses.replace(run, policy=policy)

    def moved(left: Rollout) -> Rollout:
        now = run.clock.time()
        begun = advanced(left, 0, weight, now)
        return dataclasses.replace(begun, phase=Phase.BAKING, deadline=now + policy.deadline)

    with holding(one_step) as beat:
        return _guarded(one_step, moved, weight, beat, lambda begun: _follow(one_step, begun, beat))


def promote(run: Run) -> Result:
    """The command: finish now. What the preview runs at this moment becomes production."""
    with holding(run) as beat:
        return _guarded(run, lambda left: left, 0, beat, lambda begun: bring_over(run, begun, beat))


def _follow(run: Run, rollout: Rollout, beat: Beat) -> Result:
    """Until it is over: observe, measure, decide, act. What the gates have counted is recorded now and then."""
    counters = rollout.counters
    recorded = run.clock.time()
    reasserted = 0
    watch = Watch(recorded)
    while True:
        beat()
        rollout, seen = _observe(run)
        waiting = unsettled(run, seen)
        if any(drifted(run.target, one) for one in seen.values()):
            reasserted += 1
            if reasserted > REASSERTIONS:
                reason = f"something else sets the route's weights again and again ({REASSERTIONS} times)"
                return _end(run, rollout, Revert(reason), ())
            record_on(run, lambda recorded: recorded)
            watch.written(run.clock.time())
            run.tell(Event(kind="reasserted", weight=rollout.weight, reason="someone else had set other weights"))
        elif any(plan(run.target, one, one.rollouts) for one in seen.values()):
            record_on(run, lambda recorded: recorded)
        if rollout.phase is Phase.PROMOTING:
            return bring_over(run, rollout, beat)
        if changed := _changed(run, rollout):
            return _end(run, rollout, Revert(changed), ())
        watch.late(waiting, run.clock.time())

        measurements = measure(run, rollout, counters)
        counters = {m.gate: m.counters for m in measurements if m.counters}
        rollout = dataclasses.replace(rollout, counters=counters)
        move = next_move(run.policy, rollout, measurements, run.clock.time())
        if isinstance(move, Promote) or (isinstance(move, Advance) and move.weight > rollout.weight):
            freeze = next((why for one in seen.values() if (why := freeze_in_force(run, one))), "")
            move = Hold(freeze) if freeze else _still_reviewed(run, rollout, move)
        move = _postponed(run, rollout, move, seen, waiting.reason)
        run.show(Look(rollout=rollout, measurements=measurements, decision=move, policy=run.policy))
        match move:
            case Hold():
                if counters and run.clock.time() - recorded >= HEARTBEAT:
                    _keep(run, counters)
                    recorded = run.clock.time()
                run.clock.sleep(PAUSE if waiting.reason else seconds(run.config.file.strategy.poll))
            case Advance():
                _advance(run, move, measurements, seen)
                recorded = run.clock.time()
                watch.written(recorded)
            case Promote():
                return bring_over(run, rollout, beat)
            case Stop() | Revert():
                return _end(run, rollout, move, measurements)
            case _:
                assert_never(move)


def _advance(run: Run, move: Advance, measurements: Sequence[Measurement], seen: Mapping[str, Seen]) -> None:
    """The next weight, with what the gates have counted; not where someone paused it in this moment."""
    now = run.clock.time()
    counters = {m.gate: m.counters for m in measurements if m.counters}

    def up(recorded: Rollout) -> Rollout:
        if recorded.phase is Phase.PAUSED:
            return recorded
        return dataclasses.replace(advanced(recorded, move.step, move.weight, now), counters=counters)

    rollout, on = rewrite(run, up, seen)
    if rollout.phase is not Phase.PAUSED:
        said = Event(kind="shifted", weight=rollout.weight, reason=move.reason, measurements=measurements, on=on)
        run.tell(said)


def _postponed(run: Run, rollout: Rollout, move: Decision, seen: Mapping[str, Seen], waiting: str) -> Decision:
    """Nothing goes on before the data plane follows this step, nor up before there is room for the next."""
    if isinstance(move, Hold | Revert):
        return move
    if isinstance(move, Advance) and not waiting:
        waiting = make_room(run, seen, advanced(rollout, move.step, move.weight, run.clock.time()))
    return Hold(waiting) if waiting else move


def _keep(run: Run, counters: Mapping[str, Mapping[str, Any]]) -> None:
    """Record what the gates have counted, for a run that has to go on from here."""
    record_on(run, lambda recorded: dataclasses.replace(recorded, counters=counters))


def _observe(run: Run) -> tuple[Rollout, Mapping[str, Seen]]:
    """This run's rollout as the cluster furthest behind has it, and what was seen in each."""
    seen = each(run.clusters, lambda cluster: observe(run.target, cluster))
    rollouts = [one.rollouts.get(run.key) for one in seen.values()]
    mine = [rollout for rollout in rollouts if rollout is not None and rollout.run == run.config.run]
    if len(mine) < len(rollouts):
        raise Superseded("the rollout was ended by someone else, or the route was replaced without its record")
    return min(mine, key=lambda rollout: rollout.step), seen


def _changed(run: Run, rollout: Rollout) -> str:
    """Why the preview is not what was begun with, in words; "" where it still is."""
    container = run.config.file.production.container
    try:
        for image, digest, sha in each(run.clusters, lambda c: running(c, run.preview, container)).values():
            if (digest, sha or rollout.sha) != (rollout.digest, rollout.sha):
                return f"the preview runs {digest or image} of commit {sha or 'unknown'} now, which was not judged"
    except NotReady as error:
        return str(error)
    return ""


def _still_reviewed(run: Run, rollout: Rollout, move: Advance | Promote) -> Advance | Promote | Hold | Revert:
    """Before each increase: the pull request's head is still the commit that was judged; an error holds."""
    try:
        pull = run.pull()
    except HttpError as error:
        return Hold(f"the pull request's head can't be read: {error}")
    if pull and (why := moved_on(pull, rollout.sha)):
        return Revert(why)
    return move


def _end(run: Run, rollout: Rollout, move: Stop | Revert, measurements: Sequence[Measurement]) -> Result:
    """Leave the weight where it is, or take the traffic back; say so."""
    if isinstance(move, Stop):
        # Without a verdict its own deadline is over: a person gets as long again.
        deadline = run.clock.time() + run.policy.deadline if move.inconclusive else rollout.deadline
        reason = move.reason

        def held(recorded: Rollout) -> Rollout:
            return dataclasses.replace(recorded, phase=Phase.HELD, reason=reason, deadline=deadline, counters={})

        rollout = record_on(run, held)
        outcome, code, weight = "held", Exit.DONE, rollout.weight
        if move.inconclusive:
            outcome, code = "unproven", Exit.INCONCLUSIVE
    else:
        take_back(run, only_own=True)
        outcome, code, weight = "reverted", Exit.REVERTED, 0
        if move.inconclusive:
            outcome, code = "inconclusive", Exit.INCONCLUSIVE
    run.tell(Event(kind=outcome, weight=weight, reason=move.reason, measurements=measurements, sha=rollout.sha))
    return Result(
        outcome=outcome,
        reason=move.reason,
        exit=code,
        weight=weight,
        digest=rollout.digest,
        sha=rollout.sha,
        url=rollout.url,
    )


def _guarded(
    run: Run, resumed: Callable[[Rollout], Rollout], weight: int, beat: Beat, then: Callable[[Rollout], Result]
) -> Result:
    """Begin, and go on; whatever ends it early takes the traffic back first. A refusal to begin changes nothing."""
    begun = False
    try:
        rollout = begin(run, resumed, weight, beat)
        begun = True
        return then(rollout)
    except BaseException as error:
        if not begun and isinstance(error, ConfigError | NotReady | Refused):
            raise
        had = take_back(run, only_own=True)
        if not isinstance(error, StepError) or not (had or isinstance(error, Superseded)):
            raise
        outcome, code = "reverted", Exit.REVERTED
        if isinstance(error, Interrupted):
            outcome, code = "interrupted", error.exit
        elif isinstance(error, Superseded):
            outcome = "superseded"
        elif isinstance(error, ConfigError):
            code = error.exit
        reason = f"{error}; production has all requests"
        run.tell(Event(kind=outcome, weight=0, reason=reason))
        return Result(outcome=outcome, reason=reason, exit=code)
