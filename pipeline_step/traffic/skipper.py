"""Skipper: the weights of one route's backends in a RouteGroup.

A preview of another namespace is named by its address, since Services are those of the RouteGroup's own.
https://opensource.zalando.com/skipper/kubernetes/routegroups/#gradual-traffic-switching
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated

from pipeline_step.model import Backend, Object
from pipeline_step.settings import Label, Strict, says
from pipeline_step.traffic import interface
from pipeline_step.traffic.listed import Kind, Listed, Part, Write, even_or_none
from pipeline_step.traffic.weighted import Key

ADDRESS = re.compile(r"http://([^.:/]+)\.([^.:/]+)\.svc\.cluster\.local(?::([0-9]+))?")
OURS = "pipeline-step-"
"""What the names of backends begin with that this router adds."""


class Settings(Strict, frozen=True):
    """The RouteGroup, and where several of its routes lead to stable also which: its path, or defaultBackends."""

    route_group: Annotated[str, says("the RouteGroup")]
    namespace: Annotated[Label | None, says("its namespace, where it is not production's")] = None
    route: Annotated[str, says("its path or defaultBackends, where several lead to production")] = ""


def _parts(group: Object) -> Iterator[Part]:
    """Every list of references to backends, each reference beside what the backend is while we work with it."""
    spec = group["spec"]
    named = {backend["name"]: backend for backend in spec.get("backends") or []}
    lists = [("defaultBackends", spec, "defaultBackends")]
    for index, route in enumerate(spec.get("routes") or []):
        path = next((route[key] for key in ("path", "pathSubtree", "pathRegexp") if key in route), f"routes[{index}]")
        lists.append((path, route, "backends"))
    for label, holder, key in lists:
        if holder.get(key):
            found = [{**reference, "backend": named.get(reference["backendName"], {})} for reference in holder[key]]
            yield Part(label, found, _writer(spec, holder, key))


def _writer(spec: Object, holder: Object, key: str) -> Write:
    def write(entries: list[Object]) -> None:
        users = [backend for backend in spec["backends"] if not backend["name"].startswith(OURS)]
        ours = {e["backendName"]: e["backend"] for e in entries if e["backendName"].startswith(OURS)}
        spec["backends"] = users + list(ours.values())
        holder[key] = [{name: value for name, value in entry.items() if name != "backend"} for entry in entries]

    return write


def _backend(entry: Object, namespace: str) -> Backend | None:
    backend = entry["backend"]
    if backend.get("type") == "service":
        return Backend(service=backend["serviceName"], namespace=namespace, port=backend.get("servicePort"))
    if address := ADDRESS.fullmatch(backend.get("address", "")):
        return Backend(service=address[1], namespace=address[2], port=int(address[3] or 80))
    return None


def _entry(key: Key, beside: Object, namespace: str) -> Object:
    service, home = key.host.split(".")[:2]
    backend = {"name": f"{OURS}{service}-{home}", "type": "service", "serviceName": service, "servicePort": key.port}
    if home != namespace:
        backend = {"name": backend["name"], "type": "network", "address": f"http://{key.host}:{key.port}"}
    return {"backendName": backend["name"], "backend": backend}


ROUTE = Listed(
    router="skipper",
    kinds={
        "route_group": Kind(
            kind="RouteGroup",
            group="zalando.org",
            resource="routegroups",
            parts=_parts,
            backend=_backend,
            entry=_entry,
            numbers=even_or_none,
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
