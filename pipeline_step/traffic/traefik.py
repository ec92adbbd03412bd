"""Traefik: the weights of one route's services in an IngressRoute, or of a weighted TraefikService.

https://doc.traefik.io/traefik/reference/routing-configuration/kubernetes/crd/http/traefikservice/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pipeline_step.model import Backend, Object
from pipeline_step.settings import Label, Strict, says
from pipeline_step.traffic import interface
from pipeline_step.traffic.listed import Kind, Listed, Part, exactly_one, part_of
from pipeline_step.traffic.weighted import Key


class Settings(Strict, frozen=True):
    """The IngressRoute or TraefikService; where several routes of an IngressRoute lead to stable also one's `match`.

    `cross_namespace` says that Traefik runs with `allowCrossNamespace`, which can't be seen from outside.
    """

    ingress_route: Annotated[str, says("the IngressRoute")] = ""
    traefik_service: Annotated[str, says("the weighted TraefikService, instead")] = ""
    namespace: Annotated[Label | None, says("its namespace, where it is not production's")] = None
    route: Annotated[str, says("the route's match, where several lead to production")] = ""
    cross_namespace: Annotated[bool, says("Traefik runs with allowCrossNamespace")] = False

    def __post_init__(self) -> None:
        exactly_one(self, "ingress_route", "traefik_service")


def _routes(ingress_route: Object) -> Iterator[Part]:
    for route in ingress_route["spec"].get("routes") or []:
        yield part_of(route, "services", route.get("match", ""))


def _weighted(traefik_service: Object) -> Iterator[Part]:
    if found := traefik_service["spec"].get("weighted"):
        yield part_of(found, "services", "weighted")


def _backend(service: Object, namespace: str) -> Backend | None:
    """A port may be a name, which every Service of the route then has."""
    if service.get("kind", "Service") != "Service":
        return None
    port = service.get("port")
    home = service.get("namespace") or namespace
    return Backend(service=service["name"], namespace=home, port=port if isinstance(port, int) else None)


def _entry(key: Key, beside: Object, namespace: str) -> Object:
    """As stable's own, with its scheme, transport and stickiness."""
    service, home = key.host.split(".")[:2]
    entry = {**beside, "name": service}
    entry.pop("namespace", None)
    if home != namespace:
        entry["namespace"] = home
    if key.port:
        entry["port"] = key.port
    return entry


def _elsewhere(settings: Settings) -> str:
    """Without the option Traefik drops the whole route, and production with it."""
    if settings.cross_namespace:
        return ""
    return (
        "Traefik refuses all of a route that names another namespace, unless it runs with "
        "--providers.kubernetescrd.allowCrossNamespace=true; if yours does, write traffic.traefik.cross_namespace: "
        "true, else let previews live in that namespace (preview.namespace)"
    )


def _kind(kind: str, resource: str) -> Kind:
    return Kind(
        kind=kind,
        group="traefik.io",
        resource=resource,
        parts=_routes if kind == "IngressRoute" else _weighted,
        backend=_backend,
        entry=_entry,
        elsewhere=_elsewhere,
    )


ROUTE = Listed(
    router="traefik",
    kinds={
        "ingress_route": _kind("IngressRoute", "ingressroutes"),
        "traefik_service": _kind("TraefikService", "traefikservices"),
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
