"""What a Deployment's status says of its ReplicaSets: counts, and the conditions Available and Progressing. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pipeline_step.sandbox.controller import condition
from pipeline_step.sandbox.registry import timestamp
from pipeline_step.sandbox.rolling import count, limits

Obj = dict[str, Any]


def status_of(deployment: Obj, sets: list[Obj], new: Obj | None) -> Obj:
    """The status of a Deployment with these ReplicaSets; `new` is the one of its present template."""
    wanted = deployment["spec"]["replicas"]
    available = sum(count(s, "availableReplicas") for s in sets)
    status = {
        "observedGeneration": deployment["metadata"]["generation"],
        "replicas": sum(count(s, "replicas") for s in sets),
        "updatedReplicas": count(new, "replicas") if new else 0,
        "readyReplicas": sum(count(s, "readyReplicas") for s in sets),
        "availableReplicas": available,
        "unavailableReplicas": max(0, max(wanted, sum(s["spec"]["replicas"] for s in sets)) - available),
    }
    _, unavailable = limits(deployment)
    conditions = [
        _available(deployment, available >= wanted - unavailable),
        _progressing(deployment, status, new),
    ]
    shown = {key: value for key, value in status.items() if value or key == "observedGeneration"}
    return {**shown, "conditions": conditions}


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
