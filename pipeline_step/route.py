"""One read and one guarded write of the route in each cluster: record and weights together.

A change is given as a function from the rollouts recorded now to those that should be; where someone else wrote
first (409), the route is read again and the function asked again, so that nobody's update is lost.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from pipeline_step import record
from pipeline_step.errors import Conflict, Refused
from pipeline_step.model import Backend, Change, Delete, Object, Put, Ref, Target
from pipeline_step.ownership import rewriting_owner
from pipeline_step.record import Rollouts
from pipeline_step.traffic import ROUTERS

if TYPE_CHECKING:
    from pipeline_step.cluster import Cluster

CONTENTION = 60  # seconds that a change is tried again while others keep writing first

T = TypeVar("T")
Update = Callable[[Rollouts], Rollouts]


@dataclass(frozen=True, slots=True)
class Seen:
    """What one cluster's route looked like: the objects, the one that carries the weights, rollouts and percentages."""

    objects: Mapping[Ref, Object]
    routed: Object
    rollouts: Rollouts
    weights: Mapping[str, int]


def observe(target: Target, cluster: Cluster, previews: Collection[Backend] = ()) -> Seen:
    """Read the route, and what it takes to give the recorded and these previews a share.

    Raises `NotFound` where the route does not exist and `ConfigError` where it can't be told.
    """
    seen = interpret(target, _read(target, cluster, {}, previews))
    recorded = [rollout.preview for rollout in seen.rollouts.values()]
    return _complete(target, cluster, seen, [*previews, *recorded])


def _read(
    target: Target, cluster: Cluster, known: Mapping[Ref, Object], previews: Collection[Backend]
) -> Mapping[Ref, Object]:
    """What is known, and whatever the router needs besides."""
    router = ROUTERS[target.router]
    objects = dict(known)
    while missing := [ref for ref in router.resources(target, objects, previews) if ref not in objects]:
        for ref in missing:
            objects[ref] = cluster.get(ref)
            objects.update(_listed(ref, objects[ref]))
    return objects


def _listed(ref: Ref, found: Object) -> dict[Ref, Object]:
    """The objects of a list by themselves, with the kind that they bear only outside of lists."""
    if ref.name:
        return {}
    kind = {"apiVersion": found["apiVersion"], "kind": found["kind"].removesuffix("List")}
    items = [{**kind, **item} for item in found["items"]]
    return {
        Ref(group=ref.group, resource=ref.resource, namespace=ref.namespace, name=item["metadata"]["name"]): item
        for item in items
    }


def _complete(target: Target, cluster: Cluster, seen: Seen, previews: Collection[Backend]) -> Seen:
    """The same, with what these previews take; nothing is read where nothing is missing."""
    objects = _read(target, cluster, seen.objects, previews)
    return seen if len(objects) == len(seen.objects) else interpret(target, objects)


def interpret(target: Target, objects: Mapping[Ref, Object]) -> Seen:
    """Pure: what the route's objects say."""
    router = ROUTERS[target.router]
    routed = objects[router.routed(target, objects)]
    return Seen(objects, routed, record.read(routed), router.weights(target, objects))


def plan(target: Target, seen: Seen, rollouts: Rollouts) -> list[Change]:
    """Pure: the writes that bring route and record to these rollouts; none where nothing would differ."""
    router = ROUTERS[target.router]
    routed = router.routed(target, seen.objects)
    changes = [
        Put(change.ref, record.write(change.object, rollouts))
        if isinstance(change, Put) and change.ref == routed
        else change
        for change in router.plan(target, seen.objects, shares(rollouts))
    ]
    return [change for change in changes if isinstance(change, Delete) or change.object != seen.objects.get(change.ref)]


def drifted(target: Target, seen: Seen) -> bool:
    """Pure: whether someone else changed the route from what its record says.

    What a router keeps up besides, such as pods that came and went, is no drift.
    """
    routed = ROUTERS[target.router].routed(target, seen.objects)
    return any(change.ref == routed for change in plan(target, seen, seen.rollouts))


def check(target: Target, seen: Seen, rollouts: Rollouts) -> None:
    """Pure: raises `Refused` where a weight would rise that the route can't give.

    That is one out of the router's reach, or on a route that another controller keeps rewriting.
    """
    raised = [
        preview
        for preview, rollout in rollouts.items()
        if rollout.weight > (seen.rollouts[preview].weight if preview in seen.rollouts else 0)
    ]
    routed = ROUTERS[target.router].routed(target, seen.objects)
    if raised and (owner := rewriting_owner(seen.objects[routed])):
        raise Refused(
            f"{routed} belongs to {owner}, which would overwrite the weights; "
            "take the route from it first, or let it do the rollout"
        )
    if raised and (trouble := unreachable(target, seen, rollouts)):
        raise Refused(trouble)


def unreachable(target: Target, seen: Seen, rollouts: Rollouts) -> str:
    """Pure: why the route can't give these weights, and which are near; "" where it can."""
    return ROUTERS[target.router].unreachable(target, seen.objects, shares(rollouts))


def shares(rollouts: Rollouts) -> dict[Backend, int]:
    """The percentage of each preview that has a record."""
    return {rollout.preview: rollout.weight for rollout in rollouts.values()}


def change(
    target: Target, clusters: Mapping[str, Cluster], update: Update, seen: Mapping[str, Seen] | None = None
) -> dict[str, Seen]:
    """Bring every cluster's route to what `update` says, side by side; raises the first error after all are done.

    `seen` is what was read before, by context, to save the reads; the writes are guarded all the same.
    """
    before = {clusters[context]: one for context, one in (seen or {}).items()}
    return each(clusters, lambda cluster: change_one(target, cluster, update, before.get(cluster)))


def change_one(
    target: Target, cluster: Cluster, update: Update, seen: Seen | None = None, previews: Collection[Backend] = ()
) -> Seen:
    """The same for one cluster; `seen` is what was read before, to save the read.

    `previews` are those to look after besides the recorded ones, such as one whose record has just ended.
    """
    until = time.monotonic() + CONTENTION
    while True:
        seen = seen or observe(target, cluster, previews)
        rollouts = update(seen.rollouts)
        seen = _complete(target, cluster, seen, [rollout.preview for rollout in rollouts.values()])
        changes = plan(target, seen, rollouts)
        if not changes:
            return seen
        check(target, seen, rollouts)
        try:
            return interpret(target, _act(cluster, changes, seen.objects))
        except Conflict:
            if time.monotonic() > until:
                raise
            time.sleep(random.uniform(0, 0.1))  # noqa: S311 - spreads writers out, guards nothing
            seen = None


def edit(target: Target, cluster: Cluster, amend: Callable[[Object], Object]) -> Object:
    """Change something else on the routed object than weights and record, as guarded as they are; what stands now."""
    until = time.monotonic() + CONTENTION
    while True:
        seen = observe(target, cluster)
        after = amend(seen.routed)
        if after == seen.routed:
            return after
        try:
            return cluster.replace(ROUTERS[target.router].routed(target, seen.objects), after)
        except Conflict:
            if time.monotonic() > until:
                raise


def _act(cluster: Cluster, changes: list[Change], objects: Mapping[Ref, Object]) -> dict[Ref, Object]:
    """Make the changes in their order; the objects as they are then."""
    after = dict(objects)
    for item in changes:
        if isinstance(item, Delete):
            cluster.delete(item.ref)
            after.pop(item.ref, None)
        elif item.ref in objects:
            after[item.ref] = cluster.replace(item.ref, item.object)
        else:
            after[item.ref] = cluster.create(item.ref, item.object)
    return after


def each(clusters: Mapping[str, Cluster], work: Callable[[Cluster], T]) -> dict[str, T]:
    """Do the work on every cluster side by side. All are finished before the first error is raised."""
    if len(clusters) == 1:
        return {context: work(cluster) for context, cluster in clusters.items()}
    with ThreadPoolExecutor(max_workers=len(clusters)) as pool:
        futures = {context: pool.submit(work, cluster) for context, cluster in clusters.items()}
    return {context: future.result() for context, future in futures.items()}
