"""The tables that `kubectl get` prints: columns of each kind, filled from an object."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from pipeline_step.sandbox.kinds import DEPLOYMENT, NAMESPACE, POD, REPLICA_SET, SERVICE, VIRTUAL_SERVICE, Kind

Obj = dict[str, Any]
Columns = dict[str, Callable[[Obj], object]]


def wanted(request: web.Request) -> bool:
    """Whether the client prefers a table to the objects."""
    return "as=Table" in request.headers.get("Accept", "").partition(",")[0]


def _age(obj: Obj) -> str:
    made = datetime.fromisoformat(obj["metadata"]["creationTimestamp"])
    seconds = int((datetime.now(UTC) - made).total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _status(obj: Obj, name: str) -> object:
    return (obj.get("status") or {}).get(name, 0)


def _containers(pod: Obj) -> list[Obj]:
    found: list[Obj] = (pod.get("status") or {}).get("containerStatuses") or []
    return found


def _pod_ready(pod: Obj) -> str:
    ready = sum(1 for status in _containers(pod) if status["ready"])
    return f"{ready}/{len(pod['spec']['containers'])}"


def _pod_status(pod: Obj) -> object:
    if pod["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for status in _containers(pod):
        waiting = status["state"].get("waiting")
        if waiting:
            return waiting["reason"]
    return (pod.get("status") or {}).get("phase", "")


def _ports(service: Obj) -> str:
    return ",".join(f"{p['port']}/{p['protocol']}" for p in service["spec"].get("ports") or []) or "<none>"


_COLUMNS: dict[Kind, Columns] = {
    POD: {
        "Ready": _pod_ready,
        "Status": _pod_status,
        "Restarts": lambda o: sum(status["restartCount"] for status in _containers(o)),
    },
    DEPLOYMENT: {
        "Ready": lambda o: f"{_status(o, 'readyReplicas')}/{o['spec']['replicas']}",
        "Up-to-date": lambda o: _status(o, "updatedReplicas"),
        "Available": lambda o: _status(o, "availableReplicas"),
    },
    REPLICA_SET: {
        "Desired": lambda o: o["spec"]["replicas"],
        "Current": lambda o: _status(o, "replicas"),
        "Ready": lambda o: _status(o, "readyReplicas"),
    },
    SERVICE: {
        "Type": lambda o: o["spec"]["type"],
        "Cluster-IP": lambda o: o["spec"].get("clusterIP", "<none>"),
        "Port(s)": _ports,
    },
    NAMESPACE: {"Status": lambda o: o["status"]["phase"]},
    VIRTUAL_SERVICE: {
        "Gateways": lambda o: str((o.get("spec") or {}).get("gateways") or "").replace("'", '"'),
        "Hosts": lambda o: str((o.get("spec") or {}).get("hosts") or "").replace("'", '"'),
    },
}


def render(kind: Kind, body: Obj) -> Obj:
    """A Table of the object or the list."""
    items = body.get("items", [body])
    columns: Columns = {"Name": lambda o: o["metadata"]["name"], **_COLUMNS.get(kind, {}), "Age": _age}
    partial = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": body["metadata"].get("resourceVersion", "")},
        "columnDefinitions": [
            {
                "name": name,
                "type": "string",
                "format": "name" if name == "Name" else "",
                "description": "",
                "priority": 0,
            }
            for name in columns
        ],
        "rows": [
            {
                "cells": [cell(item) for cell in columns.values()],
                "object": {**partial, "metadata": item["metadata"]},
            }
            for item in items
        ],
    }
