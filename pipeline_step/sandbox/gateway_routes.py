"""HTTPRoutes and GRPCRoutes as Envoy's virtual hosts, and what a controller says of them in their status. Pure.

As istiod does it: a backend that can't be used keeps its weight, and its share of the requests is answered with 500.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pipeline_step.sandbox import gateway_matches
from pipeline_step.sandbox.gateway_defaults import GROUP

Obj = dict[str, Any]
CONTROLLER = "istio.io/gateway-controller"
NOWHERE = "outbound|0||unknown"
"""The name of a cluster that does not exist."""


@dataclass(frozen=True, kw_only=True)
class GatewayApi:
    """The objects of the Gateway API, and by (namespace, name) the ports of all Services."""

    gateways: list[Obj]
    routes: list[Obj]
    grants: list[Obj]
    services: dict[tuple[str, str], list[int]]


@dataclass(frozen=True)
class Verdict:
    """One condition of a route at a parent: whether it holds, the reason's word, and a sentence."""

    holds: bool
    reason: str
    message: str


def virtual_hosts(api: GatewayApi) -> list[Obj]:
    """One virtual host for each host that an accepted route serves; the more specific match comes first."""
    by_host: dict[str, list[tuple[gateway_matches.Rank, Obj]]] = {}
    for route in sorted(api.routes, key=_age):
        hosts = {host for parent in _parents(route) for host in _served(api, route, parent)[1]}
        for host in hosts:
            by_host.setdefault(host, []).extend(_envoy_routes(api, route))
    return [
        {"name": f"{host}|gateway-api", "domains": [host], "routes": [made for _, made in sorted(found, key=_rank)]}
        for host, found in sorted(by_host.items())
        if found
    ]


def parents(api: GatewayApi, route: Obj) -> list[Obj]:
    """The entries of `status.parents` for the Gateways that exist, without the times of their conditions."""
    resolved = _resolved(api, route)
    generation = route["metadata"].get("generation", 0)
    found = []
    for parent in _parents(route):
        if _gateway(api, route, parent) is None:
            continue
        accepted, _ = _served(api, route, parent)
        conditions = [
            {
                "type": kind,
                "status": "True" if verdict.holds else "False",
                "observedGeneration": generation,
                "reason": verdict.reason,
                "message": verdict.message,
            }
            for kind, verdict in (("Accepted", accepted), ("ResolvedRefs", resolved))
        ]
        found.append({"parentRef": parent, "controllerName": CONTROLLER, "conditions": conditions})
    return found


def _age(route: Obj) -> tuple[str, str, str]:
    meta = route["metadata"]
    return meta["creationTimestamp"], meta["namespace"], meta["name"]


def _rank(entry: tuple[gateway_matches.Rank, Obj]) -> gateway_matches.Rank:
    return entry[0]


def _parents(route: Obj) -> list[Obj]:
    return [p for p in route["spec"].get("parentRefs") or [] if (p["group"], p["kind"]) == (GROUP, "Gateway")]


def _gateway(api: GatewayApi, route: Obj, parent: Obj) -> Obj | None:
    wanted = (parent.get("namespace") or route["metadata"]["namespace"], parent["name"])
    return next((g for g in api.gateways if (g["metadata"]["namespace"], g["metadata"]["name"]) == wanted), None)


def _served(api: GatewayApi, route: Obj, parent: Obj) -> tuple[Verdict, set[str]]:
    """Whether the Gateway takes the route, and for which hosts."""
    gateway = _gateway(api, route, parent)
    hosts: set[str] = set()
    open_to_it = False
    for listener in (gateway["spec"].get("listeners") or []) if gateway else []:
        named = parent.get("sectionName") in (None, listener["name"])
        if named and listener["protocol"] == "HTTP" and gateway and _lets_in(listener, gateway, route):
            open_to_it = True
            hosts |= _common(listener.get("hostname") or "*", route["spec"].get("hostnames") or ["*"])
    if not open_to_it:
        return Verdict(False, "NotAllowedByListeners", "no listener of the Gateway lets routes of here in"), hosts
    if not hosts:
        return Verdict(False, "NoMatchingListenerHostname", "no hostname of the route is a listener's"), hosts
    return Verdict(True, "Accepted", "Route was valid"), hosts


def _lets_in(listener: Obj, gateway: Obj, route: Obj) -> bool:
    """Whether routes of that namespace may attach; a selector of namespaces counts as all."""
    wanted = ((listener.get("allowedRoutes") or {}).get("namespaces") or {}).get("from", "Same")
    return wanted != "Same" or bool(gateway["metadata"]["namespace"] == route["metadata"]["namespace"])


def _common(wide: str, hostnames: list[str]) -> set[str]:
    """The hosts that a listener's hostname and a route's hostnames have in common."""

    inside = {name for name in hostnames if _covers(wide, name)}
    return inside | {wide for name in hostnames if _covers(name, wide)}


def _covers(one: str, other: str) -> bool:
    return one in ("*", other) or (one.startswith("*.") and other.endswith(one[1:]))


def _resolved(api: GatewayApi, route: Obj) -> Verdict:
    for rule in route["spec"].get("rules") or []:
        for backend in rule.get("backendRefs") or []:
            if trouble := _trouble(api, route, backend):
                return trouble
    return Verdict(True, "ResolvedRefs", "All references resolved")


def _trouble(api: GatewayApi, route: Obj, backend: Obj) -> Verdict | None:
    """Why a backend can't be used, or None."""
    if (backend["group"], backend["kind"]) != ("", "Service"):
        return Verdict(False, "InvalidKind", f"referencing unsupported backendRef: {backend['kind']}")
    home = route["metadata"]["namespace"]
    namespace = backend.get("namespace") or home
    if namespace != home and not any(_grants(grant, route, namespace, backend["name"]) for grant in api.grants):
        text = f"backendRef {backend['name']}/{namespace} not accessible to a {route['kind']} in namespace {home!r}"
        return Verdict(False, "RefNotPermitted", f"{text} (missing a ReferenceGrant?)")
    if backend.get("port") not in api.services.get((namespace, backend["name"]), []):
        return Verdict(False, "BackendNotFound", f"backend({backend['name']}.{namespace}) not found")
    return None


def _grants(grant: Obj, route: Obj, namespace: str, service: str) -> bool:
    if grant["metadata"]["namespace"] != namespace:
        return False
    source = {"group": GROUP, "kind": route["kind"], "namespace": route["metadata"]["namespace"]}
    names = [to.get("name") for to in grant["spec"].get("to") or [] if (to["group"], to["kind"]) == ("", "Service")]
    return source in (grant["spec"].get("from") or []) and any(name in (None, "", service) for name in names)


def _envoy_routes(api: GatewayApi, route: Obj) -> Iterator[tuple[gateway_matches.Rank, Obj]]:
    translate = gateway_matches.http if route["kind"] == "HTTPRoute" else gateway_matches.grpc
    for rule in route["spec"].get("rules") or []:
        action = _action(api, route, rule)
        for match in rule.get("matches") or [{}]:
            rank, made = translate(match)
            yield rank, {"match": made, **action, **_header_changes(rule.get("filters") or [])}


def _action(api: GatewayApi, route: Obj, rule: Obj) -> Obj:
    weights: dict[str, int] = {}
    for backend in rule.get("backendRefs") or []:
        name = NOWHERE if _trouble(api, route, backend) else _cluster(route, backend)
        weights[name] = weights.get(name, 0) + backend["weight"]
    live = {name: weight for name, weight in weights.items() if weight > 0}
    if not live:
        return {"direct_response": {"status": 500}}
    action: Obj = {"cluster_not_found_response_code": "INTERNAL_SERVER_ERROR", "timeout": _timeout(rule)}
    if len(live) == 1:
        action["cluster"] = next(iter(live))
    else:
        action["weighted_clusters"] = {"clusters": [{"name": n, "weight": w} for n, w in live.items()]}
    mirrors = [f["requestMirror"] for f in rule.get("filters") or [] if f["type"] == "RequestMirror"]
    if mirrors:
        action["request_mirror_policies"] = [
            {
                "cluster": _cluster(route, mirror["backendRef"]),
                "runtime_fraction": {"default_value": {"numerator": mirror.get("percent", 100)}},
            }
            for mirror in mirrors
        ]
    return {"route": action}


def _cluster(route: Obj, backend: Obj) -> str:
    namespace = backend.get("namespace") or route["metadata"]["namespace"]
    return f"outbound|{backend['port']}||{backend['name']}.{namespace}.svc.cluster.local"


def _timeout(rule: Obj) -> str:
    """Envoy wants seconds: `500ms` is 0.5s."""
    written = str((rule.get("timeouts") or {}).get("request") or "0s")
    return f"{int(written[:-2]) / 1000:g}s" if written.endswith("ms") else written


def _header_changes(filters: list[Obj]) -> Obj:
    made: Obj = {}
    for side in ("request", "response"):
        key = f"{side}HeaderModifier"
        given: Obj = next((f[key] for f in filters if key in f), {})
        append = (("add", "APPEND_IF_EXISTS_OR_ADD"), ("set", "OVERWRITE_IF_EXISTS_OR_ADD"))
        added = [
            {"header": {"key": header["name"], "value": header["value"]}, "append_action": how}
            for name, how in append
            for header in given.get(name) or []
        ]
        if added:
            made[f"{side}_headers_to_add"] = added
        if given.get("remove"):
            made[f"{side}_headers_to_remove"] = given["remove"]
    return made
