"""What istiod computes for a gateway, as pure functions: Services and VirtualServices to Envoy's resources.

Names are istiod's own (`outbound|80||svc.ns.svc.cluster.local`), so that what reads Envoy's statistics finds
the same names here and in a real mesh.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pipeline_step.sandbox import gateway_routes, http_routes, route_actions
from pipeline_step.sandbox.gateways import Binding, bindings

Obj = dict[str, Any]
DOMAIN = "svc.cluster.local"
_CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
_LISTENER = "type.googleapis.com/envoy.config.listener.v3.Listener"
_TCP = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
_INSPECTOR = "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
_UNLIMITED = 4294967295


@dataclass(frozen=True)
class Endpoint:
    """One ready pod behind a Service's port, with the pod's labels."""

    address: str
    port: int
    labels: Obj = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Topology:
    """All that the mesh is computed from. `endpoints` is by (namespace, service, port number)."""

    services: list[Obj]
    endpoints: dict[tuple[str, str, int], list[Endpoint]]
    virtual_services: list[Obj]
    gateways: list[Obj]
    destination_rules: list[Obj] = field(default_factory=list)
    service_entries: list[Obj] = field(default_factory=list)
    gateway_api: gateway_routes.GatewayApi | None = None


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Envoy's resources, by name."""

    clusters: dict[str, Obj]
    virtual_hosts: list[Obj]
    listeners: dict[str, Obj]


def cluster_name(host: str, port: int, subset: str = "") -> str:
    """The name that istiod gives the cluster of a host, port and subset."""
    return f"outbound|{port}|{subset}|{host}"


def resources(topology: Topology, gateway_address: str) -> Resources:
    """Everything that Envoy needs for these objects."""
    clusters: dict[str, Obj] = {}
    listeners: dict[str, Obj] = {}
    for service in topology.services:
        meta, spec = service["metadata"], service["spec"]
        host = f"{meta['name']}.{meta['namespace']}.{DOMAIN}"
        for port in spec.get("ports") or []:
            number = int(port["port"])
            held = topology.endpoints.get((meta["namespace"], meta["name"], number), [])
            for subset, labels in _subsets(topology, host, meta["namespace"]):
                name = cluster_name(host, number, subset)
                clusters[name] = cluster(name, [e for e in held if labels.items() <= e.labels.items()])
            if spec.get("clusterIP") not in (None, "", "None"):
                proxy = f"kube-proxy|{number}|{host}"
                clusters[proxy] = cluster(proxy, held)
                listeners[proxy] = listener(proxy, spec["clusterIP"], number, [_chain({proxy: 1}, proxy)])
    clusters.update(_external(topology.service_entries))
    found = bindings(topology.virtual_services, topology.gateways)
    ports = _service_ports(topology)
    listeners.update(_tcp_listeners(found, gateway_address, ports))
    hosts = http_routes.virtual_hosts(found, topology.virtual_services, ports)
    taken = {domain for host in hosts for domain in host["domains"]}
    more = gateway_routes.virtual_hosts(topology.gateway_api) if topology.gateway_api else []
    return Resources(
        clusters=clusters,
        virtual_hosts=hosts + [host for host in more if not taken.intersection(host["domains"])],
        listeners=listeners,
    )


def _service_ports(topology: Topology) -> dict[str, list[int]]:
    found = {
        f"{s['metadata']['name']}.{s['metadata']['namespace']}.{DOMAIN}": [
            int(port["port"]) for port in s["spec"].get("ports") or []
        ]
        for s in topology.services
    }
    for entry in topology.service_entries:
        for host in entry["spec"].get("hosts") or []:
            found[host] = [int(port["number"]) for port in entry["spec"].get("ports") or []]
    return found


def _subsets(topology: Topology, host: str, namespace: str) -> list[tuple[str, Obj]]:
    found: list[tuple[str, Obj]] = [("", {})]
    for rule in topology.destination_rules:
        spec = rule.get("spec") or {}
        if route_actions.full_host(spec.get("host", ""), rule["metadata"]["namespace"]) == host:
            found += [(s["name"], s.get("labels") or {}) for s in spec.get("subsets") or []]
    return found


def cluster(name: str, endpoints: list[Endpoint], kind: str = "STATIC") -> Obj:
    """A cluster with its endpoints inline; those of Services are taken apart before Envoy gets them."""
    limits = dict.fromkeys(("max_connections", "max_pending_requests", "max_requests", "max_retries"), _UNLIMITED)
    members = [{"endpoint": {"address": _address(e.address, e.port)}} for e in endpoints]
    return {
        "@type": _CLUSTER,
        "name": name,
        "alt_stat_name": f"{name};",
        "type": kind,
        "connect_timeout": "10s",
        "lb_policy": "LEAST_REQUEST",
        "circuit_breakers": {"thresholds": [limits]},
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": members}]},
    }


def _address(host: str, port: int) -> Obj:
    return {"socket_address": {"address": host, "port_value": port}}


def _external(entries: list[Obj]) -> dict[str, Obj]:
    """Clusters of ServiceEntries: their endpoints by address, or their hosts by DNS."""
    found = {}
    for entry in entries:
        spec = entry["spec"]
        for host in spec.get("hosts") or []:
            for port in spec.get("ports") or []:
                name = cluster_name(host, int(port["number"]))
                target = int(port.get("targetPort") or port["number"])
                members = [
                    Endpoint(e["address"], int((e.get("ports") or {}).get(port.get("name"), target)))
                    for e in spec.get("endpoints") or [{"address": host}]
                ]
                kind = "STATIC" if spec.get("resolution") == "STATIC" else "STRICT_DNS"
                found[name] = cluster(name, members, kind)
    return found


def listener(name: str, address: str, port: int, chains: list[Obj], inspect: bool = False) -> Obj:
    """A listener with its filter chains; `inspect` reads the server name of TLS clients."""
    made = {"@type": _LISTENER, "name": name, "address": _address(address, port), "filter_chains": chains}
    if inspect:
        inspector = {"name": "envoy.filters.listener.tls_inspector", "typed_config": {"@type": _INSPECTOR}}
        made["listener_filters"] = [inspector]
    return made


def _chain(weights: dict[str, int], stat_prefix: str, server_names: list[str] | None = None) -> Obj:
    weights = {name: weight for name, weight in weights.items() if weight > 0}
    if len(weights) == 1:
        to: Obj = {"cluster": next(iter(weights))}
    else:
        to = {"weighted_clusters": {"clusters": [{"name": n, "weight": w} for n, w in weights.items()]}}
    config = {"@type": _TCP, "stat_prefix": stat_prefix, **to}
    chain: Obj = {"filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": config}]}
    if server_names:
        chain["filter_chain_match"] = {"server_names": server_names}
    return chain


def _tcp_listeners(found: list[Binding], address: str, ports: dict[str, list[int]]) -> dict[str, Obj]:
    """A listener for every port that a tcp or tls route of a bound VirtualService is reached by."""
    chains: dict[int, list[Obj]] = {}
    for binding in found:
        spec, namespace = binding.virtual_service["spec"], binding.namespace
        for kind in ("tcp", "tls"):
            for route in spec.get(kind) or []:
                weights = route_actions.weights(route.get("route") or [], namespace, ports)
                if not any(weights.values()):
                    continue
                for match in route.get("match") or [{}]:
                    for port in [match["port"]] if "port" in match else binding.ports(kind):
                        chain = _chain(weights, f"{kind}|{port}", match.get("sniHosts"))
                        chains.setdefault(int(port), []).append(chain)
    return {
        f"gateway|{port}": listener(f"gateway|{port}", address, port, made, inspect=True)
        for port, made in chains.items()
    }
