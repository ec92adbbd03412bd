"""What a router needs besides its route, looked up in the cluster: before any traffic, and by `doctor`."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import TYPE_CHECKING

from pipeline_step.errors import ClusterError, NotFound, Refused
from pipeline_step.model import Backend, Target
from pipeline_step.route import Seen
from pipeline_step.traffic import ROUTERS, Need

if TYPE_CHECKING:
    from pipeline_step.cluster import Cluster


def require(target: Target, cluster: Cluster, seen: Seen, previews: Collection[Backend]) -> None:
    """Raises `Refused` for the first thing that is missing, with what to do about it."""
    for need in ROUTERS[target.router].needs(target, seen.objects, previews):
        if trouble := missing(cluster, need):
            raise Refused(trouble)


def missing(cluster: Cluster, need: Need) -> str:
    """In words what is missing and how to get it; "" where it is there."""
    ref = need.ref
    if ref.name:
        if cluster.find(ref) is not None:
            return ""
        return f"{ref} does not exist{_others(cluster, need)}: {need.why}; {need.remedy}"
    try:
        found = cluster.list_objects(ref.group, ref.resource, ref.namespace)
    except NotFound:  # the cluster serves no such resource, so there is none
        found = []
    if any(need.fits(obj) for obj in found):
        return ""
    names = ", ".join(obj["metadata"]["name"] for obj in found)
    there = f"none of {names} fits" if names else "there is none"
    return f"{ref}: {there}: {need.why}; {need.remedy}"


def _others(cluster: Cluster, need: Need) -> str:
    """What there is instead, where that may be listed."""
    ref = need.ref
    with suppress(ClusterError):
        names = sorted(obj["metadata"]["name"] for obj in cluster.list_objects(ref.group, ref.resource, ref.namespace))
        return f" ({ref.namespace} has: {', '.join(names) or 'none'})"
    return ""
