"""APISIX: the weights of one rule's backends in an ApisixRoute.

https://apisix.apache.org/docs/ingress-controller/concepts/resources/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pipeline_step.model import Backend, Object
from pipeline_step.settings import Label, Strict, says
from pipeline_step.traffic import interface
from pipeline_step.traffic.listed import Kind, Listed, Part, part_of
from pipeline_step.traffic.weighted import Key, hundredths

UNSAID = 100
"""The weight of a backend that has none."""


class Settings(Strict, frozen=True):
    """The ApisixRoute, and where several of its rules lead to stable also the rule's name."""

    apisix_route: Annotated[str, says("the ApisixRoute")]
    namespace: Annotated[Label | None, says("its namespace, where it is not production's")] = None
    route: Annotated[str, says("the rule's name, where several lead to production")] = ""


def _parts(route: Object) -> Iterator[Part]:
    for kind in ("http", "stream"):
        for rule in route["spec"].get(kind) or []:
            if "backends" in rule:
                yield part_of(rule, "backends", rule.get("name", kind))


def _backend(backend: Object, namespace: str) -> Backend:
    """Services are of the ApisixRoute's own namespace; a port may be a name."""
    port = backend.get("servicePort")
    return Backend(service=backend["serviceName"], namespace=namespace, port=port if isinstance(port, int) else None)


def _entry(key: Key, beside: Object, namespace: str) -> Object:
    """As stable's own, with its granularity and subset."""
    port = {"servicePort": key.port} if key.port else {}
    return {**beside, "serviceName": key.host.split(".")[0], **port}


def _elsewhere(settings: Settings) -> str:
    return (
        "an ApisixRoute names Services of its own namespace only; let previews live there (preview.namespace), or make "
        "a Service of type ExternalName there that leads to the preview and name it in preview.service"
    )


ROUTE = Listed(
    router="apisix",
    kinds={
        "apisix_route": Kind(
            kind="ApisixRoute",
            group="apisix.apache.org",
            resource="apisixroutes",
            parts=_parts,
            backend=_backend,
            entry=_entry,
            numbers=lambda declared: hundredths([UNSAID if weight is None else weight for weight in declared]),
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
settled = interface.says_nothing
