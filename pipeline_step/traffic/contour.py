"""Contour: the weights of one route's services in an HTTPProxy, or of its TCP proxy.

https://projectcontour.io/docs/main/config/request-routing/#upstream-weighting
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pipeline_step.errors import NotReady
from pipeline_step.model import Backend, Object, Target
from pipeline_step.settings import Label, Strict, says
from pipeline_step.traffic import interface
from pipeline_step.traffic.interface import Objects
from pipeline_step.traffic.listed import Kind, Listed, Part, even_or_none, part_among
from pipeline_step.traffic.weighted import Key


class Settings(Strict, frozen=True):
    """The HTTPProxy, and where several of its routes lead to stable also which, by its conditions."""

    http_proxy: Annotated[str, says("the HTTPProxy")]
    namespace: Annotated[Label | None, says("its namespace, where it is not production's")] = None
    route: Annotated[str, says("the route's conditions, such as /api, where several lead to production")] = ""


def _parts(proxy: Object) -> Iterator[Part]:
    """Every route, by its conditions such as `/api` or `/api header x-beta`, and the TCP proxy."""
    for route in proxy["spec"].get("routes") or []:
        yield _part(route, " ".join(map(_condition, route.get("conditions") or [])) or "/")
    if tcp := proxy["spec"].get("tcpproxy"):
        yield _part(tcp, "tcpproxy")


def _part(holder: Object, label: str) -> Part:
    """A service that mirrors gets copies and no share; its weight means something else."""
    return part_among(holder, "services", label, lambda service: not service.get("mirror"))


def _condition(condition: Object) -> str:
    for kind in ("prefix", "exact", "regex"):
        if kind in condition:
            return str(condition[kind])
    return " ".join(f"{kind} {body.get('name', '')}" for kind, body in condition.items())


def _backend(service: Object, namespace: str) -> Backend:
    """Services are of the HTTPProxy's own namespace."""
    return Backend(service=service["name"], namespace=namespace, port=service.get("port"))


def _entry(key: Key, beside: Object, namespace: str) -> Object:
    """As stable's own, with its protocol and validation."""
    return {**beside, "name": key.host.split(".")[0], "port": key.port}


def _elsewhere(settings: Settings) -> str:
    return (
        "an HTTPProxy names Services of its own namespace only; let previews live there (preview.namespace), or make "
        "a Service of type ExternalName there that leads to the preview, name it in preview.service, and let Contour "
        "take it (enableExternalNameService: true)"
    )


def settled(target: Target, objects: Objects) -> str:
    """Whether Contour calls this generation of the HTTPProxy valid; raises `NotReady` where it does not."""
    ref = ROUTE.routed(target, objects)
    proxy = objects[ref]
    generation = proxy["metadata"].get("generation", 0)
    conditions = (proxy.get("status") or {}).get("conditions") or []
    valid = next((condition for condition in conditions if condition["type"] == "Valid"), None)
    if valid is None or valid.get("observedGeneration", generation) < generation:
        return f"{ref}: Contour has not seen the change yet"
    if valid["status"] != "True":
        errors = "; ".join(error.get("message", "") for error in valid.get("errors") or []) or valid.get("message")
        raise NotReady(f"{ref} is not valid: {errors}")
    return ""


ROUTE = Listed(
    router="contour",
    kinds={
        "http_proxy": Kind(
            kind="HTTPProxy",
            group="projectcontour.io",
            resource="httpproxies",
            parts=_parts,
            backend=_backend,
            entry=_entry,
            numbers=even_or_none,
            elsewhere=_elsewhere,
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
