"""The loop of a controller: changes in the store name keys, each key is brought to its wanted state."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

from pipeline_step.sandbox.refusals import ApiError
from pipeline_step.sandbox.store import Event, Store

Obj = dict[str, Any]
Key = tuple[str, ...]
RETRY = 0.05
LATER = 1.0
log = logging.getLogger("pipeline_step.sandbox")


async def run(store: Store, keys: Callable[[Event], Iterable[Key]], sync: Callable[[Key], float | None]) -> None:
    """Call `sync` for every key that a change names, and again after the seconds that it returns.

    `sync` looks at the present state only, so it may be called at any time; a refusal by the store (an object
    that changed or went meanwhile) is tried again. One object that cannot be dealt with is logged, and does
    not stop the rest.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Key] = asyncio.Queue()
    waiting: set[Key] = set()

    def add(key: Key) -> None:
        if key not in waiting:
            waiting.add(key)
            queue.put_nowait(key)

    def hear(event: Event) -> None:
        for key in keys(event):
            loop.call_soon_threadsafe(add, key)

    stop = store.subscribe(hear, since=0)
    try:
        while True:
            key = await queue.get()
            waiting.discard(key)
            try:
                again = sync(key)
            except ApiError:
                again = RETRY
            except Exception:
                log.exception("a controller failed on %s", "/".join(key))
                again = LATER
            if again is not None:
                loop.call_later(again, add, key)
            await asyncio.sleep(0)
    finally:
        stop()


def owner(obj: Obj, kind: str) -> Obj | None:
    """The controlling ownerReference of that kind, or None."""
    for reference in obj["metadata"].get("ownerReferences") or []:
        if reference.get("controller") and reference["kind"] == kind:
            found: Obj = reference
            return found
    return None


def owned(objects: list[Obj], uid: str) -> list[Obj]:
    """Those of the objects that the object with that uid controls."""
    return [
        obj
        for obj in objects
        if any(r["uid"] == uid and r.get("controller") for r in obj["metadata"].get("ownerReferences") or [])
    ]


def owner_reference(obj: Obj) -> Obj:
    """The controlling ownerReference that points at `obj`."""
    meta = obj["metadata"]
    return {
        "apiVersion": obj["apiVersion"],
        "kind": obj["kind"],
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def condition(obj: Obj, kind: str) -> Obj | None:
    """The status condition of that type, or None."""
    found = (obj.get("status") or {}).get("conditions") or []
    return next((c for c in found if c["type"] == kind), None)


def is_ready(pod: Obj) -> bool:
    """Whether a pod's Ready condition is True."""
    found = condition(pod, "Ready")
    return bool(found and found["status"] == "True")
