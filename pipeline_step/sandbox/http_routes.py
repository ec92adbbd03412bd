"""The http routes of VirtualServices as Envoy's virtual hosts: matches, delegates, weights, actions."""

from __future__ import annotations

from typing import Any

from pipeline_step.sandbox.gateways import Binding, gateway_name
from pipeline_step.sandbox.route_actions import action_of, fault_of, header_changes
from pipeline_step.sandbox.route_matches import match_of

Obj = dict[str, Any]


def virtual_hosts(found: list[Binding], everything: list[Obj], ports: dict[str, list[int]]) -> list[Obj]:
    """One virtual host for each host, with the routes of its VirtualServices in order."""
    by_host: dict[str, list[Obj]] = {}
    for binding in found:
        routes = [
            made
            for route, namespace in _with_delegates(binding, everything)
            for made in _envoy_routes(route, namespace, binding, ports)
        ]
        for host in binding.hosts():
            by_host.setdefault(host, []).extend(routes)
    return [
        {"name": f"{host}:80", "domains": [host], "routes": routes, "include_request_attempt_count": True}
        for host, routes in sorted(by_host.items())
        if routes
    ]


def _with_delegates(binding: Binding, everything: list[Obj]) -> list[tuple[Obj, str]]:
    """The http routes with those that they delegate to in their place, each with its namespace."""
    found: list[tuple[Obj, str]] = []
    for route in (binding.virtual_service.get("spec") or {}).get("http") or []:
        delegate = route.get("delegate")
        if not delegate:
            found.append((route, binding.namespace))
            continue
        home = delegate.get("namespace") or binding.namespace
        for other in everything:
            meta, spec = other["metadata"], other.get("spec") or {}
            if (meta["namespace"], meta["name"]) != (home, delegate.get("name")) or spec.get("hosts"):
                continue
            for child in spec.get("http") or []:
                matches = _combined(route.get("match") or [], child.get("match") or [])
                if matches is not None:
                    inherited = {k: v for k, v in route.items() if k not in ("delegate", "match", "name")}
                    found.append(({**inherited, **child, "match": matches}, home))
    return found


def _combined(root: list[Obj], child: list[Obj]) -> list[Obj] | None:
    """Both lists of conditions at once; None when they can never hold together."""
    if not root or not child:
        return root or child
    found = [
        {**outer, **inner, "headers": {**(outer.get("headers") or {}), **(inner.get("headers") or {})}}
        for outer in root
        for inner in child
        if _nested(outer.get("uri"), inner.get("uri"))
    ]
    return found or None


def _nested(outer: Obj | None, inner: Obj | None) -> bool:
    if not outer or not inner:
        return True
    if "prefix" in outer:
        return str(inner.get("prefix") or inner.get("exact") or "").startswith(outer["prefix"])
    return outer == inner


def _envoy_routes(route: Obj, namespace: str, binding: Binding, ports: dict[str, list[int]]) -> list[Obj]:
    action = action_of(route, namespace, ports)
    fault = fault_of(route.get("fault") or {})
    made = []
    for match in route.get("match") or [{}]:
        if not _applies(match, binding):
            continue
        one = {"match": match_of(match), **action, **header_changes(route.get("headers") or {})}
        if route.get("name"):
            one["name"] = route["name"]
        if fault:
            one["typed_per_filter_config"] = {"envoy.filters.http.fault": fault}
        made.append(one)
    return made


def _applies(match: Obj, binding: Binding) -> bool:
    """Whether a match is for the gateway: not for other gateways, nor for callers inside the mesh."""
    named = match.get("gateways")
    if named:
        names = {gateway_name(name, binding.namespace) for name in named if name != "mesh"}
        if not names & binding.names:
            return False
    return not match.get("sourceLabels") and not match.get("sourceNamespace")
