"""The pure part of the Gateway API: routes in, virtual hosts and conditions out."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline_step.sandbox import gateway_defaults
from pipeline_step.sandbox.gateway_routes import NOWHERE, GatewayApi, parents, virtual_hosts

Obj = dict[str, Any]
SHOP = "outbound|80||shop.prod.svc.cluster.local"
OTHER = "outbound|80||shop.other.svc.cluster.local"


def meta(name: str, namespace: str, created: str = "2026-01-01T00:00:00Z") -> Obj:
    return {"name": name, "namespace": namespace, "creationTimestamp": created, "generation": 2}


def gateway(namespaces: str = "All", **listener: Any) -> Obj:
    allowed = {"namespaces": {"from": namespaces}}
    one = {"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": allowed, **listener}
    return {"metadata": meta("public", "gateways"), "spec": {"listeners": [one]}}


def route(*rules: Obj, kind: str = "HTTPRoute", name: str = "shop", parent: Obj | None = None, **spec: Any) -> Obj:
    parents = [parent or {"name": "public", "namespace": "gateways"}]
    made = {
        "kind": kind,
        "metadata": meta(name, "prod"),
        "spec": {"parentRefs": parents, "hostnames": ["shop.example.com"], "rules": list(rules), **spec},
    }
    (gateway_defaults.http_route if kind == "HTTPRoute" else gateway_defaults.grpc_route)(made)
    return made


def to(*backends: Obj, **rule: Any) -> Obj:
    return {"backendRefs": [{"name": "shop", "port": 80, **backend} for backend in backends], **rule}


def api(*routes: Obj, gateways: list[Obj] | None = None, grants: list[Obj] | None = None) -> GatewayApi:
    return GatewayApi(
        gateways=[gateway()] if gateways is None else gateways,
        routes=list(routes),
        grants=grants or [],
        services={("prod", "shop"): [80], ("other", "shop"): [80]},
    )


def grant() -> Obj:
    source = {"group": gateway_defaults.GROUP, "kind": "HTTPRoute", "namespace": "prod"}
    return {"metadata": meta("g", "other"), "spec": {"from": [source], "to": [{"group": "", "kind": "Service"}]}}


def made(*routes: Obj, **more: Any) -> list[Obj]:
    """The Envoy routes of the only virtual host."""
    (host,) = virtual_hosts(api(*routes, **more))
    assert host["domains"] == ["shop.example.com"]
    found: list[Obj] = host["routes"]
    return found


def said(*routes: Obj, **more: Any) -> dict[str, tuple[str, str]]:
    """Status and reason of each condition at the only parent."""
    world = api(*routes, **more)
    (entry,) = parents(world, world.routes[0])
    return {c["type"]: (c["status"], c["reason"]) for c in entry["conditions"]}


def test_relative_weights_become_weighted_clusters() -> None:
    (found,) = made(route(to({"weight": 4}, {"namespace": "other"})), grants=[grant()])
    assert found["match"] == {"prefix": "/"}
    assert found["route"]["weighted_clusters"]["clusters"] == [
        {"name": SHOP, "weight": 4},
        {"name": OTHER, "weight": 1},
    ]


def test_without_a_grant_the_share_is_answered_with_500_and_the_status_says_so() -> None:
    (found,) = made(route(to({"weight": 1}, {"namespace": "other"})))
    assert [c["name"] for c in found["route"]["weighted_clusters"]["clusters"]] == [SHOP, NOWHERE]
    assert found["route"]["cluster_not_found_response_code"] == "INTERNAL_SERVER_ERROR"
    assert said(route(to({}, {"namespace": "other"}))) == {
        "Accepted": ("True", "Accepted"),
        "ResolvedRefs": ("False", "RefNotPermitted"),
    }
    assert said(route(to({"namespace": "other"})), grants=[grant()])["ResolvedRefs"] == ("True", "ResolvedRefs")


@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        ({"name": "gone"}, "BackendNotFound"),
        ({"port": 81}, "BackendNotFound"),
        ({"group": "example.com", "kind": "Bucket"}, "InvalidKind"),
    ],
)
def test_a_backend_that_can_not_be_used_is_named(backend: Obj, reason: str) -> None:
    assert said(route(to(backend)))["ResolvedRefs"] == ("False", reason)


@pytest.mark.parametrize(
    ("which", "reason"),
    [
        (gateway("Same"), "NotAllowedByListeners"),
        (gateway(protocol="TCP"), "NotAllowedByListeners"),
        (gateway(hostname="other.example.com"), "NoMatchingListenerHostname"),
    ],
)
def test_a_gateway_that_does_not_take_the_route_says_why(which: Obj, reason: str) -> None:
    assert said(route(to({})), gateways=[which])["Accepted"] == ("False", reason)
    assert virtual_hosts(api(route(to({})), gateways=[which])) == []


def test_a_gateway_that_does_not_exist_says_nothing() -> None:
    world = api(route(to({})), gateways=[])
    assert parents(world, world.routes[0]) == []


@pytest.mark.parametrize(("hostname", "hosts"), [("*.example.com", {"shop.example.com"}), ("*", {"shop.example.com"})])
def test_wide_listeners_serve_the_routes_own_hosts(hostname: str, hosts: set[str]) -> None:
    found = virtual_hosts(api(route(to({})), gateways=[gateway(hostname=hostname)]))
    assert {domain for host in found for domain in host["domains"]} == hosts


def test_the_more_specific_match_comes_first() -> None:
    rules = [
        to({}, matches=[{}]),
        to({}, matches=[{"path": {"value": "/a"}}, {"path": {"type": "Exact", "value": "/a/b"}}]),
        to({}, matches=[{"headers": [{"name": "x", "value": "1"}]}]),
        to({}, matches=[{"path": {"value": "/a/longer"}, "method": "GET"}]),
    ]
    assert [found["match"] for found in made(route(*rules))] == [
        {"path": "/a/b"},
        {
            "path_separated_prefix": "/a/longer",
            "headers": [{"name": ":method", "string_match": {"exact": "GET"}}],
        },
        {"path_separated_prefix": "/a"},
        {"prefix": "/", "headers": [{"name": "x", "string_match": {"exact": "1"}}]},
        {"prefix": "/"},
    ]


def test_nothing_to_send_to_is_answered_with_500() -> None:
    (found,) = made(route(to({"weight": 0})))
    assert found["direct_response"] == {"status": 500}


def test_grpc_methods_are_paths() -> None:
    methods = [{"service": "a.B", "method": "C"}, {"service": "a.B"}, {"method": "C"}]
    found = made(route(*[to({}, matches=[{"method": method}]) for method in methods], to({}), kind="GRPCRoute"))
    assert [entry["match"] for entry in found] == [
        {"path": "/a.B/C"},
        {"prefix": "/a.B/"},
        {"safe_regex": {"regex": "/[^/]+/C"}},
        {"prefix": "/"},
    ]


def test_filters_and_timeouts_are_kept() -> None:
    headers = {"set": [{"name": "x", "value": "1"}], "remove": ["y"]}
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "shop", "port": 80}, "percent": 7}}
    modify = {"type": "RequestHeaderModifier", "requestHeaderModifier": headers}
    (found,) = made(route(to({}, filters=[modify, mirror], timeouts={"request": "500ms"})))
    assert found["route"]["timeout"] == "0.5s"
    assert found["request_headers_to_remove"] == ["y"]
    assert found["request_headers_to_add"][0]["header"] == {"key": "x", "value": "1"}
    fraction = {"default_value": {"numerator": 7}}
    assert found["route"]["request_mirror_policies"] == [{"cluster": SHOP, "runtime_fraction": fraction}]
