"""Kuma and Kong Mesh: the weights of one rule's backendRefs in a MeshHTTPRoute.

https://kuma.io/docs/latest/policies/meshhttproute/
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

from pipeline_step.model import Backend, Object
from pipeline_step.settings import Label, Strict, says
from pipeline_step.traffic import interface
from pipeline_step.traffic.listed import Kind, Listed, Part, part_of
from pipeline_step.traffic.weighted import Key

TAG = re.compile(r"([a-z0-9.-]+)_([a-z0-9-]+)_svc_([0-9]+)")
"""How the tag `kuma.io/service` names a port of a Service: SERVICE_NAMESPACE_svc_PORT."""


class Settings(Strict, frozen=True):
    """The MeshHTTPRoute, and where several of its rules lead to stable also which, such as to[0].rules[1]."""

    mesh_http_route: Annotated[str, says("the MeshHTTPRoute")]
    namespace: Annotated[Label | None, says("its namespace, where it is not production's")] = None
    route: Annotated[str, says("which rule, such as to[0].rules[1], where several lead to production")] = ""


def _parts(route: Object) -> Iterator[Part]:
    for number, to in enumerate(route["spec"].get("to") or []):
        for index, rule in enumerate(to.get("rules") or []):
            if default := rule.get("default"):
                label = f"to[{number}].rules[{index}]"
                yield part_of(default, "backendRefs", label)


def _backend(reference: Object, namespace: str) -> Backend | None:
    """By the tag, or as a MeshService with its namespace; one chosen by labels is not told."""
    if not reference.get("kind", "").startswith("MeshService") or "name" not in reference:
        return None
    subset = ",".join(f"{key}={value}" for key, value in sorted((reference.get("tags") or {}).items())) or None
    if tag := TAG.fullmatch(reference["name"]):
        return Backend(service=tag[1], namespace=tag[2], port=int(tag[3]), subset=subset)
    home = reference.get("namespace") or namespace
    return Backend(service=reference["name"], namespace=home, port=reference.get("port"), subset=subset)


def _entry(key: Key, beside: Object, namespace: str) -> Object:
    """In the words of stable's own."""
    service, home = key.host.split(".")[:2]
    if TAG.fullmatch(beside["name"]):
        return {"kind": "MeshService", "name": f"{service}_{home}_svc_{key.port}"}
    place = {} if home == namespace else {"namespace": home}
    return {"kind": "MeshService", "name": service, **place, **({"port": key.port} if key.port else {})}


ROUTE = Listed(
    router="kuma",
    kinds={
        "mesh_http_route": Kind(
            kind="MeshHTTPRoute",
            group="kuma.io",
            resource="meshhttproutes",
            parts=_parts,
            backend=_backend,
            entry=_entry,
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
