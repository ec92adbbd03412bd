"""OpenShift: the weights of a Route's `to` and of its alternate backends.

https://docs.okd.io/latest/applications/deployments/route-based-deployment-strategies.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pipeline_step.errors import NotReady
from pipeline_step.model import Backend, Object, Target
from pipeline_step.settings import Label, Strict, says
from pipeline_step.traffic import interface
from pipeline_step.traffic.interface import Objects
from pipeline_step.traffic.listed import Kind, Listed, Part
from pipeline_step.traffic.weighted import Key, hundredths

UNSAID = 100
"""The weight of a backend that has none."""


class Settings(Strict, frozen=True):
    """The Route."""

    name: Annotated[str, says("the Route")]
    namespace: Annotated[Label | None, says("its namespace, where it is not production's")] = None


def _parts(route: Object) -> Iterator[Part]:
    spec = route["spec"]

    def write(entries: list[Object]) -> None:
        spec["to"], *others = entries
        spec["alternateBackends"] = others
        if not others:
            del spec["alternateBackends"]

    yield Part("to", [spec["to"], *(spec.get("alternateBackends") or [])], write)


def _backend(backend: Object, namespace: str) -> Backend | None:
    """Services are of the Route's own namespace, and `spec.port` is the port of all of them."""
    return Backend(service=backend["name"], namespace=namespace) if backend.get("kind") == "Service" else None


def _entry(key: Key, beside: Object, namespace: str) -> Object:
    return {"kind": "Service", "name": key.host.split(".")[0]}


def _elsewhere(settings: Settings) -> str:
    return (
        "a Route names Services of its own namespace only; let previews live there (preview.namespace), or make a "
        "Service there whose endpoints are the preview's, and name it in preview.service"
    )


def settled(target: Target, objects: Objects) -> str:
    """Whether a router has admitted the Route; raises `NotReady` where all refuse it."""
    ref = ROUTE.routed(target, objects)
    said = [
        condition
        for ingress in (objects[ref].get("status") or {}).get("ingress") or []
        for condition in ingress.get("conditions") or []
        if condition["type"] == "Admitted"
    ]
    if not said:
        return f"no router has admitted {ref} yet"
    if all(condition["status"] == "False" for condition in said):
        raise NotReady(f"{ref} is not admitted, {said[0].get('reason')}: {said[0].get('message')}")
    return ""


ROUTE = Listed(
    router="openshift",
    kinds={
        "name": Kind(
            kind="Route",
            group="route.openshift.io",
            resource="routes",
            parts=_parts,
            backend=_backend,
            entry=_entry,
            numbers=lambda declared: hundredths([UNSAID if weight is None else weight for weight in declared]),
            elsewhere=_elsewhere,
            most=4,
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
