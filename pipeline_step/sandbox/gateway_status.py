"""Telling Gateway API routes what became of them: their `status.parents`, as a controller writes it."""

from __future__ import annotations

from typing import Any

from pipeline_step.sandbox.gateway_routes import CONTROLLER, GatewayApi, parents
from pipeline_step.sandbox.kinds import GRPC_ROUTE, HTTP_ROUTE
from pipeline_step.sandbox.refusals import ApiError
from pipeline_step.sandbox.registry import Registry, timestamp

Obj = dict[str, Any]


def write(registry: Registry, api: GatewayApi) -> None:
    """Write every route's status where it says something new; a route that is gone meanwhile needs none."""
    for route in api.routes:
        kind = HTTP_ROUTE if route["kind"] == "HTTPRoute" else GRPC_ROUTE
        wanted, said = parents(api, route), (route.get("status") or {}).get("parents") or []
        entries = [entry for entry in said if entry["controllerName"] != CONTROLLER]
        entries += [_timed(entry, said) for entry in wanted]
        if entries == said:
            continue

        def change(obj: Obj, entries: list[Obj] = entries) -> Obj:
            return {**obj, "status": {**(obj.get("status") or {}), "parents": entries}}

        meta = route["metadata"]
        try:
            registry.update(
                kind, meta["namespace"], meta["name"], change, subresource="status", manager="pilot-discovery"
            )
        except ApiError:
            continue


def _timed(entry: Obj, said: list[Obj]) -> Obj:
    """The entry with the times at which its conditions became what they are."""
    before: Obj = next((old for old in said if old["parentRef"] == entry["parentRef"]), {"conditions": []})
    since = {(c["type"], c["status"]): c["lastTransitionTime"] for c in before["conditions"]}
    conditions = [
        {**condition, "lastTransitionTime": since.get((condition["type"], condition["status"]), timestamp())}
        for condition in entry["conditions"]
    ]
    return {**entry, "conditions": conditions}
