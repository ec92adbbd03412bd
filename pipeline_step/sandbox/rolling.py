"""The arithmetic of a rolling update: how many pods each ReplicaSet may have now. Pure."""

from __future__ import annotations

from typing import Any

Obj = dict[str, Any]
REVISION = "deployment.kubernetes.io/revision"


def revision(replica_set: Obj) -> int:
    """The number of the roll-out that a ReplicaSet was made for; 0 when it does not say."""
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


def count(replica_set: Obj, name: str) -> int:
    """A count of a ReplicaSet's status, such as `readyReplicas`."""
    return int((replica_set.get("status") or {}).get(name, 0))


def scaled(deployment: Obj, new: Obj, old: list[Obj], old_pods: int) -> list[tuple[Obj, int]]:
    """How many replicas each set should have now; `old_pods` is how many pods of old sets still run."""
    wanted = deployment["spec"]["replicas"]
    if deployment["spec"]["strategy"]["type"] == "Recreate":
        return [(s, 0) for s in old] if old_pods else [(new, wanted)]
    surge, unavailable = limits(deployment)
    others = sum(s["spec"]["replicas"] for s in old)
    have = new["spec"]["replicas"]
    room = wanted + surge - others - have
    target = wanted if have > wanted or not others else min(wanted, have + max(room, 0))
    return [(new, target), *_shrunk(old, new, target, wanted - unavailable)]


def _shrunk(old: list[Obj], new: Obj, new_replicas: int, least: int) -> list[tuple[Obj, int]]:
    """Old sets with what they may lose: unavailable pods first, then as many as availability allows."""
    available = count(new, "availableReplicas") + sum(count(s, "availableReplicas") for s in old)
    total = new_replicas + sum(s["spec"]["replicas"] for s in old)
    new_missing = max(0, new_replicas - count(new, "availableReplicas"))
    budget = total - least - new_missing
    healthy_budget = available - least
    found = []
    for replica_set in sorted(old, key=revision):
        size = replica_set["spec"]["replicas"]
        broken = max(0, min(size - count(replica_set, "availableReplicas"), budget))
        healthy = max(0, min(size - broken, budget - broken, healthy_budget))
        budget -= broken + healthy
        healthy_budget -= healthy
        found.append((replica_set, size - broken - healthy))
    return found
