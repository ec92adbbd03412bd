"""The ReplicaSet controller: as many pods of its template as wanted."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from pipeline_step.sandbox.controller import Key, condition, is_ready, owned, owner, owner_reference
from pipeline_step.sandbox.kinds import POD, REPLICA_SET
from pipeline_step.sandbox.registry import Registry
from pipeline_step.sandbox.store import Event

Obj = dict[str, Any]
MANAGER = "kube-controller-manager"


def keys(event: Event) -> Iterable[Key]:
    """The ReplicaSets that a change may concern."""
    meta = event.object["metadata"]
    if event.kind is REPLICA_SET:
        yield meta["namespace"], meta["name"]
    if event.kind is POD:
        reference = owner(event.object, "ReplicaSet")
        if reference:
            yield meta["namespace"], reference["name"]


def sync(registry: Registry, key: Key) -> float | None:
    """Make or delete pods, and show their counts; returns the seconds until a pod becomes available."""
    namespace, name = key
    replica_set = registry.store.find(REPLICA_SET, namespace, name)
    if replica_set is None or replica_set["metadata"].get("deletionTimestamp"):
        return None
    pods = _active(registry, replica_set)
    missing = replica_set["spec"]["replicas"] - len(pods)
    for _ in range(missing):
        registry.create(POD, namespace, _pod(replica_set), manager=MANAGER)
    for pod in sorted(pods, key=_first_to_go)[: max(0, -missing)]:
        registry.delete(POD, namespace, pod["metadata"]["name"])
    return _status(registry, replica_set)


def _active(registry: Registry, replica_set: Obj) -> list[Obj]:
    meta = replica_set["metadata"]
    pods = owned(registry.store.list(POD, meta["namespace"]), meta["uid"])
    return [p for p in pods if not p["metadata"].get("deletionTimestamp") and not _finished(p)]


def _finished(pod: Obj) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _first_to_go(pod: Obj) -> tuple[bool, float]:
    made = datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
    return is_ready(pod), -made.timestamp()


def _pod(replica_set: Obj) -> Obj:
    template = copy.deepcopy(replica_set["spec"]["template"])
    meta = {k: v for k, v in template["metadata"].items() if k in ("labels", "annotations", "finalizers")}
    name = replica_set["metadata"]["name"]
    meta.update(generateName=f"{name}-", ownerReferences=[owner_reference(replica_set)])
    return {"metadata": meta, "spec": template["spec"]}


def _wait(pod: Obj, seconds: int) -> float:
    """Seconds until a ready pod has been ready for long enough; 0 when it has."""
    ready = condition(pod, "Ready")
    if not ready or not seconds:
        return 0.0
    since = datetime.now(UTC) - datetime.fromisoformat(ready["lastTransitionTime"])
    return max(0.0, seconds - since.total_seconds())


def _status(registry: Registry, replica_set: Obj) -> float | None:
    meta = replica_set["metadata"]
    pods = _active(registry, replica_set)
    ready = [p for p in pods if is_ready(p)]
    waits = [_wait(p, replica_set["spec"].get("minReadySeconds", 0)) for p in ready]
    counts = {
        "fullyLabeledReplicas": len(pods),
        "readyReplicas": len(ready),
        "availableReplicas": sum(1 for wait in waits if wait == 0),
    }
    status = {
        "replicas": len(pods),
        **{key: value for key, value in counts.items() if value},
        "observedGeneration": replica_set["metadata"]["generation"],
    }
    registry.update(
        REPLICA_SET,
        meta["namespace"],
        meta["name"],
        lambda obj: {**obj, "status": status},
        subresource="status",
        manager=MANAGER,
    )
    later = [wait for wait in waits if wait]
    return min(later) + 0.05 if later else None
