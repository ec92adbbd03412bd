"""Gloo Edge: the weights of one route's destinations in a VirtualService or a RouteTable.

Its successor kgateway follows the Gateway API, and has the router `gateway_api`.
https://docs.solo.io/gloo-edge/latest/guides/traffic_management/destination_types/multi_destination/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pipeline_step.model import Backend, Object
from pipeline_step.settings import Label, Strict, says
from pipeline_step.traffic import interface
from pipeline_step.traffic.listed import Kind, Listed, Part, Write, exactly_one
from pipeline_step.traffic.weighted import Key


class Settings(Strict, frozen=True):
    """The VirtualService or RouteTable, and where several of its routes lead to stable also the route's name."""

    virtual_service: Annotated[str, says("the VirtualService")] = ""
    route_table: Annotated[str, says("the RouteTable, instead")] = ""
    namespace: Annotated[Label | None, says("its namespace, where it is not production's")] = None
    route: Annotated[str, says("the route's name, where several lead to production")] = ""

    def __post_init__(self) -> None:
        exactly_one(self, "virtual_service", "route_table")


def _of_virtual_service(virtual_service: Object) -> Iterator[Part]:
    return _parts(virtual_service["spec"].get("virtualHost", {}).get("routes") or [])


def _of_route_table(table: Object) -> Iterator[Part]:
    return _parts(table["spec"].get("routes") or [])


def _parts(routes: list[Object]) -> Iterator[Part]:
    """Every route with destinations; a single one without a weight stands under a key of its own."""
    for index, route in enumerate(routes):
        action = route.get("routeAction") or {}
        label = route.get("name") or f"routes[{index}]"
        if "single" in action:
            yield Part(label, [{"destination": action["single"]}], _writer(action))
        elif "multi" in action:
            yield Part(label, action["multi"].get("destinations") or [], _writer(action))


def _writer(action: Object) -> Write:
    def write(entries: list[Object]) -> None:
        if len(entries) == 1 and "weight" not in entries[0]:
            action.pop("multi", None)
            action["single"] = entries[0]["destination"]
        else:
            action.pop("single", None)
            action["multi"] = {**action.get("multi", {}), "destinations": entries}

    return write


def _backend(entry: Object, namespace: str) -> Backend | None:
    """A Service where it is named as one (`kube`); an Upstream does not tell which Service it is."""
    kube = entry["destination"].get("kube")
    if not kube:
        return None
    home = kube["ref"].get("namespace") or namespace
    return Backend(service=kube["ref"]["name"], namespace=home, port=kube.get("port"))


def _entry(key: Key, beside: Object, namespace: str) -> Object:
    service, home = key.host.split(".")[:2]
    return {"destination": {"kube": {"ref": {"name": service, "namespace": home}, "port": key.port}}}


def _kind(kind: str, resource: str) -> Kind:
    return Kind(
        kind=kind,
        group="gateway.solo.io",
        resource=resource,
        parts=_of_virtual_service if kind == "VirtualService" else _of_route_table,
        backend=_backend,
        entry=_entry,
    )


ROUTE = Listed(
    router="gloo",
    kinds={
        "virtual_service": _kind("VirtualService", "virtualservices"),
        "route_table": _kind("RouteTable", "routetables"),
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
