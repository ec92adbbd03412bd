"""The pod and service proxies of the API: HTTP requests passed on to a pod's own address."""

from __future__ import annotations

from typing import Any

import aiohttp
from aiohttp import web

from pipeline_step.sandbox import refusals
from pipeline_step.sandbox.kinds import POD, Kind
from pipeline_step.sandbox.services import endpoint_of
from pipeline_step.sandbox.store import Store

Obj = dict[str, Any]
_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "content-encoding"}


def _unavailable(message: str) -> refusals.ApiError:
    return refusals.ApiError(503, "ServiceUnavailable", message)


class Proxy:
    """Forwards `.../pods/NAME:PORT/proxy/PATH` and `.../services/NAME:PORT/proxy/PATH`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._session: aiohttp.ClientSession | None = None

    async def forward(self, request: web.Request, kind: Kind, namespace: str, name: str, rest: str) -> web.Response:
        """Pass the request on and answer with what came back."""
        address, port = self._address(kind, namespace, name)
        query = f"?{request.query_string}" if request.query_string else ""
        url = f"http://{address}:{port}/{rest}{query}"
        headers = {key: value for key, value in request.headers.items() if key.lower() not in _HOP}
        session = self._session or aiohttp.ClientSession(auto_decompress=False)
        self._session = session
        try:
            async with session.request(
                request.method, url, headers=headers, data=await request.read(), allow_redirects=False
            ) as answer:
                kept = {k: v for k, v in answer.headers.items() if k.lower() not in _HOP - {"content-encoding"}}
                return web.Response(status=answer.status, headers=kept, body=await answer.read())
        except aiohttp.ClientError as error:
            raise _unavailable(f"error trying to reach service: dial tcp {address}:{port}: {error}") from error

    async def close(self) -> None:
        """Close the connections that are kept open."""
        if self._session:
            await self._session.close()

    def _address(self, kind: Kind, namespace: str, name: str) -> tuple[str, int]:
        parts = name.split(":")
        if len(parts) == 3:
            parts = parts[1:]
        if kind is not POD:
            service = self._store.get(kind, namespace, parts[0])
            found = endpoint_of(self._store, service, parts[1] if len(parts) > 1 else "")
            if found is None:
                raise _unavailable(f'no endpoints available for service "{parts[0]}"')
            return found
        pod = self._store.get(kind, namespace, parts[0])
        address = (pod.get("status") or {}).get("podIP")
        if not address:
            raise refusals.bad_request("address not allowed")
        return address, _pod_port(pod, parts[1] if len(parts) > 1 else "")


def _pod_port(pod: Obj, wanted: str) -> int:
    if wanted.isdigit():
        return int(wanted)
    ports = [port for container in pod["spec"]["containers"] for port in container.get("ports") or []]
    named = [port for port in ports if not wanted or port.get("name") == wanted]
    if wanted and not named:
        raise refusals.bad_request(f'invalid port "{wanted}"')
    return int(named[0]["containerPort"]) if named else 80
