"""How a VirtualService names Services and Gateways. Pure."""

from __future__ import annotations

from typing import Any

from pipeline_step.model import Backend, Object, Ref
from pipeline_step.traffic.weighted import Key

GROUP = "networking.istio.io"


def gateway(name: str, namespace: str) -> Ref:
    """Gateways are named as `NAME`, `NAMESPACE/NAME`, or in old objects as `NAME.NAMESPACE.svc.cluster.local`."""
    if "/" in name:
        namespace, name = name.split("/", 1)
        return Ref(group=GROUP, resource="gateways", namespace=namespace, name=name)
    labels = name.split(".")
    if len(labels) > 1:
        namespace = labels[1]
    return Ref(group=GROUP, resource="gateways", namespace=namespace, name=labels[0])


def backend(destination: Object, namespace: str) -> Backend | None:
    """The Service of `svc`, `svc.ns`, `svc.ns.svc` or `svc.ns.svc.DOMAIN`; None for any other host."""
    labels = destination["host"].split(".")
    if len(labels) > 2 and labels[2] != "svc":
        return None
    port = (destination.get("port") or {}).get("number")
    home = labels[1] if len(labels) > 1 else namespace
    return Backend(service=labels[0], namespace=home, port=port, subset=destination.get("subset"))


def key(destination: Object, namespace: str) -> Key:
    """What tells a destination from the others of its route."""
    found = backend(destination, namespace)
    host = found.host if found else destination["host"]
    return Key(host, (destination.get("port") or {}).get("number") or 0, destination.get("subset") or "")


def entry(wanted: Key, weight: int) -> Object:
    """A weighted destination."""
    destination: dict[str, Any] = {"host": wanted.host}
    if wanted.port:
        destination["port"] = {"number": wanted.port}
    if wanted.subset:
        destination["subset"] = wanted.subset
    return {"destination": destination, "weight": weight}
