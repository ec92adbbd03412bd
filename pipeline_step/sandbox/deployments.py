"""The Deployment controller: one ReplicaSet per template, rolled over within surge and unavailability."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable
from typing import Any

from pipeline_step.sandbox.controller import Key, owned, owner, owner_reference
from pipeline_step.sandbox.deployment_status import status_of
from pipeline_step.sandbox.kinds import DEPLOYMENT, POD, REPLICA_SET
from pipeline_step.sandbox.registry import Registry
from pipeline_step.sandbox.rolling import REVISION, count, limits, revision, scaled
from pipeline_step.sandbox.store import Event

Obj = dict[str, Any]
MANAGER = "kube-controller-manager"
HASH = "pod-template-hash"
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
        pods = registry.store.list(POD, namespace)
        old_pods = sum(len(owned(pods, s["metadata"]["uid"])) for s in old)
        for replica_set, replicas in scaled(deployment, new, old, old_pods):
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
    number = str(1 + max((revision(s) for s in sets), default=0))
    made = {
        "metadata": {
            "name": f"{meta['name']}-{short}",
            "labels": template["metadata"]["labels"],
            "annotations": {REVISION: number, **_sizes(deployment)},
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
    status = status_of(deployment, sets, fresh)
    _write(registry, deployment, fresh, status)
    if status["conditions"][1]["reason"] == "ReplicaSetUpdated":
        return float(min(1, deployment["spec"]["progressDeadlineSeconds"]))
    return None


def _write(registry: Registry, deployment: Obj, new: Obj | None, status: Obj) -> None:
    namespace, name = deployment["metadata"]["namespace"], deployment["metadata"]["name"]
    if new:
        number = str(revision(new))

        def annotate(obj: Obj) -> Obj:
            obj["metadata"].setdefault("annotations", {})[REVISION] = number
            return obj

        if (deployment["metadata"].get("annotations") or {}).get(REVISION) != number:
            registry.update(DEPLOYMENT, namespace, name, annotate, manager=MANAGER)
    registry.update(
        DEPLOYMENT, namespace, name, lambda obj: {**obj, "status": status}, subresource="status", manager=MANAGER
    )


def _clean_up(registry: Registry, deployment: Obj, old: list[Obj]) -> None:
    idle = [s for s in old if s["spec"]["replicas"] == 0 and count(s, "replicas") == 0]
    extra = len(idle) - int(deployment["spec"]["revisionHistoryLimit"])
    for replica_set in sorted(idle, key=revision)[: max(0, extra)]:
        meta = replica_set["metadata"]
        registry.delete(REPLICA_SET, meta["namespace"], meta["name"])
