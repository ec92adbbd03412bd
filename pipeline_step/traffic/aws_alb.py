"""AWS Load Balancer Controller: the weights of one forward action, which is JSON in an annotation of the Ingress.

https://kubernetes-sigs.github.io/aws-load-balancer-controller/latest/guide/ingress/annotations/#actions
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Annotated, Any

from pipeline_step.model import Backend, Object
from pipeline_step.settings import Label, Strict, says
from pipeline_step.traffic import interface
from pipeline_step.traffic.listed import Kind, Listed, Part, Write, read_json
from pipeline_step.traffic.weighted import Key, annotate

ACTION = "alb.ingress.kubernetes.io/actions."
ORIGINAL = "pipeline-step.dev/aws-alb-original"
TEXT = "pipeline-step.dev/aws-alb-text"
"""The user's own JSON as it was written, which comes back with its spaces and line breaks."""


class Settings(Strict, frozen=True):
    """The Ingress, and where several of its actions lead to stable also the action's name."""

    ingress: Annotated[str, says("the Ingress with the action in an annotation")]
    namespace: Annotated[Label | None, says("its namespace, where it is not production's")] = None
    route: Annotated[str, says("the action's name, where several lead to production")] = ""


def _parts(ingress: Object) -> Iterator[Part]:
    """The target groups of every action that forwards; keys may be in any case, as the controller reads them."""
    metadata = ingress["metadata"]
    for name, text in list((metadata.get("annotations") or {}).items()):
        if not name.startswith(ACTION):
            continue
        action = read_json(text, f"Ingress {metadata.get('namespace')}/{metadata['name']}: annotation {name}")
        forward = action.get(_spelt(action, "forwardConfig"))
        groups = (forward or {}).get(_spelt(forward or {}, "targetGroups"))
        if groups:
            named = [{_plain(key): value for key, value in group.items()} for group in groups]
            yield Part(name.removeprefix(ACTION), named, _writer(ingress, name, action, groups))


def _writer(ingress: Object, name: str, action: Object, groups: list[Object]) -> Write:
    spelling = {_plain(key): key for group in groups for key in group}
    if spelling.get("serviceName") == "ServiceName":
        spelling.setdefault("weight", "Weight")

    def write(entries: list[Object]) -> None:
        annotations = ingress["metadata"]["annotations"]
        before = annotations.get(TEXT, annotations[name])
        groups[:] = [{spelling.get(key, key): value for key, value in entry.items()} for entry in entries]
        same = json.loads(before) == action
        given = ORIGINAL in annotations
        annotations[name] = before if same and not given else json.dumps(action, separators=(",", ":"))
        annotate(ingress, TEXT, before if given else None)

    return write


def _spelt(mapping: Object, key: str) -> str:
    return next((found for found in mapping if found.lower() == key.lower()), key)


def _plain(key: str) -> str:
    return key[:1].lower() + key[1:]


def _backend(group: Object, namespace: str) -> Backend | None:
    """Services are of the Ingress's own namespace; a target group that is named by its ARN is none."""
    if "serviceName" not in group:
        return None
    port: Any = group.get("servicePort")
    return Backend(service=group["serviceName"], namespace=namespace, port=int(port) if str(port).isdigit() else None)


def _entry(key: Key, beside: Object, namespace: str) -> Object:
    """As stable's own, with its port as a number or as text, whichever it is."""
    entry = {**beside, "serviceName": key.host.split(".")[0]}
    if key.port:
        entry["servicePort"] = str(key.port) if isinstance(beside.get("servicePort"), str) else key.port
    return entry


def _elsewhere(settings: Settings) -> str:
    return "an action names Services of the Ingress's own namespace only; let previews live there (preview.namespace)"


ROUTE = Listed(
    router="aws_alb",
    kinds={
        "ingress": Kind(
            kind="Ingress",
            group="networking.k8s.io",
            resource="ingresses",
            parts=_parts,
            backend=_backend,
            entry=_entry,
            elsewhere=_elsewhere,
            most=5,
        )
    },
)
resources = ROUTE.resources
routed = ROUTE.routed
weights = ROUTE.weights
plan = ROUTE.plan
needs = ROUTE.needs
permissions = ROUTE.permissions
unreachable = ROUTE.unreachable
room = interface.no_room_needed
settled = interface.says_nothing
