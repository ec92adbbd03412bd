"""Pods: no mesh and no proxy. Pods of both sides stand behind one Service, and the shares are those of ready pods.

The preview lives in production's namespace. A pod of it takes part while it bears the labels that production's
Service selects by; as many get them as come to the percentage, and none of production's pods is touched. The Service
carries the record and the numbers of pods, in annotations; its spec stays. Where the preview has too few pods its
Deployment gets more first, and in the end its own number back. Record and labels are several writes, in an order that
leaves no pod in the traffic without a record at any instant: on the way up the record is first, on the way down last.
A pod that dies takes its labels along, so that what happens while nobody looks is less traffic for the preview.
https://kubernetes.io/docs/concepts/services-networking/service/
"""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Mapping
from typing import Annotated

import msgspec

from pipeline_step.errors import ConfigError
from pipeline_step.health import is_ready
from pipeline_step.model import Backend, Change, Object, Permission, Put, Ref, Target
from pipeline_step.preview import PREVIEW
from pipeline_step.settings import Percent, Strict, says
from pipeline_step.traffic.interface import Need, Objects, Room, Shares
from pipeline_step.traffic.pod_capacity import deployments, restored, scaled
from pipeline_step.traffic.pod_membership import alive, bears, join, leave, preview_of, ready
from pipeline_step.traffic.pod_shares import Counted, count, out_of_reach
from pipeline_step.traffic.shares import apportion
from pipeline_step.traffic.weighted import annotate

GIVEN = "pipeline-step.dev/pods-given"
SERVICE_NAME = "kubernetes.io/service-name"


class Settings(Strict, frozen=True):
    """How far, in percentage points, the share of the pods may be from the percentage that was asked for."""

    tolerance: Annotated[
        Percent, says("how far the share of the pods may be from what was asked, in percentage points")
    ] = 1


def resources(target: Target, objects: Objects, previews: Collection[Backend] = ()) -> list[Ref]:
    """The Service, the pods and endpoints behind it, and of each preview its pods and Deployment."""
    service = routed(target, objects)
    if service not in objects:
        return [service]
    selects = ",".join(f"{key}={value}" for key, value in _selector(target, objects).items())
    lists = [_list("", "pods", target, selects), _slices(target)]
    for preview in previews:
        label = f"{PREVIEW}={preview.service}"
        lists += [_list("", "pods", target, label), _list("apps", "deployments", target, label)]
    return [service, *lists]


def routed(target: Target, objects: Objects) -> Ref:
    """Production's Service."""
    return Ref(group="", resource="services", namespace=target.stable.namespace, name=target.stable.service)


def weights(target: Target, objects: Objects) -> dict[str, int]:
    """The percentage of the ready pods behind the Service that are of each side."""
    counts = {str(target.stable): ready(_stable(target, objects))}
    for _, pod in alive(objects):
        if (preview := preview_of(pod)) and is_ready(pod):
            counts[preview] = counts.get(preview, 0) + 1
    if not any(counts.values()):
        return {}
    return dict(zip(counts, apportion(list(counts.values()), 100), strict=True))


def plan(target: Target, objects: Objects, shares: Shares) -> list[Change]:
    """Pods that leave, numbers of replicas that come back, the Service with the numbers of pods, pods that join."""
    service = routed(target, objects)
    wanted = {backend: share for backend, share in shares.items() if share}
    given = _given(target, objects, wanted)
    taking = _affordable(given, len(_stable(target, objects)))
    selector = _selector(target, objects)
    leaves, joins = [], []
    chosen: dict[Ref, str] = {}
    for preview in wanted:
        _check(target, objects, preview, selector)
        for ref, _ in _candidates(objects, preview)[: taking[str(preview)]]:
            chosen[ref] = str(preview)
    for ref, pod in alive(objects):
        belongs = preview_of(pod)
        if belongs and chosen.get(ref) != belongs:
            leaves.append(leave(ref, pod))
        elif ref in chosen and not belongs:
            joins.append(join(ref, pod, chosen[ref], selector))
    changed = copy.deepcopy(objects[service])
    annotate(changed, GIVEN, _written(given) if given else None)
    return [*leaves, *restored(objects, wanted), Put(service, changed), *joins]


def needs(target: Target, objects: Objects, previews: Collection[Backend]) -> list[Need]:
    """Nothing besides."""
    return []


def permissions(target: Target, objects: Objects, previews: Collection[Backend]) -> list[Permission]:
    """The Service by its name; the namespace's pods and the previews' Deployments, which have no names of their own."""
    service, pods = routed(target, objects), _list("", "pods", target, "")
    every = _list("apps", "deployments", target, "")
    return [
        Permission("get", service, "read the record"),
        Permission("update", service, "write the record"),
        Permission("list", pods, "count both sides' pods"),
        Permission("update", pods, "bring the preview's pods in and out"),
        Permission("list", _slices(target), "see who gets requests"),
        Permission("list", every, "find the preview's number of pods"),
        Permission("update", every, "give the preview as many pods as its share takes"),
    ]


def unreachable(target: Target, objects: Objects, shares: Shares) -> str:
    """Which percentages are near, and how many pods these would take."""
    settings: Settings = target.route
    wanted = {str(backend): share for backend, share in shares.items() if share}
    return out_of_reach(ready(_stable(target, objects)), wanted, settings.tolerance)


def room(target: Target, objects: Objects, shares: Shares) -> Room:
    """As many replicas of each preview's Deployment as its share takes, and these ready."""
    wanted = {backend: share for backend, share in shares.items() if share}
    given = _given(target, objects, wanted)
    changes: list[Change] = []
    missing = ""
    for preview in wanted:
        _check(target, objects, preview, _selector(target, objects))
        pods, there = given[str(preview)].pods, ready(pod for _, pod in _candidates(objects, preview))
        if there < pods:
            missing = missing or f"{there} of {pods} pods of {preview} are ready"
            changes += scaled(objects, preview, pods)
    return Room(changes, missing)


def settled(target: Target, objects: Objects) -> str:
    """Whether the endpoints of the Service are those that were brought in, and nobody who has left."""
    endpoints = {
        endpoint["targetRef"]["name"]
        for piece in objects.get(_slices(target), {}).get("items") or []
        for endpoint in piece.get("endpoints") or []
        if (endpoint.get("conditions") or {}).get("ready", True) and "targetRef" in endpoint
    }
    taking_part: dict[str, int] = {}
    for ref, pod in alive(objects):
        preview = preview_of(pod)
        if preview and ref.name in endpoints:
            taking_part[preview] = taking_part.get(preview, 0) + 1
        elif not preview and PREVIEW in (pod["metadata"].get("labels") or {}) and ref.name in endpoints:
            return f"pod {ref.name} has left, and is still among the endpoints of {target.stable}"
    given = _remembered(objects[routed(target, objects)])
    for preview, wanted in _affordable(given, len(_stable(target, objects))).items():
        if (there := taking_part.get(preview, 0)) < wanted:
            return f"{there} of {wanted} pods of {preview} are endpoints of {target.stable}"
    return ""


def _list(group: str, resource: str, target: Target, labels: str) -> Ref:
    return Ref(group=group, resource=resource, namespace=target.stable.namespace, name="", labels=labels)


def _slices(target: Target) -> Ref:
    return _list("discovery.k8s.io", "endpointslices", target, f"{SERVICE_NAME}={target.stable.service}")


def _selector(target: Target, objects: Objects) -> dict[str, str]:
    service = routed(target, objects)
    selector: dict[str, str] = objects[service]["spec"].get("selector") or {}
    if not selector:
        raise ConfigError(f"{service} has no selector, so no pod can be brought behind it")
    return selector


def _stable(target: Target, objects: Objects) -> list[Object]:
    """Production's pods behind the Service."""
    selector = _selector(target, objects)
    return [pod for _, pod in alive(objects) if bears(pod, selector) and not preview_of(pod)]


def _candidates(objects: Objects, preview: Backend) -> list[tuple[Ref, Object]]:
    """The preview's pods: ready ones first, then those that take part already, then by name."""
    own = [(ref, pod) for ref, pod in alive(objects) if bears(pod, {PREVIEW: preview.service})]
    return sorted(own, key=lambda entry: (not is_ready(entry[1]), not preview_of(entry[1]), entry[0].name))


def _check(target: Target, objects: Objects, preview: Backend, selector: Mapping[str, str]) -> None:
    """That the preview's pods can be brought in, and are not in already; raises `ConfigError`."""
    service = routed(target, objects)
    if preview.namespace != target.stable.namespace:
        raise ConfigError(
            f"traffic.pods: the preview {preview} must live in {target.stable.namespace}, since a Service only has "
            f"pods of its own namespace; write preview.namespace: {target.stable.namespace}"
        )
    for ref, pod in _candidates(objects, preview):
        if bears(pod, selector) and not preview_of(pod):
            raise ConfigError(f"{ref} is of {preview}, and {service} selects it by itself; give it other labels")
    for ref, deployment in deployments(objects, preview):
        own = deployment["spec"]["selector"].get("matchLabels") or {}
        if clash := [key for key, value in selector.items() if own.get(key, value) != value]:
            raise ConfigError(
                f"{ref} selects its pods by {clash[0]}={own[clash[0]]}, and {service} by "
                f"{clash[0]}={selector[clash[0]]}, so none can be of both; let the Deployment and the Service of the "
                f"preview select by {PREVIEW} ({preview.service}), which `preview` puts on them"
            )


def _given(target: Target, objects: Objects, wanted: Shares) -> dict[str, Counted]:
    """How many pods each preview gets for its percentage: settled once, when the percentages are."""
    asked = {str(backend): share for backend, share in wanted.items()}
    remembered = _remembered(objects[routed(target, objects)])
    if asked == {key: entry.weight for key, entry in remembered.items()}:
        return remembered
    return count(ready(_stable(target, objects)), asked)


def _affordable(given: Mapping[str, Counted], stable: int) -> dict[str, int]:
    """How many of these pods may take part: fewer where production has lost pods, never more where it has gained."""
    if all(stable >= entry.beside for entry in given.values()):
        return {preview: entry.pods for preview, entry in given.items()}
    now = count(stable, {preview: entry.weight for preview, entry in given.items()})
    return {preview: min(entry.pods, now[preview].pods) for preview, entry in given.items()}


def _remembered(service: Object) -> dict[str, Counted]:
    text = (service["metadata"].get("annotations") or {}).get(GIVEN)
    if text is None:
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, Counted])
    except msgspec.MsgspecError as error:
        where = f"{service['metadata'].get('namespace')}/{service['metadata']['name']}"
        raise ConfigError(f"Service {where}: annotation {GIVEN} can't be read ({error}); delete it") from error


def _written(given: Mapping[str, Counted]) -> str:
    return json.dumps(given, separators=(",", ":"))
