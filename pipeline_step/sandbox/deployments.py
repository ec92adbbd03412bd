"""The Deployment controller: one ReplicaSet per template, rolled over within surge and unavailability."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from pipeline_step.sandbox.controller import Key, condition, owned, owner, owner_reference
from pipeline_step.sandbox.kinds import DEPLOYMENT, POD, REPLICA_SET
from pipeline_step.sandbox.registry import Registry, timestamp
from pipeline_step.sandbox.store import Event

Obj = dict[str, Any]
MANAGER = "kube-controller-manager"
HASH = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


def keys(event: Event) -> Iterable[Key]:
    """The Deployments that a change may concern."""
    meta = event.object["metadata"]
    if event.kind is DEPLOYMENT:
        yield meta["namespace"], meta["name"]
    if event.kind is REPLICA_SET:
        reference = owner(event.object, "Deployment")
        if reference:
            yield meta["namespace"], reference["name"]
    if event.kind is POD and event.type == "DELETED":
        replica_set = owner(event.object, "ReplicaSet")
        if replica_set:
            yield meta["namespace"], replica_set["name"].rpartition("-")[0]


def template_hash(template: Obj) -> str:
    """A short name for a pod template, equal for equal templates."""
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).digest()
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:10])


def sync(registry: Registry, key: Key) -> float | None:
    """One step of a roll-out; returns the seconds until its deadline should be looked at."""
    namespace, name = key
    deployment = registry.store.find(DEPLOYMENT, namespace, name)
    if deployment is None or deployment["metadata"].get("deletionTimestamp"):
        return None
    sets = owned(registry.store.list(REPLICA_SET, namespace), deployment["metadata"]["uid"])
    new = _current(deployment, sets)
    if new is None and not deployment["spec"].get("paused"):
        new = _create(registry, deployment, sets)
        sets = [*sets, new]
    old = [s for s in sets if new is None or s["metadata"]["uid"] != new["metadata"]["uid"]]
    if new is not None:
        for replica_set, replicas in _scaled(registry, deployment, new, old):
            _scale(registry, replica_set, replicas)
    again = _status(registry, namespace, name, new)
    _clean_up(registry, deployment, old)
    return again


def _current(deployment: Obj, sets: list[Obj]) -> Obj | None:
    wanted = deployment["spec"]["template"]
    return next((s for s in sets if _template_of(s) == _comparable(wanted)), None)


def _template_of(replica_set: Obj) -> Obj:
    template = copy.deepcopy(replica_set["spec"]["template"])
    template["metadata"].get("labels", {}).pop(HASH, None)
    return _comparable(template)


def _comparable(template: Obj) -> Obj:
    meta = {key: value for key, value in template["metadata"].items() if value}
    return {**template, "metadata": meta}


def _create(registry: Registry, deployment: Obj, sets: list[Obj]) -> Obj:
    meta, spec = deployment["metadata"], deployment["spec"]
    template = copy.deepcopy(spec["template"])
    short = template_hash(_comparable(template))
    template["metadata"].setdefault("labels", {})[HASH] = short
    selector = copy.deepcopy(spec["selector"])
    selector.setdefault("matchLabels", {})[HASH] = short
    revision = str(1 + max((_revision(s) for s in sets), default=0))
    made = {
        "metadata": {
            "name": f"{meta['name']}-{short}",
            "labels": template["metadata"]["labels"],
            "annotations": {REVISION: revision, **_sizes(deployment)},
            "ownerReferences": [owner_reference(deployment)],
        },
        "spec": {"replicas": 0, "selector": selector, "template": template},
    }
    if spec.get("minReadySeconds"):
        made["spec"]["minReadySeconds"] = spec["minReadySeconds"]
    return registry.create(REPLICA_SET, meta["namespace"], made, manager=MANAGER)


def _sizes(deployment: Obj) -> dict[str, str]:
    wanted = deployment["spec"]["replicas"]
    prefix = "deployment.kubernetes.io"
    return {f"{prefix}/desired-replicas": str(wanted), f"{prefix}/max-replicas": str(wanted + limits(deployment)[0])}


def _revision(replica_set: Obj) -> int:
    return int((replica_set["metadata"].get("annotations") or {}).get(REVISION, 0))


def _share(value: int | str, replicas: int, up: bool) -> int:
    if isinstance(value, int):
        return value
    part = replicas * int(value.rstrip("%"))
    return -(-part // 100) if up else part // 100


def limits(deployment: Obj) -> tuple[int, int]:
    """How many pods a roll-out may have too many, and how many may be unavailable."""
    spec = deployment["spec"]
    rolling = spec["strategy"].get("rollingUpdate") or {"maxSurge": 0, "maxUnavailable": "100%"}
    surge = _share(rolling["maxSurge"], spec["replicas"], up=True)
    unavailable = _share(rolling["maxUnavailable"], spec["replicas"], up=False)
    return (surge, unavailable) if surge or unavailable else (0, 1)


def _count(replica_set: Obj, name: str) -> int:
    return int((replica_set.get("status") or {}).get(name, 0))


def _scaled(registry: Registry, deployment: Obj, new: Obj, old: list[Obj]) -> list[tuple[Obj, int]]:
    wanted = deployment["spec"]["replicas"]
    if deployment["spec"]["strategy"]["type"] == "Recreate":
        pods = registry.store.list(POD, deployment["metadata"]["namespace"])
        if any(owned(pods, s["metadata"]["uid"]) for s in old):
            return [(s, 0) for s in old]
        return [(new, wanted)]
    surge, unavailable = limits(deployment)
    others = sum(s["spec"]["replicas"] for s in old)
    have = new["spec"]["replicas"]
    room = wanted + surge - others - have
    target = wanted if have > wanted or not others else min(wanted, have + max(room, 0))
    return [(new, target), *_shrunk(old, new, target, wanted - unavailable)]


def _shrunk(old: list[Obj], new: Obj, new_replicas: int, least: int) -> list[tuple[Obj, int]]:
    """Old sets with what they may lose: unavailable pods first, then as many as availability allows."""
    available = _count(new, "availableReplicas") + sum(_count(s, "availableReplicas") for s in old)
    total = new_replicas + sum(s["spec"]["replicas"] for s in old)
    new_missing = max(0, new_replicas - _count(new, "availableReplicas"))
    budget = total - least - new_missing
    healthy_budget = available - least
    found = []
    for replica_set in sorted(old, key=_revision):
        size = replica_set["spec"]["replicas"]
        broken = max(0, min(size - _count(replica_set, "availableReplicas"), budget))
        healthy = max(0, min(size - broken, budget - broken, healthy_budget))
        budget -= broken + healthy
        healthy_budget -= healthy
        found.append((replica_set, size - broken - healthy))
    return found


def _scale(registry: Registry, replica_set: Obj, replicas: int) -> None:
    if replica_set["spec"]["replicas"] == replicas:
        return
    meta = replica_set["metadata"]

    def change(obj: Obj) -> Obj:
        obj["spec"]["replicas"] = replicas
        return obj

    registry.update(REPLICA_SET, meta["namespace"], meta["name"], change, manager=MANAGER)


def _status(registry: Registry, namespace: str, name: str, new: Obj | None) -> float | None:
    deployment = registry.store.get(DEPLOYMENT, namespace, name)
    sets = owned(registry.store.list(REPLICA_SET, namespace), deployment["metadata"]["uid"])
    uid = new["metadata"]["uid"] if new else ""
    fresh = next((s for s in sets if s["metadata"]["uid"] == uid), None)
    wanted = deployment["spec"]["replicas"]
    available = sum(_count(s, "availableReplicas") for s in sets)
    status = {
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": sum(_count(s, "replicas") for s in sets),
        "updatedReplicas": _count(fresh, "replicas") if fresh else 0,
        "readyReplicas": sum(_count(s, "readyReplicas") for s in sets),
        "availableReplicas": available,
        "unavailableReplicas": max(0, max(wanted, sum(s["spec"]["replicas"] for s in sets)) - available),
    }
    _, unavailable = limits(deployment)
    conditions = [
        _available(deployment, available >= wanted - unavailable),
        _progressing(deployment, status, fresh),
    ]
    shown = {key: value for key, value in status.items() if value or key == "observedGeneration"}
    _write(registry, deployment, fresh, {**shown, "conditions": conditions})
    if conditions[1]["reason"] == "ReplicaSetUpdated":
        return float(min(1, deployment["spec"]["progressDeadlineSeconds"]))
    return None


def _write(registry: Registry, deployment: Obj, new: Obj | None, status: Obj) -> None:
    namespace, name = deployment["metadata"]["namespace"], deployment["metadata"]["name"]
    if new:
        revision = str(_revision(new))

        def annotate(obj: Obj) -> Obj:
            obj["metadata"].setdefault("annotations", {})[REVISION] = revision
            return obj

        if (deployment["metadata"].get("annotations") or {}).get(REVISION) != revision:
            registry.update(DEPLOYMENT, namespace, name, annotate, manager=MANAGER)
    registry.update(
        DEPLOYMENT, namespace, name, lambda obj: {**obj, "status": status}, subresource="status", manager=MANAGER
    )


def _condition(deployment: Obj, kind: str, truth: bool, reason: str, message: str, touch: bool) -> Obj:
    now = timestamp()
    value = "True" if truth else "False"
    held = condition(deployment, kind)
    same = held is not None and held["status"] == value
    unchanged = held is not None and same and held["reason"] == reason
    return {
        "type": kind,
        "status": value,
        "lastUpdateTime": held["lastUpdateTime"] if held and unchanged and not touch else now,
        "lastTransitionTime": held["lastTransitionTime"] if held and same else now,
        "reason": reason,
        "message": message,
    }


def _available(deployment: Obj, truth: bool) -> Obj:
    reason = "MinimumReplicasAvailable" if truth else "MinimumReplicasUnavailable"
    message = f"Deployment {'has' if truth else 'does not have'} minimum availability."
    return _condition(deployment, "Available", truth, reason, message, touch=False)


def _progressing(deployment: Obj, status: Obj, new: Obj | None) -> Obj:
    wanted, before = deployment["spec"]["replicas"], deployment.get("status") or {}
    name = new["metadata"]["name"] if new else ""
    complete = status["updatedReplicas"] == status["replicas"] == status["availableReplicas"] == wanted
    if complete:
        message = f'ReplicaSet "{name}" has successfully progressed.'
        return _condition(deployment, "Progressing", True, "NewReplicaSetAvailable", message, touch=False)
    old_now = status["replicas"] - status["updatedReplicas"]
    old_before = before.get("replicas", 0) - before.get("updatedReplicas", 0)
    names = ("updatedReplicas", "readyReplicas", "availableReplicas")
    moved = old_now < old_before or any(status[key] > before.get(key, 0) for key in names)
    moved = moved or before.get("observedGeneration") != status["observedGeneration"]
    held = condition(deployment, "Progressing")
    if held and not moved and _overdue(deployment, held):
        message = f'ReplicaSet "{name}" has timed out progressing.'
        return _condition(deployment, "Progressing", False, "ProgressDeadlineExceeded", message, touch=False)
    message = f'ReplicaSet "{name}" is progressing.'
    return _condition(deployment, "Progressing", True, "ReplicaSetUpdated", message, touch=moved)


def _overdue(deployment: Obj, held: Obj) -> bool:
    if held["reason"] == "ProgressDeadlineExceeded":
        return True
    if held["reason"] == "NewReplicaSetAvailable":
        return False
    since = datetime.now(UTC) - datetime.fromisoformat(held["lastUpdateTime"])
    return since.total_seconds() > float(deployment["spec"]["progressDeadlineSeconds"])


def _clean_up(registry: Registry, deployment: Obj, old: list[Obj]) -> None:
    idle = [s for s in old if s["spec"]["replicas"] == 0 and _count(s, "replicas") == 0]
    extra = len(idle) - int(deployment["spec"]["revisionHistoryLimit"])
    for replica_set in sorted(idle, key=_revision)[: max(0, extra)]:
        meta = replica_set["metadata"]
        registry.delete(REPLICA_SET, meta["namespace"], meta["name"])
