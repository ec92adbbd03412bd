"""What goes when something else goes: dependents of deleted owners, and the content of deleted namespaces."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pipeline_step.sandbox.controller import Key
from pipeline_step.sandbox.kinds import KINDS, NAMESPACE, Kind
from pipeline_step.sandbox.registry import Registry
from pipeline_step.sandbox.store import Event, Store

Obj = dict[str, Any]
_FOREGROUND, _ORPHAN = "foregroundDeletion", "orphan"


def keys(event: Event) -> Iterable[Key]:
    """What a change may make garbage: an owner that goes, a dependent, or a namespace that ends."""
    meta = event.object["metadata"]
    home = meta.get("namespace", "")
    if event.type == "DELETED" or meta.get("deletionTimestamp"):
        yield "owner", meta["uid"], event.kind.group, event.kind.plural, home, meta["name"]
    if event.type == "DELETED":
        for reference in meta.get("ownerReferences") or []:
            yield "waiting", reference["uid"]
        if home:
            yield "namespace", home
    if event.kind is NAMESPACE and meta.get("deletionTimestamp"):
        yield "namespace", meta["name"]


def sync(registry: Registry, key: Key) -> None:
    """Delete what has become garbage."""
    if key[0] == "namespace":
        _namespace(registry, key[1])
    elif key[0] == "waiting":
        for kind, obj in _everything(registry.store):
            if obj["metadata"]["uid"] == key[1] and obj["metadata"].get("deletionTimestamp"):
                _owner(registry, kind, obj)
    else:
        kind = next(k for k in KINDS if (k.group, k.plural) == (key[2], key[3]))
        held = registry.store.find(kind, key[4], key[5])
        if held and held["metadata"]["uid"] == key[1]:
            _owner(registry, kind, held)
        else:
            _gone(registry, key[1])


def _everything(store: Store) -> list[tuple[Kind, Obj]]:
    return [(kind, obj) for kind in KINDS for obj in store.list(kind)]


def dependents(store: Store, uid: str) -> list[tuple[Kind, Obj]]:
    """Every object that names the owner with that uid."""
    return [
        (kind, obj)
        for kind, obj in _everything(store)
        if any(reference["uid"] == uid for reference in obj["metadata"].get("ownerReferences") or [])
    ]


def _gone(registry: Registry, uid: str) -> None:
    """The owner has gone: dependents with no other owner go too, the others lose the reference."""
    for kind, obj in dependents(registry.store, uid):
        others = [r for r in obj["metadata"]["ownerReferences"] if r["uid"] != uid]
        if others:
            _set(registry, kind, obj, ownerReferences=others)
        elif not obj["metadata"].get("deletionTimestamp"):
            meta = obj["metadata"]
            registry.delete(kind, meta.get("namespace", ""), meta["name"])


def _owner(registry: Registry, kind: Kind, obj: Obj) -> None:
    """The owner is going and waits: for its dependents (Foreground), or until they are orphans."""
    meta = obj["metadata"]
    finalizers = meta.get("finalizers") or []
    found = dependents(registry.store, meta["uid"])
    if _ORPHAN in finalizers:
        for child_kind, child in found:
            others = [r for r in child["metadata"]["ownerReferences"] if r["uid"] != meta["uid"]]
            _set(registry, child_kind, child, ownerReferences=others)
        _set(registry, kind, obj, finalizers=[f for f in finalizers if f != _ORPHAN])
    elif _FOREGROUND in finalizers:
        for child_kind, child in found:
            if not child["metadata"].get("deletionTimestamp"):
                options = {"propagationPolicy": "Foreground"}
                home = child["metadata"].get("namespace", "")
                registry.delete(child_kind, home, child["metadata"]["name"], options)
        if not dependents(registry.store, meta["uid"]):
            _set(registry, kind, obj, finalizers=[f for f in finalizers if f != _FOREGROUND])


def _set(registry: Registry, kind: Kind, obj: Obj, **fields: list[Any]) -> None:
    meta = obj["metadata"]

    def change(live: Obj) -> Obj:
        live["metadata"].update(fields)
        for name in [name for name, value in fields.items() if not value]:
            del live["metadata"][name]
        return live

    registry.update(kind, meta.get("namespace", ""), meta["name"], change, track=False)


def _namespace(registry: Registry, name: str) -> None:
    home = registry.store.find(NAMESPACE, "", name)
    if home is None or not home["metadata"].get("deletionTimestamp"):
        return
    left = False
    for kind in KINDS:
        for obj in registry.store.list(kind, name) if kind.namespaced else []:
            if not obj["metadata"].get("deletionTimestamp"):
                registry.delete(kind, name, obj["metadata"]["name"])
            left = left or registry.store.find(kind, name, obj["metadata"]["name"]) is not None
    if not left and not home["metadata"].get("finalizers"):
        registry.store.remove(NAMESPACE, "", name)
