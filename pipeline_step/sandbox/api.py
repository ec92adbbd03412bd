"""The Kubernetes-shaped API over plain HTTP: paths, verbs and bodies to and from the `Registry`."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from pipeline_step.sandbox import bodies, discovery, proxy, refusals, watching
from pipeline_step.sandbox.access import Access, Call
from pipeline_step.sandbox.objects import Objects
from pipeline_step.sandbox.registry import Registry
from pipeline_step.sandbox.routes import Route, parse, verb_of


@dataclass(frozen=True, kw_only=True)
class Request:
    """One served request, as `Sandbox.requests` keeps it. `resource` carries the subresource."""

    verb: str
    group: str
    resource: str
    namespace: str
    name: str
    user_agent: str
    status: int
    method: str
    path: str
    at: float


class Api:
    """The HTTP handler. Every request goes through `handle`; `requests` keeps what was asked."""

    def __init__(self, registry: Registry, access: Access, logs: Callable[[str, str, str], str]) -> None:
        self.store = registry.store
        self.access = access
        self.requests: list[Request] = []
        self._logs = logs
        self._objects = Objects(registry)
        self._proxy = proxy.Proxy(registry.store)

    def application(self) -> web.Application:
        """The aiohttp application that serves the API."""
        app = web.Application(client_max_size=8 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self.handle)

        async def stop(_: web.Application) -> None:
            await self._proxy.close()

        app[watching.WATCHERS] = set()
        app.on_shutdown.append(watching.end_all)
        app.on_cleanup.append(stop)
        return app

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request; a refusal becomes its Status body."""
        route: Route | None = None
        verb = request.method.lower()
        code = 500
        try:
            path = request.rel_url.raw_path
            route = parse(path)
            if route is None:
                response: web.StreamResponse = await self._unrouted(request, path)
            else:
                verb = verb_of(request, route)
                response = await self._routed(request, route, verb)
            code = response.status
            return response
        except refusals.ApiError as error:
            code = error.code
            return web.json_response(error.status(), status=error.code)
        except ConnectionResetError:
            code = 499
            raise
        finally:
            self._log(request, route, verb, code)

    def _log(self, request: web.Request, route: Route | None, verb: str, code: int) -> None:
        call = route.call(verb) if route else Call(verb=verb, group="", resource="", namespace="", name="")
        self.requests.append(
            Request(
                verb=verb,
                group=call.group,
                resource=call.resource,
                namespace=call.namespace,
                name=call.name,
                user_agent=request.headers.get("User-Agent", ""),
                status=code,
                method=request.method,
                path=request.path_qs,
                at=time.time(),
            )
        )

    async def _unrouted(self, request: web.Request, path: str) -> web.Response:
        if path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" and request.method == "POST":
            return web.json_response(self.access.review(await bodies.read(request)), status=201)
        if path in ("/healthz", "/livez", "/readyz"):
            return web.Response(text="ok")
        found = discovery.answer(path)
        if found is None:
            return web.Response(text="404 page not found\n", status=404)
        return web.json_response(found)

    async def _routed(self, request: web.Request, route: Route, verb: str) -> web.StreamResponse:
        call = route.call(verb)
        failure = self.access.failure(call)
        if failure:
            return _failed(failure.code, failure.retry_after)
        self.access.check(call)
        if route.subresource == "proxy":
            return await self._proxy.forward(request, route.kind, route.namespace, route.name, route.rest)
        if route.subresource == "log":
            self.store.get(route.kind, route.namespace, route.name)
            container = request.query.get("container", "")
            return web.Response(text=self._logs(route.namespace, route.name, container))
        if verb == "watch":
            return await watching.serve(request, self.store, route)
        return await self._objects.serve(request, route, verb)


def _failed(code: int, retry_after: int | None) -> web.Response:
    reasons = {
        401: ("Unauthorized", "Unauthorized"),
        429: ("TooManyRequests", "Too many requests, please try again later."),
        503: ("ServiceUnavailable", "the server is currently unable to handle the request"),
    }
    reason, message = reasons.get(code, ("InternalError", "an error on the server has prevented the request"))
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return web.json_response(refusals.ApiError(code, reason, message).status(), status=code, headers=headers)
