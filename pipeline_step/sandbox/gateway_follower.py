"""Keeps Envoy at what the stored objects say: computed anew after every change that matters."""

from __future__ import annotations

import asyncio
from typing import Any

from pipeline_step.sandbox import gateway_routes, gateway_status, mesh, services
from pipeline_step.sandbox.controller import LATER, log
from pipeline_step.sandbox.envoy import Envoy
from pipeline_step.sandbox.kinds import (
    DESTINATION_RULE,
    ENDPOINT_SLICE,
    GATEWAY,
    GATEWAY_API_GATEWAY,
    GRPC_ROUTE,
    HTTP_ROUTE,
    POD,
    REFERENCE_GRANT,
    SERVICE,
    SERVICE_ENTRY,
    VIRTUAL_SERVICE,
)
from pipeline_step.sandbox.registry import Registry
from pipeline_step.sandbox.store import Event, Store

Obj = dict[str, Any]
DEBOUNCE = 0.02
_MESH = (SERVICE, ENDPOINT_SLICE, VIRTUAL_SERVICE, GATEWAY, DESTINATION_RULE, SERVICE_ENTRY)
_FOLLOWED = (*_MESH, GATEWAY_API_GATEWAY, HTTP_ROUTE, GRPC_ROUTE, REFERENCE_GRANT)


class GatewayFollower:
    """`run` follows the store; `shown` tells how far Envoy has been brought.

    Once Envoy has taken them, Gateway API routes are told so in their status.
    """

    def __init__(self, registry: Registry, envoy: Envoy, gateway_address: str) -> None:
        self._registry = registry
        self._store = registry.store
        self._envoy = envoy
        self._address = gateway_address
        self._wanted = 1
        self._applied = 0

    @property
    def shown(self) -> int:
        """The store's version that Envoy has been brought to."""
        with self._store.lock:
            return self._store.version if self._wanted <= self._applied else self._applied

    async def run(self) -> None:
        """Apply what is stored now, then again after each burst of changes."""
        loop = asyncio.get_running_loop()
        dirty = asyncio.Event()
        dirty.set()

        def hear(event: Event) -> None:
            if event.kind in _FOLLOWED:
                self._wanted = event.version
                loop.call_soon_threadsafe(dirty.set)

        stop = self._store.subscribe(hear)
        try:
            while True:
                await dirty.wait()
                await asyncio.sleep(DEBOUNCE)
                dirty.clear()
                try:
                    await self._follow()
                except Exception:
                    log.exception("the gateway keeps its routes: the stored objects cannot be followed")
                    loop.call_later(LATER, dirty.set)
        finally:
            stop()

    async def _follow(self) -> None:
        found, version = topology(self._store)
        await self._envoy.apply(mesh.resources(found, self._address))
        if found.gateway_api:
            gateway_status.write(self._registry, found.gateway_api)
        self._applied = version


def topology(store: Store) -> tuple[mesh.Topology, int]:
    """What the mesh is computed from, as it is stored now, and the version of it."""
    with store.lock:
        found = [s for s in store.list(SERVICE) if s["spec"]["type"] != "ExternalName"]
        endpoints = {
            (s["metadata"]["namespace"], s["metadata"]["name"], int(port["port"])): _endpoints(store, s, port)
            for s in found
            for port in s["spec"].get("ports") or []
        }
        made = mesh.Topology(
            services=found,
            endpoints=endpoints,
            virtual_services=store.list(VIRTUAL_SERVICE),
            gateways=store.list(GATEWAY),
            destination_rules=store.list(DESTINATION_RULE),
            service_entries=store.list(SERVICE_ENTRY),
            gateway_api=gateway_routes.GatewayApi(
                gateways=store.list(GATEWAY_API_GATEWAY),
                routes=[*store.list(HTTP_ROUTE), *store.list(GRPC_ROUTE)],
                grants=store.list(REFERENCE_GRANT),
                services={
                    (s["metadata"]["namespace"], s["metadata"]["name"]): [int(p["port"]) for p in s["spec"]["ports"]]
                    for s in found
                    if s["spec"].get("ports")
                },
            ),
        )
        return made, store.version


def _endpoints(store: Store, service: Obj, port: Obj) -> list[mesh.Endpoint]:
    labels = {
        (pod.get("status") or {}).get("podIP"): pod["metadata"].get("labels") or {}
        for pod in store.list(POD, service["metadata"]["namespace"])
    }
    return [
        mesh.Endpoint(address, number, labels.get(address, {}))
        for address, number in services.ready_addresses(store, service, port)
    ]
