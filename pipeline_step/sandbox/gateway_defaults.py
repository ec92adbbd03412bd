"""What the Gateway API's definitions fill in: the kinds of references, weights, and the match of everything."""

from __future__ import annotations

from typing import Any

Obj = dict[str, Any]
GROUP = "gateway.networking.k8s.io"


def http_route(route: Obj) -> None:
    """Complete an HTTPRoute, in place."""
    for rule in _rules(route):
        matches = rule.setdefault("matches", [{}])
        for match in matches:
            _defaults(match.setdefault("path", {}), type="PathPrefix", value="/")
            for wanted in (match.get("headers") or []) + (match.get("queryParams") or []):
                _defaults(wanted, type="Exact")


def grpc_route(route: Obj) -> None:
    """Complete a GRPCRoute, in place."""
    for rule in _rules(route):
        for match in rule.get("matches") or []:
            if "method" in match:
                _defaults(match["method"], type="Exact")
            for header in match.get("headers") or []:
                _defaults(header, type="Exact")


def _rules(route: Obj) -> list[Obj]:
    """The rules, once everything that both kinds of routes have in common is filled in."""
    spec = route.setdefault("spec", {})
    for parent in spec.get("parentRefs") or []:
        _defaults(parent, group=GROUP, kind="Gateway")
    rules: list[Obj] = spec.get("rules") or []
    for rule in rules:
        for backend in rule.get("backendRefs") or []:
            _defaults(backend, group="", kind="Service", weight=1)
        for mirror in [one["requestMirror"] for one in rule.get("filters") or [] if "requestMirror" in one]:
            _defaults(mirror["backendRef"], group="", kind="Service")
    return rules


def _defaults(target: Obj, **values: Any) -> None:
    for key, value in values.items():
        target.setdefault(key, value)
