"""Watches over HTTP: every change after a version, in order, as newline-delimited JSON."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web

from pipeline_step.sandbox import refusals, selection
from pipeline_step.sandbox.routes import Route
from pipeline_step.sandbox.selection import Matcher
from pipeline_step.sandbox.store import Event, Store

Obj = dict[str, Any]
WATCHERS: web.AppKey[set[asyncio.Task[Any]]] = web.AppKey("watchers")


async def end_all(app: web.Application) -> None:
    """End every watch that is open, as a server that shuts down does."""
    watchers = app[WATCHERS]
    for task in tuple(watchers):
        task.cancel()


def matcher(request: web.Request) -> Matcher:
    """What the selectors of a request let through."""
    by_label = selection.labels(request.query.get("labelSelector", ""))
    by_field = selection.fields(request.query.get("fieldSelector", ""))
    return lambda obj: by_label(obj) and by_field(obj)


def seen(event: Event, route: Route, matches: Matcher) -> tuple[str, Obj] | None:
    """How a change looks through a watch's scope and selectors: its type and object, or None."""
    meta = event.object["metadata"]
    if event.kind != route.kind or route.namespace not in ("", meta.get("namespace", "")):
        return None
    if route.name and meta["name"] != route.name:
        return None
    was = event.before is not None and matches(event.before)
    now = event.type != "DELETED" and matches(event.object)
    if not was and not now:
        return None
    kind = "MODIFIED" if was and now else "ADDED" if now else "DELETED"
    return kind, event.object


async def serve(request: web.Request, store: Store, route: Route) -> web.StreamResponse:
    """Stream the events of a watch until its timeout or until the client goes."""
    matches = matcher(request)
    since = _version(request.query.get("resourceVersion", ""))
    initial = since is None or request.query.get("sendInitialEvents") == "true"
    queue: asyncio.Queue[Event] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    existing: list[Obj] = []
    watchers = request.app[WATCHERS]
    task = asyncio.current_task()
    assert task is not None
    watchers.add(task)

    def hear(event: Event) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, event)

    with store.lock:
        version = store.version
        if initial:
            existing = [obj for obj in store.list(route.kind, route.namespace) if matches(obj)]
        stop = store.subscribe(hear, None if initial else since)
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    try:
        await response.prepare(request)
        for obj in existing:
            if not route.name or obj["metadata"]["name"] == route.name:
                await _send(response, "ADDED", obj, route)
        if request.query.get("sendInitialEvents") == "true":
            await _send(response, "BOOKMARK", _bookmark(version), route)
        async with asyncio.timeout(float(request.query.get("timeoutSeconds", "1800"))):
            while True:
                change = seen(await queue.get(), route, matches)
                if change:
                    await _send(response, *change, route)
    except (TimeoutError, ConnectionResetError):
        return response
    finally:
        watchers.discard(task)
        stop()


def _version(text: str) -> int | None:
    if text in ("", "0"):
        return None
    if not text.isdigit():
        raise refusals.bad_request(f'Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax')
    return int(text)


def _bookmark(version: int) -> Obj:
    annotations = {"k8s.io/initial-events-end": "true"}
    return {"metadata": {"resourceVersion": str(version), "annotations": annotations}}


async def _send(response: web.StreamResponse, kind: str, obj: Obj, route: Route) -> None:
    shown = {"kind": route.kind.kind, **obj, "apiVersion": route.kind.api_version(route.version)}
    await response.write(json.dumps({"type": kind, "object": shown}).encode() + b"\n")
