"""Healing what was abandoned. Safe to run every minute beside live rollouts: it touches only what nobody holds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from pipeline_step import lock, owed, promotions, report
from pipeline_step.deploy import remove
from pipeline_step.errors import StepError, Unfinished
from pipeline_step.gates import Conversation
from pipeline_step.model import Backend, Phase, Rollout
from pipeline_step.preview import APP, MANAGED_BY, PULL_REQUEST, fill
from pipeline_step.promote import PROMOTERS
from pipeline_step.promotion import ended, owes_git, promotion, undo, without
from pipeline_step.record import Rollouts
from pipeline_step.reporter import connect
from pipeline_step.reversal import go_on
from pipeline_step.route import change_one, observe, plan
from pipeline_step.run import Clock, Event
from pipeline_step.scm import State
from pipeline_step.sinks import audit
from pipeline_step.sinks.pull_request import Told

if TYPE_CHECKING:
    from pipeline_step.cluster import Cluster
    from pipeline_step.config import Config
    from pipeline_step.scm import Repository


class Deed(NamedTuple):
    """One thing that was healed, or could not be."""

    done: bool
    text: str


def heal(config: Config, clusters: Mapping[str, Cluster], clock: Clock) -> list[Deed]:
    """Look at every cluster and heal what can be; one failure does not stop the rest."""
    deeds: list[Deed] = []
    for context, cluster in clusters.items():
        where = f"{context}: " if context else ""
        for part in (_abandoned_rollouts, _unfinished_reversals, _unrecorded_weights, _closed_previews, _untold):
            try:
                deeds += [deed._replace(text=where + deed.text) for deed in part(config, cluster, clock)]
            except StepError as error:
                deeds.append(Deed(False, f"{where}{error}"))
    return deeds


def _abandoned_rollouts(config: Config, cluster: Cluster, clock: Clock) -> Iterator[Deed]:
    """Rollouts whose run has no heartbeat any more, and held ones past their deadline."""
    for key, rollout in observe(config.target, cluster).rollouts.items():
        why = _abandoned(config, cluster, rollout, clock.time())
        if not why:
            continue
        try:
            _end(config, cluster, rollout)
        except StepError as error:
            yield Deed(False, f"{key}, {why}, could not be reverted: {error}")
        else:
            yield Deed(True, f"{key} had {rollout.weight} %, {why}: reverted")
            reason = f"{why}: guard gave production all requests"
            event = Event(kind="reverted", weight=0, reason=reason, sha=rollout.sha, at=clock.time())
            with suppress(StepError):  # what is not noted is done all the same
                audit.note(
                    _as_guard(config, rollout.pull_request), cluster, event, observe(config.target, cluster).routed
                )
            yield from _tell(config, cluster, rollout.pull_request, event)


def _abandoned(config: Config, cluster: Cluster, rollout: Rollout, now: float) -> str:
    """Why nobody cares for this rollout any more, in words; "" where somebody does."""
    if rollout.phase is Phase.HELD:
        return "held past its deadline" if now >= rollout.deadline else ""
    return "" if _held(config, cluster, rollout.preview, now) else f"left by run {rollout.run} of {rollout.by}"


def _held(config: Config, cluster: Cluster, preview: Backend, now: float) -> bool:
    refs = [lock.lease_ref(config.target, preview, shared=shared) for shared in (False, True)]
    return any((lease := cluster.find(ref)) is not None and lock.alive(lease, now) for ref in refs)


def _end(config: Config, cluster: Cluster, abandoned: Rollout) -> None:
    """Take it off the route, unless another run has adopted it in this moment."""

    key = str(abandoned.preview)

    def unless_adopted(end: Callable[[Rollouts], Rollouts]) -> Callable[[Rollouts], Rollouts]:
        return lambda rollouts: end(rollouts) if key in rollouts and rollouts[key].run == abandoned.run else rollouts

    if abandoned.phase is Phase.PROMOTING and abandoned.previous:
        undo(config, {"": cluster}, abandoned)
    change_one(config.target, cluster, unless_adopted(lambda rollouts: ended(config, rollouts, key)))
    if config.promoter and owes_git(config, abandoned):
        name, settings = config.promoter
        written = PROMOTERS[name].withdraw(settings, config, promotion(config, abandoned))
        if not written.done:
            raise Unfinished(f"production has all requests, but Git still says that it is production: {written.reason}")
        change_one(config.target, cluster, unless_adopted(lambda rollouts: without(rollouts, key)))


def _unfinished_reversals(config: Config, cluster: Cluster, clock: Clock) -> Iterator[Deed]:
    """Promotions that were being taken back by a run that has no heartbeat any more."""
    begun = [entry for entry in promotions.load(cluster, config.target) if entry.state is promotions.State.REVERTING]
    if not begun or _target_held(config, cluster, clock.time()):
        return
    name = f"the promotion of pull request {begun[0].promotion.pull_request}"
    try:
        image = go_on(config, cluster, begun)
    except StepError as error:
        yield Deed(False, f"{name} could not be reverted yet: {error}")
    else:
        yield Deed(True, f"{name} was being reverted: production runs {image} again")


def _target_held(config: Config, cluster: Cluster, now: float) -> bool:
    """Whether any run works on this target."""
    target = lock.lease_ref(config.target, config.target.stable, shared=False)
    leases = cluster.list_objects(target.group, target.resource, target.namespace)
    return any(lease["metadata"]["name"].startswith(target.name) and lock.alive(lease, now) for lease in leases)


def _unrecorded_weights(config: Config, cluster: Cluster, clock: Clock) -> Iterator[Deed]:
    """Weights of previews that no record explains, or that are not those of the record, while nobody works on them."""
    seen = observe(config.target, cluster)
    if any(_held(config, cluster, rollout.preview, clock.time()) for rollout in seen.rollouts.values()):
        return
    if plan(config.target, seen, seen.rollouts):
        change_one(config.target, cluster, lambda rollouts: rollouts)
        yield Deed(True, "the route's weights were not those of its record: set as recorded")


def _closed_previews(config: Config, cluster: Cluster, clock: Clock) -> Iterator[Deed]:
    """Previews whose pull request is closed: drained first, then deleted. A run that lives is left to its end."""
    if not config.provider.token:
        return
    scm, http, repository = connect(config.provider)
    for number, name in _previews(config, cluster, repository):
        try:
            pull = scm.pull_request(http, repository, number)
            if pull.open:
                continue
            rollouts = observe(config.target, cluster).rollouts
            own = [one for one in rollouts.values() if (one.pull_request, one.preview.namespace) == (number, name)]
            if any(_held(config, cluster, one.preview, clock.time()) for one in own):
                continue
            change_one(config.target, cluster, lambda rollouts: _without(rollouts, number, name))  # noqa: B023 - at once
            service = config.target.stable.service
            remove(cluster, Backend(service=service, namespace=name), config.target.app, number)
        except StepError as error:
            yield Deed(False, f"the preview of pull request {number} in {name} could not be collected: {error}")
        else:
            yield Deed(True, f"the preview of closed pull request {number} in {name} was drained and deleted")
            reason = "the pull request is closed"
            event = Event(kind="deleted", weight=0, reason=reason, sha=pull.head, at=clock.time())
            yield from _tell(config, cluster, number, event)


def _untold(config: Config, cluster: Cluster, clock: Clock) -> Iterator[Deed]:
    """What pull requests are still owed by runs that ended without saying it, or whose provider was down."""
    if not config.provider.token:
        return
    known = owed.debts(cluster, config.target).values()
    going_on = {one.pull_request for one in observe(config.target, cluster).rollouts.values()} if known else set()
    for debt in known:
        event = debt.event
        pending = report.state(event) is State.PENDING
        if clock.time() < debt.at + lock.DURATION or (pending and debt.number in going_on):
            continue
        if pending:
            reason = f"run {debt.run} ended without saying how; production has all requests"
            event = Event(kind="broken", weight=0, reason=reason, sha=debt.sha, at=clock.time())
        yield from _tell(config, cluster, debt.number, event, debt.lines)


def _tell(config: Config, cluster: Cluster, number: int, event: Event, history: Sequence[str] = ()) -> Iterator[Deed]:
    """Tell one pull request how its rollout ended; what can't be told now is owed, and told by the next guard."""
    if not (config.provider.token and number):
        return
    try:
        scm, http, repository = connect(config.provider)
        at = Conversation(scm=scm, http=http, repository=repository, number=number)
        Told(_as_guard(config, number, repository), at, history).deliver([event], cluster)
    except StepError as error:
        yield Deed(False, f"pull request {number} could not be told that it {report.headline(event)}: {error}")
    else:
        yield Deed(True, f"pull request {number} was told that it {report.headline(event)}")


def _as_guard(config: Config, number: int, repository: Repository | None = None) -> Config:
    """The configuration for one pull request, of which this program itself asks something."""
    named = {"owner": repository.owner, "repo": repository.name} if repository and not config.pull.owner else {}
    pull = dataclasses.replace(config.pull, number=number, by="guard", asked="guard", **named)
    return dataclasses.replace(config, pull=pull)


def _previews(config: Config, cluster: Cluster, repository: Repository) -> list[tuple[int, str]]:
    """Number and namespace of all previews: by their own namespaces, or by their Services in one that they share.

    Namespaces have to be called as this configuration calls them, since other repositories may have an app of the
    same name; those on their way out are left to go.
    """
    selector = f"{MANAGED_BY}=pipeline-step,{APP}={config.target.app}"
    values = {
        "app": config.target.app,
        "owner": config.pull.owner or repository.owner,
        "repo": config.pull.repo or repository.name,
    }
    template = config.file.preview.namespace
    if config.own_namespace:
        spaces = cluster.list_objects("", "namespaces", labels=selector)
        staying = [space["metadata"] for space in spaces if "deletionTimestamp" not in space["metadata"]]
        found = {(int(one["labels"].get(PULL_REQUEST) or 0), one["name"]) for one in staying}
        found = {(number, name) for number, name in found if name == fill(template, {**values, "number": number})}
    else:
        shared = fill(template, values)
        services = cluster.list_objects("", "services", shared, selector)
        found = {(int(one["metadata"]["labels"].get(PULL_REQUEST) or 0), shared) for one in services}
    return sorted((number, name) for number, name in found if number)


def _without(rollouts: Rollouts, number: int, namespace: str) -> Rollouts:
    """The record without those of one pull request's preview."""
    gone = (number, namespace)
    return {key: one for key, one in rollouts.items() if (one.pull_request, one.preview.namespace) != gone}
