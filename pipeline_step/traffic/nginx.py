"""ingress-nginx: a second Ingress with canary annotations, which is there while a preview has a share.

The controller was retired in March 2026 and gets no fixes any more; other controllers follow its annotations too, such
as Traefik's provider for them. One canary is possible for a rule. The user's Ingress bears the record and stays as it
is otherwise: on the way up it is written before the canary, on the way down after it.
https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/annotations/#canary
"""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Annotated

from pipeline_step.model import Backend, Change, Delete, Permission, Put, Ref, Target
from pipeline_step.settings import Label, Strict, says
from pipeline_step.traffic import interface
from pipeline_step.traffic import nginx_canaries as canaries
from pipeline_step.traffic.interface import Need, Objects, Shares
from pipeline_step.traffic.shares import rest


class Settings(Strict, frozen=True):
    """The Ingress that leads to production."""

    ingress: Annotated[str, says("the Ingress that leads to production")]
    namespace: Annotated[Label | None, says("its namespace, where it is not production's")] = None


def resources(target: Target, objects: Objects, previews: Collection[Backend] = ()) -> list[Ref]:
    """The Ingress, and all of its namespace, for the canary among them and for any that would be in its way."""
    return [_main(target), _all(target)]


def routed(target: Target, objects: Objects) -> Ref:
    """The user's Ingress."""
    canaries.rules(objects[_main(target)], target.stable)
    return _main(target)


def weights(target: Target, objects: Objects) -> dict[str, int]:
    """Stable's percentage, and the canary's."""
    canaries.rules(objects[_main(target)], target.stable)
    canary = objects.get(_canary(target))
    if canary is None:
        return {str(target.stable): 100}
    share = canaries.share(canary)
    preview = Backend(service=canaries.services(canary)[0]["name"], namespace=_main(target).namespace)
    return {str(target.stable): rest([share]), str(preview): share}


def plan(target: Target, objects: Objects, shares: Shares) -> list[Change]:
    """The user's Ingress, which only gets the record, and the canary: made, changed, or deleted."""
    main, ref = _main(target), _canary(target)
    own = Put(main, copy.deepcopy(objects[main]))
    wanted = [(preview, share) for preview, share in shares.items() if share]
    if not wanted:
        canaries.rules(own.object, target.stable)
        return [Delete(ref), own] if ref in objects else [own]
    preview, share = wanted[0]
    before = objects.get(ref)
    canary = canaries.canary(ref, own.object, before, canaries.rules(own.object, target.stable, preview), share)
    falls = before is not None and share < weights(target, objects).get(str(preview), 0)
    return [Put(ref, canary), own] if falls else [own, Put(ref, canary)]


def needs(target: Target, objects: Objects, previews: Collection[Backend]) -> list[Need]:
    """Nothing besides."""
    return []


def permissions(target: Target, objects: Objects, previews: Collection[Backend]) -> list[Permission]:
    """The Ingress and its canary by their names; making one can't be limited to a name."""
    main, canary = _main(target), _canary(target)
    return [
        Permission("get", main, "read the route"),
        Permission("update", main, "write the record"),
        Permission("list", _all(target), "see the canary and what would be in its way"),
        Permission("create", _all(target), "make the canary"),
        Permission("update", canary, "change the canary's weight"),
        Permission("delete", canary, "take the canary away"),
    ]


def unreachable(target: Target, objects: Objects, shares: Shares) -> str:
    """One preview at a time, of the Ingress's own namespace, and no other Ingress in the way."""
    main = _main(target)
    wanted = [preview for preview, share in shares.items() if share]
    if len(wanted) > 1:
        return f"{main}: ingress-nginx takes one canary for a rule, and {len(wanted)} previews ask for a share"
    for preview in wanted:
        if preview.namespace != main.namespace:
            return (
                f"the preview {preview} is not in {main.namespace}, the namespace of {main}: an Ingress names Services "
                "of its own namespace only; let previews live there (preview.namespace), or make a Service of type "
                "ExternalName there that leads to the preview, and name it in preview.service"
            )
        others = [(ref, objects[ref]) for ref in objects if ref.name and ref not in (main, _canary(target))]
        if why := canaries.in_the_way(objects[main], target.stable, preview, others):
            return why
    return ""


room = interface.no_room_needed
settled = interface.says_nothing


def _main(target: Target) -> Ref:
    settings: Settings = target.route
    return _all(target, settings.ingress)


def _canary(target: Target) -> Ref:
    settings: Settings = target.route
    return _all(target, f"{settings.ingress}-pipeline-step")


def _all(target: Target, name: str = "") -> Ref:
    settings: Settings = target.route
    namespace = settings.namespace or target.stable.namespace
    return Ref(group="networking.k8s.io", resource="ingresses", namespace=namespace, name=name)
