"""The verbs of the API on objects: bodies and parameters of a request to calls of the `Registry`."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from pipeline_step.sandbox import apply, bodies, patch, refusals, tables, watching
from pipeline_step.sandbox.managed_fields import Writer
from pipeline_step.sandbox.registry import Registry
from pipeline_step.sandbox.routes import Route

Obj = dict[str, Any]
_STRATEGIC = bodies.STRATEGIC
_PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/apply-patch+yaml",
)


class Objects:
    """Handlers of get, list, create, update, patch, delete and deletecollection."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.store = registry.store

    async def serve(self, request: web.Request, route: Route, verb: str) -> web.Response:
        """Do what the verb says and answer with the object, the list or the status."""
        handlers: dict[str, Callable[[web.Request, Route], Awaitable[tuple[int, Obj]]]] = {
            "get": self._get,
            "list": self._list,
            "create": self._create,
            "update": self._update,
            "patch": self._patch,
            "delete": self._delete,
            "deletecollection": self._delete_collection,
        }
        code, body = await handlers[verb](request, route)
        if verb in ("get", "list") and not route.subresource and tables.wanted(request):
            body = tables.render(route.kind, body)
        return web.Response(text=json.dumps(body), status=code, content_type="application/json")

    async def _get(self, request: web.Request, route: Route) -> tuple[int, Obj]:
        found = self.store.get(route.kind, route.namespace, route.name)
        return 200, _shown(found, route)

    async def _list(self, request: web.Request, route: Route) -> tuple[int, Obj]:
        matches = watching.matcher(request)
        objects, version = self.store.snapshot(route.kind, route.namespace)
        items = [_shown(obj, route) for obj in objects if matches(obj)]
        if route.kind.typed and not tables.wanted(request):
            items = [{k: v for k, v in item.items() if k not in ("apiVersion", "kind")} for item in items]
        return 200, {
            "kind": f"{route.kind.kind}List",
            "apiVersion": route.kind.api_version(route.version),
            "metadata": {"resourceVersion": str(version)},
            "items": items,
        }

    async def _create(self, request: web.Request, route: Route) -> tuple[int, Obj]:
        body = bodies.typed(await bodies.read(request), route)
        made = self.registry.create(
            route.kind,
            route.namespace,
            body,
            version=route.version,
            manager=bodies.manager(request),
            dry_run=bodies.dry_run(request),
        )
        return 201, _shown(made, route)

    async def _update(self, request: web.Request, route: Route) -> tuple[int, Obj]:
        body = bodies.typed(await bodies.read(request), route)
        missing = self.store.find(route.kind, route.namespace, route.name) is None
        if missing and route.kind.create_on_update:
            return await self._create_by_put(request, route, body)
        made = self._write(request, route, lambda _: body)
        return 200, _shown(made, route)

    async def _create_by_put(self, request: web.Request, route: Route, body: Obj) -> tuple[int, Obj]:
        meta = {k: v for k, v in body.get("metadata", {}).items() if k != "resourceVersion"}
        body = {**body, "metadata": {**meta, "name": route.name}}
        return 201, self.registry.create(
            route.kind, route.namespace, body, version=route.version, manager=bodies.manager(request)
        )

    def _write(self, request: web.Request, route: Route, change: Callable[[Obj], Obj], track: bool = True) -> Obj:
        if route.subresource == "scale":
            return self._write_scale(request, route, change)
        return self.registry.update(
            route.kind,
            route.namespace,
            route.name,
            change,
            subresource=route.subresource,
            version=route.version,
            manager=bodies.manager(request),
            track=track,
            dry_run=bodies.dry_run(request),
        )

    def _write_scale(self, request: web.Request, route: Route, change: Callable[[Obj], Obj]) -> Obj:
        def scaled(obj: Obj) -> Obj:
            wanted = change(_scale(obj))
            obj["spec"]["replicas"] = (wanted.get("spec") or {}).get("replicas", 0)
            return obj

        return self.registry.update(
            route.kind,
            route.namespace,
            route.name,
            scaled,
            version=route.version,
            manager=bodies.manager(request),
            dry_run=bodies.dry_run(request),
        )

    async def _patch(self, request: web.Request, route: Route) -> tuple[int, Obj]:
        media = request.content_type
        accepted = (*_PATCHES, _STRATEGIC) if route.kind.typed else _PATCHES
        if media not in accepted:
            message = "the body of the request was in an unknown format - accepted media types include: "
            raise refusals.ApiError(415, "UnsupportedMediaType", message + ", ".join(accepted))
        body = await bodies.read(request)
        if media == "application/apply-patch+yaml":
            return self._apply(request, route, body)

        def change(obj: Obj) -> Obj:
            if media == "application/json-patch+json":
                patched: Obj = patch.json_patch(obj, body)
                return patched
            if media == "application/merge-patch+json":
                merged: Obj = patch.merge(obj, body)
                return merged
            mixed: Obj = patch.strategic(route.kind, obj, body)
            return mixed

        return 200, _shown(self._write(request, route, change), route)

    def _apply(self, request: web.Request, route: Route, body: Obj) -> tuple[int, Obj]:
        manager = request.query.get("fieldManager")
        if not manager:
            raise refusals.no_manager()
        bodies.typed(body, route)
        if (body.get("metadata") or {}).get("managedFields"):
            raise refusals.bad_request("metadata.managedFields must be nil")
        writer = Writer(manager, route.kind.api_version(route.version), route.subresource)
        force = request.query.get("force") in ("true", "1")

        def change(live: Obj) -> Obj:
            return apply.apply(route.kind, live, body, writer, force)

        with self.store.lock:
            if self.store.find(route.kind, route.namespace, route.name):
                return 200, _shown(self._write(request, route, change, track=False), route)
            blank = {"metadata": {"name": route.name}}
            made = self.registry.create(
                route.kind, route.namespace, change(blank), track=False, dry_run=bodies.dry_run(request)
            )
            return 201, _shown(made, route)

    async def _delete(self, request: web.Request, route: Route) -> tuple[int, Obj]:
        options = await bodies.delete_options(request)
        last, gone = self.registry.delete(route.kind, route.namespace, route.name, options)
        if not gone or route.kind.plural == "pods":
            return 200, _shown(last, route)
        details = {"name": route.name, "group": route.kind.group, "kind": route.kind.plural}
        details["uid"] = last["metadata"]["uid"]
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        return 200, {**status, "details": {k: v for k, v in details.items() if v}}

    async def _delete_collection(self, request: web.Request, route: Route) -> tuple[int, Obj]:
        options = await bodies.delete_options(request)
        matches = watching.matcher(request)
        code, body = await self._list(request, route)
        for obj in self.store.list(route.kind, route.namespace):
            if matches(obj):
                meta = obj["metadata"]
                self.registry.delete(route.kind, meta.get("namespace", ""), meta["name"], options)
        return code, body


def _shown(obj: Obj, route: Route) -> Obj:
    if route.subresource == "scale":
        return _scale(obj)
    return {**obj, "apiVersion": route.kind.api_version(route.version)}


def _scale(obj: Obj) -> Obj:
    meta = obj["metadata"]
    names = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    labels = (obj["spec"].get("selector") or {}).get("matchLabels") or {}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: meta[name] for name in names},
        "spec": {"replicas": obj["spec"]["replicas"]},
        "status": {
            "replicas": (obj.get("status") or {}).get("replicas", 0),
            "selector": ",".join(f"{key}={value}" for key, value in labels.items()),
        },
    }
