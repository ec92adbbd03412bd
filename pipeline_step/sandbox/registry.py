"""Create, update and delete with the rules of a real API server: names, versions, generations, finalizers."""

from __future__ import annotations

import copy
import secrets
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline_step.sandbox import defaults, managed_fields, refusals, validation
from pipeline_step.sandbox.kinds import NAMESPACE, POD, SECRET, SERVICE, Kind
from pipeline_step.sandbox.managed_fields import Writer
from pipeline_step.sandbox.store import Store

Obj = dict[str, Any]
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_SERVERS = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds")


def timestamp(at: datetime | None = None) -> str:
    """RFC 3339 in whole seconds, as metadata carries it."""
    return (at or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


def random_suffix(length: int = 5) -> str:
    """Letters and digits that cannot make a word, as generated names end in."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


class Registry:
    """The writes of the API over a `Store`; `cluster_ip` gives the address of a new Service."""

    def __init__(self, store: Store, cluster_ip: Callable[[], str]) -> None:
        self.store = store
        self._cluster_ip = cluster_ip

    def create(
        self,
        kind: Kind,
        namespace: str,
        given: Obj,
        manager: str = "sandbox",
        version: str | None = None,
        track: bool = True,
        dry_run: bool = False,
    ) -> Obj:
        """Store a new object and return it; `track` gives its fields to the manager."""
        obj = copy.deepcopy(given)
        meta = obj.setdefault("metadata", {})
        self._place(kind, namespace, meta)
        if meta.get("resourceVersion"):
            message = "resourceVersion should not be set on objects to be created"
            raise refusals.ApiError(500, "", message)
        for key in _SERVERS:
            meta.pop(key, None)
        meta.update(uid=str(uuid.uuid4()), creationTimestamp=timestamp())
        if kind.generation:
            meta["generation"] = 1
        if kind.status:
            obj.pop("status", None)
        obj = {"apiVersion": kind.api_version(), "kind": kind.kind, **_without_type(obj)}
        defaults.fill(kind, obj)
        validation.check(kind, obj, None)
        if track:
            managed_fields.record_update(kind, None, obj, Writer(manager, kind.api_version(version)))
        self._initial(kind, obj)
        with self.store.lock:
            if dry_run:
                if self.store.find(kind, meta.get("namespace", ""), meta["name"]):
                    raise refusals.already_exists(kind, meta["name"])
                return obj
            return self.store.put(kind, obj, expected="")

    def update(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        change: Callable[[Obj], Obj],
        *,
        subresource: str = "",
        manager: str = "sandbox",
        version: str | None = None,
        track: bool = True,
        dry_run: bool = False,
    ) -> Obj:
        """Replace the object by what `change` makes of a copy of it, in one step; return the stored state.

        A resourceVersion in the result must be the stored one. A change of nothing writes nothing.
        """
        with self.store.lock:
            old = self.store.get(kind, namespace, name)
            new = change(copy.deepcopy(old))
            self._check_identity(kind, old, new)
            new = _merge_subresource(kind, old, new, subresource)
            defaults.fill(kind, new)
            validation.check(kind, new, old)
            if track:
                writer = Writer(manager, kind.api_version(version), subresource)
                managed_fields.record_update(kind, old, new, writer)
            if old == new:
                return old
            if kind.generation and _wanted(old) != _wanted(new):
                new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
            if dry_run:
                return new
            meta = new["metadata"]
            waiting = meta.get("finalizers") or meta.get("deletionGracePeriodSeconds") or kind is NAMESPACE
            if meta.get("deletionTimestamp") and not waiting:
                return self.store.remove(kind, namespace, name)
            return self.store.put(kind, new)

    def delete(self, kind: Kind, namespace: str, name: str, options: Obj | None = None) -> tuple[Obj, bool]:
        """Delete; returns the last state and whether it is gone already (else something still waits)."""
        given = options or {}
        with self.store.lock:
            old = self.store.get(kind, namespace, name)
            _check_preconditions(kind, old, given.get("preconditions") or {})
            if given.get("dryRun"):
                return old, False
            meta = old["metadata"]
            finalizers = _deletion_finalizers(meta.get("finalizers") or [], given)
            grace = _grace(kind, old, given)
            if not finalizers and not grace and kind is not NAMESPACE:
                return self.store.remove(kind, namespace, name), True
            deleting = bool(meta.get("deletionTimestamp"))
            shorter = grace < meta.get("deletionGracePeriodSeconds", 0)
            if deleting and meta.get("finalizers", []) == finalizers and not shorter:
                return old, False
            new = copy.deepcopy(old)
            new["metadata"]["finalizers"] = finalizers
            if not finalizers:
                del new["metadata"]["finalizers"]
            if shorter:
                new["metadata"]["deletionGracePeriodSeconds"] = grace
            if not deleting:
                new["metadata"]["deletionTimestamp"] = timestamp(datetime.now(UTC) + timedelta(seconds=grace))
                new["metadata"]["deletionGracePeriodSeconds"] = grace
                if kind.generation:
                    new["metadata"]["generation"] = meta.get("generation", 0) + 1
            if kind is NAMESPACE:
                new["status"] = {"phase": "Terminating"}
            return self.store.put(kind, new), False

    def _place(self, kind: Kind, namespace: str, meta: Obj) -> None:
        if not meta.get("name"):
            if not meta.get("generateName"):
                raise refusals.invalid(
                    kind,
                    "",
                    ("metadata.name", "FieldValueRequired", "Required value: name or generateName is required"),
                )
            meta["name"] = meta["generateName"][:58] + random_suffix()
        if not kind.namespaced:
            return
        if meta.setdefault("namespace", namespace) != namespace:
            raise refusals.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        home = self.store.get(NAMESPACE, "", namespace)
        if home["metadata"].get("deletionTimestamp"):
            why = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise refusals.forbidden(kind, meta["name"], why)

    def _initial(self, kind: Kind, obj: Obj) -> None:
        if kind is NAMESPACE:
            obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = obj["metadata"]["name"]
            obj["spec"] = {"finalizers": ["kubernetes"]}
            obj["status"] = {"phase": "Active"}
        if kind is POD:
            obj["status"] = {"phase": "Pending", "qosClass": "BestEffort"}
        if kind is SERVICE:
            obj["status"] = {"loadBalancer": {}}
            if obj["spec"]["type"] != "ExternalName" and not obj["spec"].get("clusterIP"):
                obj["spec"]["clusterIP"] = self._cluster_ip()
            if obj["spec"].get("clusterIP"):
                obj["spec"]["clusterIPs"] = [obj["spec"]["clusterIP"]]
                obj["spec"].update(ipFamilies=["IPv4"], ipFamilyPolicy="SingleStack")

    @staticmethod
    def _check_identity(kind: Kind, old: Obj, new: Obj) -> None:
        meta, name = new.setdefault("metadata", {}), old["metadata"]["name"]
        if meta.setdefault("name", name) != name:
            raise refusals.bad_request(
                f"the name of the object ({meta['name']}) does not match the name on the URL ({name})"
            )
        given = meta.get("resourceVersion")
        if not given and not kind.unconditional_update:
            raise refusals.no_version(kind, name)
        if given and given != old["metadata"]["resourceVersion"]:
            raise refusals.conflict(kind, name)
        if meta.get("uid") and meta["uid"] != old["metadata"]["uid"]:
            held = old["metadata"]["uid"]
            why = f"Precondition failed: UID in precondition: {meta['uid']}, UID in object meta: {held}"
            raise refusals.conflict(kind, name, why)


def _without_type(obj: Obj) -> Obj:
    return {key: value for key, value in obj.items() if key not in ("apiVersion", "kind")}


def _wanted(obj: Obj) -> Obj:
    return {key: value for key, value in obj.items() if key not in ("metadata", "status")}


def _merge_subresource(kind: Kind, old: Obj, new: Obj, subresource: str) -> Obj:
    """The part of `new` that this endpoint may change, over `old`."""
    if subresource == "status":
        merged = {**copy.deepcopy(old), "status": new.get("status") or {}}
        merged["metadata"]["managedFields"] = new["metadata"].get("managedFields", [])
        return merged
    merged = {"apiVersion": old["apiVersion"], "kind": old["kind"], **_without_type(new)}
    if kind.status:
        merged.pop("status", None)
        if "status" in old:
            merged["status"] = copy.deepcopy(old["status"])
    meta = merged["metadata"]
    for key in (*_SERVERS, "resourceVersion", "namespace"):
        meta.pop(key, None)
        if key in old["metadata"]:
            meta[key] = old["metadata"][key]
    if "managedFields" not in meta and "managedFields" in old["metadata"]:
        meta["managedFields"] = copy.deepcopy(old["metadata"]["managedFields"])
    if kind is SERVICE:
        for key in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if key in old["spec"]:
                merged.setdefault("spec", {}).setdefault(key, old["spec"][key])
    if kind is SECRET:
        merged.setdefault("type", old.get("type"))
    return merged


def _check_preconditions(kind: Kind, old: Obj, wanted: Obj) -> None:
    meta = old["metadata"]
    for key in ("uid", "resourceVersion"):
        if wanted.get(key) and wanted[key] != meta[key]:
            raise refusals.stale(kind, meta["name"], key, wanted[key], meta[key])


def _deletion_finalizers(finalizers: list[str], options: Obj) -> list[str]:
    policy = options.get("propagationPolicy")
    if policy == "Foreground" and "foregroundDeletion" not in finalizers:
        return [*finalizers, "foregroundDeletion"]
    if policy == "Orphan" and "orphan" not in finalizers:
        return [*finalizers, "orphan"]
    return finalizers


def _grace(kind: Kind, obj: Obj, options: Obj) -> int:
    if kind is not POD:
        return 0
    given = options.get("gracePeriodSeconds")
    wanted = obj["spec"].get("terminationGracePeriodSeconds", 30) if given is None else given
    return int(wanted)
