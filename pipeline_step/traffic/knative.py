"""Knative: the percentages of a Knative Service's or a Route's traffic.

In a Route a backend is a Configuration; in a Service it is a Revision, or the Service itself by its latest one.
https://knative.dev/docs/serving/traffic-management/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pipeline_step.model import Backend, Object
from pipeline_step.settings import Label, Strict, says
from pipeline_step.traffic import interface
from pipeline_step.traffic.listed import Kind, Listed, Part, even_or_none, exactly_one, part_among
from pipeline_step.traffic.weighted import Key

OWN = "ownConfiguration"
"""Whose latest revision it is, where the traffic of a Knative Service leaves it out; only while we work with it."""


class Settings(Strict, frozen=True):
    """The Knative Service or the Route."""

    service: Annotated[str, says("the Knative Service")] = ""
    serving_route: Annotated[str, says("the Route, instead")] = ""
    namespace: Annotated[Label | None, says("its namespace, where it is not production's")] = None

    def __post_init__(self) -> None:
        exactly_one(self, "service", "serving_route")


def _parts(obj: Object) -> Iterator[Part]:
    """Percentages are called weights while we work with them; what only gives a revision a tag has no share."""
    own = {OWN: obj["metadata"]["name"]}
    part = part_among(obj["spec"], "traffic", "traffic", lambda target: "percent" in target or "tag" not in target)

    def write(entries: list[Object]) -> None:
        plain = [{key: value for key, value in entry.items() if key != OWN} for entry in entries]
        part.write([_renamed(entry, "weight", "percent") for entry in plain])

    shared = [_renamed(target, "percent", "weight") for target in part.destinations]
    yield Part("traffic", [{**target, **(own if target.get("latestRevision") else {})} for target in shared], write)


def _renamed(target: Object, key: str, name: str) -> Object:
    return {name if found == key else found: value for found, value in target.items()}


def _backend(target: Object, namespace: str) -> Backend | None:
    name = target.get("configurationName") or target.get("revisionName") or target.get(OWN)
    return Backend(service=name, namespace=namespace) if name else None


def _entry(key: Key, beside: Object, namespace: str) -> Object:
    name = key.host.split(".")[0]
    if "configurationName" in beside:
        return {"configurationName": name, "latestRevision": True}
    return {"revisionName": name, "latestRevision": False}


def _elsewhere(settings: Settings) -> str:
    return "Knative shares requests between revisions of one namespace only; let previews live there"


def _kind(kind: str, resource: str) -> Kind:
    return Kind(
        kind=kind,
        group="serving.knative.dev",
        resource=resource,
        parts=_parts,
        backend=_backend,
        entry=_entry,
        numbers=even_or_none,
        elsewhere=_elsewhere,
    )


ROUTE = Listed(
    router="knative",
    kinds={"service": _kind("Service", "services"), "serving_route": _kind("Route", "routes")},
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
