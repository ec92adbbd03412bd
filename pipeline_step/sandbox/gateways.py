"""Which VirtualServices apply at the gateway: those that name a Gateway that exists, for the hosts it serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Obj = dict[str, Any]
_HTTP = ("HTTP", "HTTP2", "GRPC", "HTTPS")


@dataclass(frozen=True)
class Binding:
    """A VirtualService at the gateways that it names and that exist (`names` are `namespace/name`)."""

    virtual_service: Obj
    gateways: tuple[Obj, ...]
    names: frozenset[str]

    @property
    def namespace(self) -> str:
        """The namespace that short names are completed with."""
        return str(self.virtual_service["metadata"]["namespace"])

    def hosts(self) -> list[str]:
        """The VirtualService's hosts that an HTTP server of its gateways serves."""
        served = [
            host.rpartition("/")[2]
            for gateway in self.gateways
            for server in (gateway.get("spec") or {}).get("servers") or []
            if server["port"]["protocol"].upper() in _HTTP and _exposed(host_list := server.get("hosts") or [], self)
            for host in host_list
        ]
        found = []
        for host in (self.virtual_service.get("spec") or {}).get("hosts") or []:
            if any(_covers(wanted, host) for wanted in served):
                found.append(host)
            else:
                found += [wanted for wanted in served if _covers(host, wanted)]
        return found

    def ports(self, kind: str) -> list[int]:
        """The gateways' ports that carry `tcp` or `tls` (passed through) traffic."""
        wanted = ("TCP", "MONGO", "MYSQL", "REDIS") if kind == "tcp" else ("TLS", "HTTPS")
        return sorted(
            {
                int(server["port"]["number"])
                for gateway in self.gateways
                for server in (gateway.get("spec") or {}).get("servers") or []
                if server["port"]["protocol"].upper() in wanted
            }
        )


def _exposed(hosts: list[str], binding: Binding) -> bool:
    """Whether a server lets VirtualServices of that namespace in (`namespace/host`)."""
    allowed = {host.rpartition("/")[0] or "*" for host in hosts}
    return bool(allowed & {"*", binding.namespace, "."})


def _covers(wide: str, narrow: str) -> bool:
    if wide in ("*", narrow):
        return True
    return wide.startswith("*.") and narrow.endswith(wide[1:])


def gateway_name(name: str, namespace: str) -> str:
    """`namespace/name` of a gateway as a VirtualService names it: by name, `namespace/name` or DNS name."""
    if "/" in name:
        home, _, own = name.partition("/")
        return f"{namespace if home == '.' else home}/{own}"
    if "." in name:
        parts = name.split(".")
        return f"{parts[1]}/{parts[0]}"
    return f"{namespace}/{name}"


def bindings(virtual_services: list[Obj], gateways: list[Obj]) -> list[Binding]:
    """Every VirtualService that applies at some existing Gateway, oldest first, as istiod orders them."""
    existing = {f"{g['metadata']['namespace']}/{g['metadata']['name']}": g for g in gateways}
    found = []
    for virtual_service in virtual_services:
        namespace = virtual_service["metadata"]["namespace"]
        named = (virtual_service.get("spec") or {}).get("gateways") or ["mesh"]
        names = [gateway_name(name, namespace) for name in named if name != "mesh"]
        held = [name for name in names if name in existing]
        if held:
            found.append(Binding(virtual_service, tuple(existing[name] for name in held), frozenset(held)))
    return sorted(found, key=_age)


def _age(binding: Binding) -> tuple[str, str, str]:
    meta = binding.virtual_service["metadata"]
    return meta["creationTimestamp"], meta["name"], meta["namespace"]
