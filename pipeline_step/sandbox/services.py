"""EndpointSlices: the ready pods behind each Service."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pipeline_step.sandbox.controller import Key, is_ready, owner_reference
from pipeline_step.sandbox.kinds import ENDPOINT_SLICE, POD, SERVICE
from pipeline_step.sandbox.registry import Registry
from pipeline_step.sandbox.store import Event, Store

Obj = dict[str, Any]
LABEL = "kubernetes.io/service-name"
_MANAGED_BY = {"endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}


def keys(store: Store, event: Event) -> Iterable[Key]:
    """The Services whose endpoints a change may touch."""
    meta = event.object["metadata"]
    if event.kind is SERVICE:
        yield meta["namespace"], meta["name"]
    if event.kind is POD:
        for service in store.list(SERVICE, meta["namespace"]):
            selector = service["spec"].get("selector")
            if selector and any(_selects(selector, pod) for pod in (event.object, event.before or {}) if pod):
                yield meta["namespace"], service["metadata"]["name"]


def sync(registry: Registry, key: Key) -> None:
    """Make the Service's slice show its pods as they are now."""
    namespace, name = key
    service = registry.store.find(SERVICE, namespace, name)
    if service is None or not service["spec"].get("selector") or service["metadata"].get("deletionTimestamp"):
        return
    wanted = _slice(registry.store, service)
    held = next((s for s in slices(registry.store, service) if s["metadata"]["name"].startswith(f"{name}-")), None)
    if held is None:
        registry.create(ENDPOINT_SLICE, namespace, wanted, manager="kube-controller-manager")
        return

    def change(obj: Obj) -> Obj:
        return {**obj, "endpoints": wanted["endpoints"], "ports": wanted["ports"]}

    slice_name = held["metadata"]["name"]
    registry.update(ENDPOINT_SLICE, namespace, slice_name, change, manager="kube-controller-manager")


def slices(store: Store, service: Obj) -> list[Obj]:
    """The EndpointSlices of a Service, its own and those that a user made."""
    meta = service["metadata"]
    found = store.list(ENDPOINT_SLICE, meta["namespace"])
    return [s for s in found if (s["metadata"].get("labels") or {}).get(LABEL) == meta["name"]]


def ready_addresses(store: Store, service: Obj, port: Obj) -> list[tuple[str, int]]:
    """Address and port of every ready endpoint behind one port of a Service."""
    found: list[tuple[str, int]] = []
    for held in slices(store, service):
        numbers = [p["port"] for p in held.get("ports") or [] if p.get("name", "") == port.get("name", "")]
        for endpoint in held.get("endpoints") or []:
            if numbers and (endpoint.get("conditions") or {}).get("ready", True):
                found += [(address, numbers[0]) for address in endpoint["addresses"]]
    return sorted(set(found))


def endpoint_of(store: Store, service: Obj, wanted: str) -> tuple[str, int] | None:
    """One ready endpoint behind the port of that name or number (the first port for ""), or None."""
    for port in service["spec"].get("ports") or []:
        if wanted in ("", port.get("name", ""), str(port["port"])):
            found = ready_addresses(store, service, port)
            return found[0] if found else None
    return None


def _selects(selector: Obj, pod: Obj) -> bool:
    labels = pod["metadata"].get("labels") or {}
    return all(labels.get(key) == value for key, value in selector.items())


def _slice(store: Store, service: Obj) -> Obj:
    meta, spec = service["metadata"], service["spec"]
    pods = [p for p in store.list(POD, meta["namespace"]) if _selects(spec["selector"], p)]
    pods = [p for p in pods if (p.get("status") or {}).get("podIP") and p["status"].get("phase") == "Running"]
    return {
        "metadata": {
            "generateName": f"{meta['name']}-",
            "labels": {LABEL: meta["name"], **_MANAGED_BY},
            "ownerReferences": [owner_reference(service)],
        },
        "addressType": "IPv4",
        "endpoints": [_endpoint(pod) for pod in pods],
        "ports": [
            {"name": p.get("name", ""), "port": _target(p, pods), "protocol": p["protocol"]}
            for p in spec.get("ports") or []
        ],
    }


def _endpoint(pod: Obj) -> Obj:
    meta, ready = pod["metadata"], is_ready(pod)
    going = bool(meta.get("deletionTimestamp"))
    return {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {"ready": ready and not going, "serving": ready, "terminating": going},
        "nodeName": pod["spec"].get("nodeName", ""),
        "targetRef": {"kind": "Pod", "name": meta["name"], "namespace": meta["namespace"], "uid": meta["uid"]},
    }


def _target(port: Obj, pods: list[Obj]) -> int:
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target
    for pod in pods:
        for container in pod["spec"]["containers"]:
            for held in container.get("ports") or []:
                if held.get("name") == target:
                    return int(held["containerPort"])
    return int(port["port"])
