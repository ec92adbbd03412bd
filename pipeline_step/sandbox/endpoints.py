"""Tells Envoy which pods stand behind its clusters, as istiod does, apart from the clusters themselves (EDS).

A cluster that is replaced whole, because a pod came or went, may begin its counters anew. By file every cluster would
take an inotify instance, of which a user has 128; so Envoy asks over HTTP, and each answer waits until it is news.
https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol#rest-json-polling-subscriptions
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from aiohttp import web

Obj = dict[str, Any]
CLUSTER = "endpoints"  # the bootstrap's cluster that leads here
HOST = "127.0.0.1"
_TYPE = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
_PATH = "/v3/discovery:endpoints"
_SOURCE = {
    "resource_api_version": "V3",
    "api_config_source": {
        "api_type": "REST",
        "transport_api_version": "V3",
        "cluster_names": [CLUSTER],
        "refresh_delay": "0.005s",
        "request_timeout": "86400s",
    },
}


def followed_apart(cluster: Obj) -> Obj:
    """A cluster with endpoints inline as one that asks for them."""
    bare = {key: value for key, value in cluster.items() if key != "load_assignment"}
    return {**bare, "type": "EDS", "eds_cluster_config": {"eds_config": _SOURCE}}


class Endpoints:
    """A server of endpoints by cluster: `start` it, `publish` them as often as they change, `stop` it."""

    def __init__(self) -> None:
        self._published: dict[str, tuple[int, Obj]] = {}
        self._taken: dict[str, int] = {}
        self._version = 0
        self._news = asyncio.Condition()
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Listen; the port."""
        application = web.Application()
        application.router.add_post(_PATH, self._answer)
        self._runner = web.AppRunner(application, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, HOST, 0, backlog=1024)
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    async def stop(self) -> None:
        """Listen no more."""
        if self._runner:
            await self._runner.cleanup()

    async def publish(self, wanted: Mapping[str, Obj]) -> list[str]:
        """Make these the endpoints by cluster; the clusters that had others before."""
        changed = [
            name for name, one in wanted.items() if name not in self._published or self._published[name][1] != one
        ]
        self._version += 1
        kept = {name: self._published[name] for name in wanted if name not in changed}
        async with self._news:
            self._published = {**kept, **{name: (self._version, wanted[name]) for name in changed}}
            self._taken = {name: taken for name, taken in self._taken.items() if name in wanted}
            self._news.notify_all()
        return changed

    async def taken(self, names: Iterable[str]) -> None:
        """Wait until Envoy has taken what was published last for these clusters."""
        wanted = {name: self._published[name][0] for name in names}
        async with self._news:
            await self._news.wait_for(lambda: all(self._taken.get(name, 0) >= wanted[name] for name in wanted))

    async def _answer(self, request: web.Request) -> web.Response:
        """What is published of one cluster, once it is not the version that Envoy says it has taken."""
        asked = await request.json()
        name, held = asked["resource_names"][0], int(asked.get("version_info") or 0)
        async with self._news:
            self._taken[name] = held
            self._news.notify_all()
            await self._news.wait_for(lambda: self._published.get(name, (held,))[0] != held)
            version, assignment = self._published[name]
        resource = {"@type": _TYPE, **assignment}
        return web.json_response({"version_info": str(version), "resources": [resource], "type_url": _TYPE})
