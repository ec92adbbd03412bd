"""The main flow, from top to bottom: begin, then observe, measure, decide and act until it is over.

What is recorded on the route is the only state: a run that dies leaves a step that the next run resumes. Taking
traffic back comes before everything else, on any error and on any signal.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, assert_never

from pipeline_step import lock
from pipeline_step.decide import advanced, crowded, next_move, resume
from pipeline_step.errors import ConfigError, Exit, HttpError, Interrupted, NotReady, Refused, StepError
from pipeline_step.gates import GATES, Sources, Subject
from pipeline_step.model import Advance, Hold, Measurement, Phase, Promote, Revert, Rollout, Seconds, Step, Stop
from pipeline_step.promotion import bring_over, running
from pipeline_step.record import Rollouts
from pipeline_step.revert import take_back
from pipeline_step.route import change, each, observe, plan
from pipeline_step.run import Event, Look, Result, Run
from pipeline_step.settings import seconds

HEARTBEAT = lock.DURATION / 4  # seconds between two renewals of the lease
GATE_PATIENCE = 3.0  # seconds that a gate may repeat a request while traffic is shifted
REASSERTIONS = 5  # times that weights which someone else set are set again before giving up
Beat = Callable[[], None]


class Superseded(StepError):
    """The record of this rollout is gone: another run, or a person, has ended it."""

    exit = Exit.REVERTED


def rollout(run: Run) -> Result:
    """The command: the whole strategy, resumed where an earlier run left it."""

    def resumed(left: Rollout) -> Rollout:
        return resume(run.policy, left, run.clock.time())

    with _holding(run) as beat:
        return _guarded(run, resumed, run.policy.steps[0].weight, lambda begun: _follow(run, begun, beat))


def shift(run: Run, weight: int) -> Result:
    """The command: one weight, watched by the gates for one bake, and held."""
    bake = Seconds(seconds(run.config.file.strategy.bake) if run.config.gates else 0.0)
    policy = dataclasses.replace(run.policy, steps=(Step(weight=weight, bake=bake),), promote=False)
    one_step = dataclasses.replace(run, policy=policy)

    def moved(left: Rollout) -> Rollout:
        now = run.clock.time()
        begun = advanced(policy, left, 0, now)
        return dataclasses.replace(begun, phase=Phase.BAKING, deadline=now + policy.deadline)

    with _holding(one_step) as beat:
        return _guarded(one_step, moved, weight, lambda begun: _follow(one_step, begun, beat))


def promote(run: Run) -> Result:
    """The command: finish now. What the preview runs at this moment becomes production."""
    with _holding(run) as beat:
        return _guarded(run, lambda left: left, 0, lambda begun: bring_over(run, begun, beat))


def begin(run: Run, resumed: Callable[[Rollout], Rollout], weight: int) -> Rollout:
    """Check what has to be true before a request may reach the preview, and record the rollout in every cluster.

    What an earlier run of the same image left goes on as `resumed` says; of another image, its traffic goes home
    first. A fresh rollout starts with `weight` percent.
    """
    container = run.config.file.production.container
    found = set(each(run.clusters, lambda cluster: running(cluster, run.preview, container)).values())
    if len(found) > 1:
        raise NotReady(f"the clusters run different versions of {run.preview}: {sorted(found)}")
    image, digest, deployed = found.pop()
    sha = _pinned_sha(run, deployed)
    url = next(iter(run.clusters.values())).address(run.preview)
    seen = each(run.clusters, lambda cluster: observe(run.target, cluster))
    left = [one.rollouts[run.key] for one in seen.values() if run.key in one.rollouts]
    if any((rollout.digest, rollout.sha) != (digest, sha) for rollout in left):
        take_back(run)
        run.tell(Event(kind="superseded", weight=0, reason=f"the preview runs {digest or image} now", sha=sha))
        left = []

    now = run.clock.time()
    if left:
        mine = dataclasses.replace(
            resumed(min(left, key=lambda rollout: rollout.step)), run=run.config.run, by=run.config.pull.by
        )
    else:
        mine = Rollout(
            preview=run.preview,
            run=run.config.run,
            by=run.config.pull.by,
            pull_request=run.config.pull.number,
            sha=sha,
            digest=digest,
            url=url,
            weight=weight,
            began=now,
            since=now,
            deadline=now + run.policy.deadline,
            shares=run.config.file.strategy.budget is not None,
        )

    def admitted(rollouts: Rollouts) -> Rollouts:
        if trouble := crowded(run.key, mine.weight, rollouts, run.config.file.strategy.budget):
            raise Refused(trouble)
        return {**rollouts, run.key: mine}

    for one in seen.values():  # refuse before the first write, not between two
        admitted(one.rollouts)
    change(run.target, run.clusters, admitted)
    kind = "resumed" if left else "shifted"
    run.tell(Event(kind=kind, weight=mine.weight, reason=f"{url} runs {digest or image}", sha=sha, url=url))
    return mine


def _follow(run: Run, rollout: Rollout, beat: Beat) -> Result:
    """Until it is over: observe, measure, decide, act. What the gates have counted is recorded now and then."""
    counters = rollout.counters
    recorded = run.clock.time()
    reasserted = 0
    while True:
        beat()
        rollout, drifted = _observe(run)
        if drifted:
            reasserted += 1
            if reasserted > REASSERTIONS:
                reason = f"something else sets the route's weights again and again ({REASSERTIONS} times)"
                return _end(run, rollout, Revert(reason), ())
            _record(run, rollout)
            run.tell(Event(kind="reasserted", weight=rollout.weight, reason="someone else had set other weights"))
        if rollout.phase is Phase.PROMOTING:
            return bring_over(run, rollout, beat)
        if changed := _changed(run, rollout):
            return _end(run, rollout, Revert(changed), ())

        measurements = measure(run, rollout, counters)
        counters = {m.gate: m.counters for m in measurements if m.counters}
        rollout = dataclasses.replace(rollout, counters=counters)
        move = next_move(run.policy, rollout, measurements, run.clock.time())
        if isinstance(move, Advance | Promote):
            move = _still_reviewed(run, rollout, move)
        run.show(Look(rollout=rollout, measurements=measurements, decision=move))
        match move:
            case Hold():
                if counters and run.clock.time() - recorded >= HEARTBEAT:
                    _record(run, rollout)
                    recorded = run.clock.time()
                run.clock.sleep(seconds(run.config.file.strategy.poll))
            case Advance():
                rollout = advanced(run.policy, rollout, move.step, run.clock.time())
                _record(run, rollout)
                run.tell(Event(kind="shifted", weight=rollout.weight, reason=move.reason, measurements=measurements))
            case Promote():
                return bring_over(run, rollout, beat)
            case Stop() | Revert():
                return _end(run, rollout, move, measurements)
            case _:
                assert_never(move)


def measure(run: Run, rollout: Rollout, counters: Mapping[str, Mapping[str, Any]]) -> list[Measurement]:
    """Ask all gates side by side, in the order of the configuration."""
    subject = Subject(
        stable=run.target.stable,
        preview=run.preview,
        weight=rollout.weight,
        began=rollout.since,
        now=run.clock.time(),
    )
    brief = {context: cluster.hurried(GATE_PATIENCE) for context, cluster in run.clusters.items()}
    sources = Sources(clusters=brief, http=run.http)

    def ask(name: str, kind: str, settings: Any) -> Measurement:
        return GATES[kind].measure(name, settings, subject, sources, counters.get(name, {}))

    gates = run.config.gates
    if not gates:
        return []
    with ThreadPoolExecutor(max_workers=len(gates)) as pool:
        asked = [pool.submit(ask, name, kind, settings) for name, (kind, settings) in gates.items()]
    return [answer.result() for answer in asked]


def _observe(run: Run) -> tuple[Rollout, bool]:
    """This run's rollout as the cluster furthest behind has it, and whether any cluster's weights have drifted."""
    seen = each(run.clusters, lambda cluster: observe(run.target, cluster))
    rollouts = [one.rollouts.get(run.key) for one in seen.values()]
    mine = [rollout for rollout in rollouts if rollout is not None and rollout.run == run.config.run]
    if len(mine) < len(rollouts):
        raise Superseded("the rollout was ended by someone else, or the route was replaced without its record")
    behind = min(mine, key=lambda rollout: rollout.step)
    drifted = any(plan(run.target, one, one.rollouts) for one in seen.values())
    return behind, drifted


def _record(run: Run, rollout: Rollout) -> None:
    """Write this run's rollout, record and weight together, wherever it is still this run's."""

    def updated(rollouts: Rollouts) -> Rollouts:
        if run.key not in rollouts or rollouts[run.key].run != rollout.run:
            raise Superseded("the rollout was ended by someone else in this moment")
        if trouble := crowded(run.key, rollout.weight, rollouts, run.config.file.strategy.budget):
            raise Refused(trouble)
        return {**rollouts, run.key: rollout}

    change(run.target, run.clusters, updated)


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


def _pinned_sha(run: Run, deployed: str) -> str:
    """The commit that this rollout is bound to: what is deployed, which must be what was asked for."""
    asked = run.config.pull.sha
    if asked and deployed and not _same_commit(asked, deployed):
        raise Refused(f"commit {asked} was asked for, but the preview runs {deployed}; deploy it with `preview` first")
    sha = deployed or asked
    try:
        head = run.head()
    except HttpError as error:
        raise Refused(f"the pull request's head can't be read, so nothing is shifted: {error}") from error
    if head and sha and not _same_commit(head, sha):
        raise Refused(f"the pull request's head is {head[:7]}, but the preview runs {sha[:7]}; deploy it first")
    return sha


def _same_commit(one: str, other: str) -> bool:
    """Whether two commits are the same, where either may be short."""
    return one.startswith(other) or other.startswith(one)


def _still_reviewed(run: Run, rollout: Rollout, move: Advance | Promote) -> Advance | Promote | Hold | Revert:
    """Before each increase: the pull request's head is still the commit that was judged; an error holds."""
    try:
        head = run.head()
    except HttpError as error:
        return Hold(f"the pull request's head can't be read: {error}")
    if head and rollout.sha and not _same_commit(head, rollout.sha):
        return Revert(f"the pull request moved on to {head[:7]}; {rollout.sha[:7]} was judged")
    return move


def _end(run: Run, rollout: Rollout, move: Stop | Revert, measurements: Sequence[Measurement]) -> Result:
    """Leave the weight where it is, or take the traffic back; say so."""
    if isinstance(move, Stop):
        held = dataclasses.replace(rollout, phase=Phase.HELD, reason=move.reason, counters={})
        _record(run, held)
        event = Event(kind="held", weight=held.weight, reason=move.reason, measurements=measurements, sha=held.sha)
        run.tell(event)
        return Result(
            outcome="held", reason=move.reason, weight=held.weight, digest=held.digest, sha=held.sha, url=held.url
        )
    take_back(run)
    outcome, code = ("inconclusive", Exit.INCONCLUSIVE) if move.inconclusive else ("reverted", Exit.REVERTED)
    run.tell(Event(kind=outcome, weight=0, reason=move.reason, measurements=measurements, sha=rollout.sha))
    return Result(
        outcome=outcome, reason=move.reason, exit=code, digest=rollout.digest, sha=rollout.sha, url=rollout.url
    )


def _guarded(run: Run, resumed: Callable[[Rollout], Rollout], weight: int, then: Callable[[Rollout], Result]) -> Result:
    """Begin, and go on; whatever ends it early takes the traffic back first. A refusal to begin changes nothing."""
    begun = False
    try:
        rollout = begin(run, resumed, weight)
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


@contextmanager
def _holding(run: Run) -> Iterator[Beat]:
    """Hold the target's lease in every cluster for as long as the block runs; call the beat to renew it."""
    shared = run.config.file.strategy.budget is not None
    ref = lock.lease_ref(run.target, run.preview, shared=shared)
    renewed = 0.0

    def acquire() -> None:
        nonlocal renewed
        now = run.clock.time()
        each(run.clusters, lambda cluster: lock.acquire(cluster, ref, run.holder, run.target.app, now))
        renewed = now

    def beat() -> None:
        if run.clock.time() - renewed < HEARTBEAT:
            return
        try:
            acquire()
        except Refused as error:
            raise Superseded(f"this run's lease ran out and was taken: {error}") from error

    acquire()
    try:
        yield beat
    finally:
        with suppress(StepError):  # a lease that can't be given back runs out by itself
            each(run.clusters, lambda cluster: lock.release(cluster, ref, run.holder))
