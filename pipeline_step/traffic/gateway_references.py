"""How Gateway API objects name each other, and what lets a route name a Service of another namespace. Pure.

https://gateway-api.sigs.k8s.io/api-types/referencegrant/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline_step.model import Backend, Object, Ref
from pipeline_step.traffic.interface import Need
from pipeline_step.traffic.weighted import Key

GROUP = "gateway.networking.k8s.io"
KINDS = {"httproutes": "HTTPRoute", "grpcroutes": "GRPCRoute"}
Reference = Mapping[str, Any]


def kind_of(reference: Reference, group: str, kind: str) -> tuple[str, str]:
    """Group and kind of what is named; `group` and `kind` where the reference leaves them out."""
    return reference.get("group", group), reference.get("kind") or kind


def backend(reference: Reference, namespace: str) -> Backend | None:
    """The Service that a backendRef names, or None for another kind; `namespace` is the route's own."""
    if kind_of(reference, "", "Service") != ("", "Service"):
        return None
    home = reference.get("namespace") or namespace
    return Backend(service=reference["name"], namespace=home, port=reference.get("port"))


def key(reference: Reference, namespace: str) -> Key:
    """What tells a backendRef from the others of its rule."""
    if found := backend(reference, namespace):
        return Key(found.host, found.port or 0)
    group, kind = kind_of(reference, "", "Service")
    home = reference.get("namespace") or namespace
    return Key(f"{kind}.{group}/{home}/{reference['name']}", reference.get("port") or 0)


def entry(wanted: Key, weight: int, namespace: str) -> Object:
    """A backendRef to a preview's Service; the namespace is left out where it is the route's own."""
    service, home = wanted.host.split(".")[:2]
    made: dict[str, Any] = {"name": service}
    if home != namespace:
        made["namespace"] = home
    if wanted.port:
        made["port"] = wanted.port
    return {**made, "weight": weight}


def gateway(route: Ref, parent: Reference) -> Need | None:
    """The Gateway that a parentRef names; None where it names another kind, such as a Service in a mesh."""
    if kind_of(parent, GROUP, "Gateway") != (GROUP, "Gateway"):
        return None
    home = parent.get("namespace") or route.namespace
    return Need(
        ref=Ref(group=GROUP, resource="gateways", namespace=home, name=parent["name"]),
        why=f"{route} names it, and its requests go nowhere without it",
        remedy="create it, or name one that exists",
    )


def grant(route: Ref, preview: Backend) -> Need:
    """A ReferenceGrant in the preview's namespace that lets this kind of route name the preview's Service."""
    kind = KINDS[route.resource]

    def fits(found: Object) -> bool:
        spec = found.get("spec") or {}
        sources = [(source["group"], source["kind"], source["namespace"]) for source in spec.get("from") or []]
        named = [to.get("name") for to in spec.get("to") or [] if (to["group"], to["kind"]) == ("", "Service")]
        return (GROUP, kind, route.namespace) in sources and any(name in (None, "", preview.service) for name in named)

    return Need(
        ref=Ref(group=GROUP, resource="referencegrants", namespace=preview.namespace, name=""),
        why=f"without one that lets {kind}s of {route.namespace} name the Service {preview.service} "
        "its requests are answered with 500",
        remedy=f"create one in {preview.namespace} with from: [{{group: {GROUP}, kind: {kind}, namespace: "
        f'{route.namespace}}}] and to: [{{group: "", kind: Service, name: {preview.service}}}]',
        fits=fits,
    )
