"""Pure: how a history goes on, from the events and the looks of a run, or from what stands in the record alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, assert_never

from msgspec.structs import replace

from pipeline_step import outlook
from pipeline_step.gates import compare
from pipeline_step.model import (
    Advance,
    Decision,
    Hold,
    Measurement,
    Outcome,
    Phase,
    Policy,
    Promote,
    Revert,
    Rollout,
    Stop,
)
from pipeline_step.page.history import (
    ENDS,
    MOST_WORDS,
    STANDINGS,
    History,
    Says,
    Told,
    with_event,
    with_sample,
)
from pipeline_step.page.sampling import Gates, ahead, judgements, sampled
from pipeline_step.run import Event, Look
from pipeline_step.sentence import sentence
from pipeline_step.verdict import Verdict

if TYPE_CHECKING:
    from pipeline_step.config import Config

BEGINS = ("shifted", "resumed")
OPEN = (Outcome.NO_DATA, Outcome.TOO_LITTLE, Outcome.UNREACHABLE, Outcome.WAITING)


def untold(config: Config) -> History:
    """The history of the configuration's pull request before anything has happened."""
    history = History(
        app=config.file.app,
        stable=str(config.target.stable),
        preview=str(config.preview),
        pull_request=config.pull.number,
        run=config.run,
        run_url=config.provider.run_url,
        by=config.pull.by,
        comments=bool(config.provider.token),
    )
    return _following(history, config.policy)


def continued(fresh: History, earlier: History | None) -> History:
    """This run's history with what an earlier run has told of the same preview; without, where that is over."""
    if earlier is None or earlier.over or (earlier.app, earlier.preview) != (fresh.app, fresh.preview):
        return fresh
    kept = ("sha", "digest", "url", "began", "samples", "events", "left_out", "gates", "weight", "updated")
    return replace(fresh, **{name: getattr(earlier, name) for name in kept})


def gone_on(history: History, events: Sequence[Event], looks: Sequence[Look], gates: Gates) -> History:
    """The history with those of these that are newer than it, in the order in which they were."""
    newest = history.updated
    every: list[Event | Look] = [*events, *looks]
    for news in sorted(every, key=lambda one: one.at):
        if news.at > newest:
            history = told(history, news, gates) if isinstance(news, Event) else looked(history, news, gates)
    return history


def told(history: History, event: Event, gates: Gates) -> History:
    """The history after a transition."""
    if history.over and event.kind in BEGINS:
        history = _anew(history)
    standing = event.kind if event.kind in STANDINGS else history.standing
    if event.kind in BEGINS and standing in ("paused", "held", "unproven"):
        standing = "running"
    ended = standing in ENDS
    judged = judgements(gates, event.measurements)
    history = replace(
        with_event(history, Told(event.at, event.kind, event.weight, _short(event.reason))),
        updated=event.at,
        weight=event.weight,
        standing=standing,
        reason=_short(event.reason),
        then=outlook.COMING.get(event.kind, "" if ended else history.then),
        coming="",
        due=0.0,
        deadline=0.0 if ended else history.deadline,
        sha=event.sha or history.sha,
        url=event.url or history.url,
        gates=_says(event.measurements) or history.gates,
    )
    return (
        with_sample(history, sampled(event.at, event.weight, event.measurements, gates, judged)) if judged else history
    )


def looked(history: History, look: Look, gates: Gates) -> History:
    """The history after a look between two transitions."""
    policy, rollout, measurements, now = look.policy, look.rollout, look.measurements, look.at
    judged = judgements(gates, measurements)
    history = _paused(_of(_following(history, policy), rollout), rollout, now)
    due = outlook.if_due(policy, rollout, measurements, now)
    weight = due.weight if isinstance(due, Advance) else outlook.next_weight(policy, rollout) or 100 * policy.promote
    move = look.decision
    return replace(
        with_sample(history, sampled(now, rollout.weight, measurements, gates, judged)),
        updated=now,
        weight=rollout.weight,
        step=rollout.step,
        standing=_standing(rollout, measurements, move, judged),
        reason=_short(_reason(move, measurements)),
        then=outlook.after(policy, rollout) if isinstance(move, Hold) else _short(_would(move, measurements)),
        coming=_short(outlook.waits(measurements, move.reason)) if isinstance(move, Hold) else "",
        due=outlook.due(policy, rollout) or 0.0,
        deadline=outlook.deadline(rollout) or 0.0,
        if_due=_short(_would(due, measurements)),
        ahead=ahead(weight, measurements, judged),
        gates=_says(measurements),
    )


def recorded(history: History, rollout: Rollout, policy: Policy, gates: Gates, now: float) -> History:
    """The history after a look at the record alone, by who is not the run: only what judges keep in it is known."""
    policy = outlook.followed(policy, rollout)
    measurements = [
        Measurement(
            gate=name,
            outcome=compare.outcome(verdict),
            reason=f"{name}: {sentence(verdict, seconds=round(now - rollout.began), weight=rollout.weight)}",
            counters=rollout.counters[name],
        )
        for name, verdict in judgements(gates, rollout.counters).items()
    ]
    judged = judgements(gates, rollout.counters)
    history = _paused(_of(_following(history, policy), rollout), rollout, now)
    decision = Hold(rollout.reason or f"{rollout.phase.value} at {rollout.weight} %")
    return replace(
        with_sample(history, sampled(now, rollout.weight, measurements, gates, judged)),
        updated=now,
        weight=rollout.weight,
        step=rollout.step,
        by=rollout.by,
        run=rollout.run,
        standing=_standing(rollout, measurements, decision, judged),
        reason=_short(rollout.reason or _reason(decision, measurements)),
        then=outlook.after(policy, rollout),
        coming="",
        due=outlook.due(policy, rollout) or 0.0,
        deadline=outlook.deadline(rollout) or 0.0,
        gates=_says(measurements),
    )


def _standing(
    rollout: Rollout, measurements: Sequence[Measurement], decision: Decision, judged: Mapping[str, Verdict]
) -> str:
    outcomes = [one.outcome for one in measurements]
    if Outcome.FAIL in outcomes or isinstance(decision, Revert):
        return "failing"
    if rollout.phase is not Phase.BAKING:
        return str(rollout.phase.value)
    if any(verdict.suspicious for verdict in judged.values()):
        return "suspicious"
    if any(outcome in OPEN for outcome in outcomes):
        return "waiting"
    if Outcome.UNDECIDED in outcomes:
        return "unproven yet"
    return "good" if outcomes else "running"


def _reason(decision: Decision, measurements: Sequence[Measurement]) -> str:
    """What the gates say that matters most, else why it is where it is."""
    failed = [one for one in measurements if one.outcome is Outcome.FAIL]
    unanswered = [one for one in measurements if one.outcome in OPEN]
    first = next(iter([*failed, *unanswered, *measurements]), None)
    return str(first.reason if first else decision.reason)


def _would(decision: Decision, measurements: Sequence[Measurement]) -> str:
    """What a decision brings. Why is left out: the bake that is named there may not be over."""
    match decision:
        case Advance(weight=weight):
            return f"{weight} %"
        case Hold(reason):
            return f"no step further, {outlook.waits(measurements, reason)}"
        case Promote():
            return "promotion"
        case Stop():
            return "held at its share, for a person"
        case Revert():
            return "all requests go back to production"
        case _:
            assert_never(decision)


def of_record(config: Config, rollout: Rollout) -> History:
    """The history of a recorded rollout before it has been looked at."""
    history = History(
        app=config.file.app,
        stable=str(config.target.stable),
        preview=str(rollout.preview),
        pull_request=rollout.pull_request,
        run=rollout.run,
        by=rollout.by,
        comments=bool(config.provider.token),
    )
    return _following(history, config.policy)


def ended(history: History, now: float) -> History:
    """The history of a rollout that has no record any more; how it ended is not written there."""
    reason = "its record is gone from the route, which does not say how it ended"
    history = with_event(history, Told(now, "over", 0, reason))
    return replace(
        history, updated=now, weight=0, standing="over", reason=reason, then="", coming="", due=0.0, deadline=0.0
    )


def _following(history: History, policy: Policy) -> History:
    """The history of a rollout that follows this policy."""
    return replace(
        history,
        plan=tuple((step.weight, float(step.bake)) for step in policy.steps),
        ramp=policy.ramp.max_weight if policy.ramp else 0,
        promotes=policy.promote,
    )


def _of(history: History, rollout: Rollout) -> History:
    """The history of this rollout: what was told of one before it goes."""
    if history.began and history.began != rollout.began:
        history = replace(
            history,
            samples=(),
            events=tuple(event for event in history.events if event.at >= rollout.began),
            left_out=0,
            ahead=None,
            if_due="",
        )
    return replace(history, began=rollout.began, sha=rollout.sha, digest=rollout.digest, url=rollout.url)


def _anew(history: History) -> History:
    """The same rollout's preview, with nothing told."""
    return replace(
        history, samples=(), events=(), left_out=0, gates=(), began=0.0, ahead=None, if_due="", standing="running"
    )


def _paused(history: History, rollout: Rollout, now: float) -> History:
    """A pause, or its end, that somebody else has written into the record."""
    was, now_paused = history.standing == "paused", rollout.phase is Phase.PAUSED
    if was == now_paused:
        return history
    kind, at = ("paused", rollout.paused_at) if now_paused else ("resumed", now)
    return with_event(history, Told(at, kind, rollout.weight, _short(rollout.reason or "noticed by the run")))


def _says(measurements: Sequence[Measurement]) -> tuple[Says, ...]:
    return tuple(Says(one.gate, one.outcome.value, _short(one.reason)) for one in measurements)


def _short(text: str) -> str:
    return text if len(text) <= MOST_WORDS else text[: MOST_WORDS - 1] + "…"
