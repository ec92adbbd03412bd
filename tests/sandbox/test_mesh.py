"""The pure part of the mesh: objects in, Envoy's resources out."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline_step.sandbox import mesh, route_actions
from pipeline_step.sandbox.gateways import gateway_name
from pipeline_step.sandbox.mesh import Endpoint, Topology

Obj = dict[str, Any]
PRODUCTION = "croc.jx-production.svc.cluster.local"
STAGING = "croc.jx-staging.svc.cluster.local"


def meta(name: str, namespace: str) -> Obj:
    return {"name": name, "namespace": namespace, "creationTimestamp": "2026-01-01T00:00:00Z"}


def service(namespace: str, *ports: int) -> Obj:
    held = [{"port": port, "name": f"p{port}"} for port in ports or (80,)]
    return {"metadata": meta("croc", namespace), "spec": {"ports": held, "clusterIP": "127.9.128.1"}}


def gateway(*hosts: str, protocol: str = "HTTP", port: int = 80, name: str = "public") -> Obj:
    server = {"port": {"number": port, "name": "x", "protocol": protocol}, "hosts": list(hosts or ("*",))}
    return {"metadata": meta(name, "istio-system"), "spec": {"servers": [server]}}


def virtual_service(*http: Obj, name: str = "croc", namespace: str = "jx-production", **spec: Any) -> Obj:
    base = {"hosts": ["croc.example.org"], "gateways": ["istio-system/public"], "http": list(http)}
    return {"metadata": meta(name, namespace), "spec": {**base, **spec}}


def to(*shares: tuple[str, int], **more: Any) -> Obj:
    return {"route": [{"destination": {"host": host}, "weight": weight} for host, weight in shares], **more}


def hosts(*virtual_services: Obj, gateways: list[Obj] | None = None) -> list[Obj]:
    topology = Topology(
        services=[service("jx-production"), service("jx-staging")],
        endpoints={},
        virtual_services=list(virtual_services),
        gateways=[gateway()] if gateways is None else gateways,
    )
    return mesh.resources(topology, "127.9.0.2").virtual_hosts


def action(virtual_host: Obj, at: int = 0) -> Obj:
    found: Obj = virtual_host["routes"][at]["route"]
    return found


def test_weights_become_weighted_clusters_by_istiods_names() -> None:
    (found,) = hosts(virtual_service(to((PRODUCTION, 99), (STAGING, 1))))
    assert found["domains"] == ["croc.example.org"]
    assert action(found)["weighted_clusters"]["clusters"] == [
        {"name": f"outbound|80||{PRODUCTION}", "weight": 99},
        {"name": f"outbound|80||{STAGING}", "weight": 1},
    ]


def test_a_destination_of_weight_zero_gets_nothing() -> None:
    (found,) = hosts(virtual_service(to((PRODUCTION, 100), (STAGING, 0))))
    assert action(found)["cluster"] == f"outbound|80||{PRODUCTION}"


def test_a_single_destination_needs_no_weight() -> None:
    (found,) = hosts(virtual_service({"route": [{"destination": {"host": PRODUCTION}}]}))
    assert action(found)["cluster"] == f"outbound|80||{PRODUCTION}"


@pytest.mark.parametrize(
    ("host", "cluster"),
    [
        ("croc", "outbound|80||croc.jx-production.svc.cluster.local"),
        (STAGING, f"outbound|80||{STAGING}"),
        ("croc.jx-staging", "outbound|80||croc.jx-staging"),
    ],
)
def test_only_a_name_without_dots_is_relative_to_the_namespace(host: str, cluster: str) -> None:
    (found,) = hosts(virtual_service(to((host, 100))))
    assert action(found)["cluster"] == cluster


@pytest.mark.parametrize(
    ("named", "full"),
    [
        ("public", "jx/public"),
        ("istio-system/public", "istio-system/public"),
        ("./public", "jx/public"),
        ("public.istio-system.svc.cluster.local", "istio-system/public"),
    ],
)
def test_names_of_gateways(named: str, full: str) -> None:
    assert gateway_name(named, "jx") == full


@pytest.mark.parametrize(
    ("named", "applies"),
    [
        (["istio-system/public"], True),
        (["mesh", "istio-system/public"], True),
        (["istio-system/absent", "istio-system/public"], True),
        (["istio-system/absent"], False),
        (["mesh"], False),
        ([], False),
    ],
)
def test_a_virtual_service_applies_only_at_gateways_that_exist(named: list[str], applies: bool) -> None:
    assert bool(hosts(virtual_service(to((PRODUCTION, 100)), gateways=named))) is applies


@pytest.mark.parametrize(
    ("served", "applies"),
    [
        (gateway("*"), True),
        (gateway("*.example.org"), True),
        (gateway("croc.example.org"), True),
        (gateway("other.example.org"), False),
        (gateway("jx-production/*"), True),
        (gateway("jx-staging/*"), False),
        (gateway("*", protocol="TCP"), False),
    ],
)
def test_a_gateway_serves_its_own_hosts_only(served: Obj, applies: bool) -> None:
    assert bool(hosts(virtual_service(to((PRODUCTION, 100))), gateways=[served])) is applies


@pytest.mark.parametrize(
    ("match", "wanted"),
    [
        ({}, {"prefix": "/"}),
        ({"uri": {"prefix": "/api"}}, {"prefix": "/api"}),
        ({"uri": {"exact": "/api"}}, {"path": "/api"}),
        ({"uri": {"regex": "/a.*"}}, {"safe_regex": {"regex": "/a.*"}}),
        (
            {"headers": {"x-canary": {"exact": "1"}, "x-any": {}}},
            {
                "prefix": "/",
                "headers": [
                    {"name": "x-canary", "string_match": {"exact": "1"}},
                    {"name": "x-any", "present_match": True},
                ],
            },
        ),
        (
            {"method": {"exact": "GET"}},
            {"prefix": "/", "headers": [{"name": ":method", "string_match": {"exact": "GET"}}]},
        ),
    ],
)
def test_matches(match: Obj, wanted: Obj) -> None:
    (found,) = hosts(virtual_service(to((PRODUCTION, 100), match=[match])))
    assert found["routes"][0]["match"] == wanted


def test_a_match_for_another_gateway_or_for_callers_in_the_mesh_is_left_out() -> None:
    first = to((STAGING, 100), match=[{"gateways": ["mesh"]}, {"sourceLabels": {"a": "b"}}])
    (found,) = hosts(virtual_service(first, to((PRODUCTION, 100))))
    assert [r["route"]["cluster"] for r in found["routes"]] == [f"outbound|80||{PRODUCTION}"]


def test_routes_keep_their_order_and_names() -> None:
    first = to((STAGING, 100), match=[{"headers": {"x": {"exact": "1"}}}], name="canary")
    (found,) = hosts(virtual_service(first, to((PRODUCTION, 100), name="main")))
    assert [route["name"] for route in found["routes"]] == ["canary", "main"]


def test_a_delegate_brings_its_routes_under_the_conditions_of_the_root() -> None:
    root = virtual_service(
        {"match": [{"uri": {"prefix": "/shop"}}], "delegate": {"name": "shop", "namespace": "jx-staging"}}
    )
    child = virtual_service(
        to(("croc", 60), (PRODUCTION, 40), match=[{"uri": {"prefix": "/shop/cart"}}]),
        to(("croc", 100)),
        name="shop",
        namespace="jx-staging",
        hosts=[],
        gateways=[],
    )
    (found,) = hosts(root, child)
    assert [route["match"] for route in found["routes"]] == [{"prefix": "/shop/cart"}, {"prefix": "/shop"}]
    assert action(found)["weighted_clusters"]["clusters"][0] == {"name": f"outbound|80||{STAGING}", "weight": 60}


def test_mirrors_timeouts_retries_rewrites_redirects_and_faults() -> None:
    route = to(
        (PRODUCTION, 100),
        mirror={"host": STAGING},
        mirrorPercentage={"value": 10},
        timeout="3s",
        retries={"attempts": 1, "perTryTimeout": "1s", "retryOn": "5xx,503"},
        rewrite={"uri": "/v2"},
        fault={"abort": {"httpStatus": 418, "percentage": {"value": 1}}},
        headers={"request": {"set": {"x-a": "1"}}},
    )
    (found,) = hosts(virtual_service(route, {"redirect": {"uri": "/new", "redirectCode": 302}}))
    made = action(found)
    mirror = {"default_value": {"numerator": 100_000, "denominator": "MILLION"}}
    assert made["request_mirror_policies"] == [{"cluster": f"outbound|80||{STAGING}", "runtime_fraction": mirror}]
    assert (made["timeout"], made["prefix_rewrite"]) == ("3s", "/v2")
    assert made["retry_policy"]["retry_on"] == "5xx,retriable-status-codes"
    assert made["retry_policy"]["retriable_status_codes"] == [503]
    fault = found["routes"][0]["typed_per_filter_config"]["envoy.filters.http.fault"]
    assert fault["abort"]["http_status"] == 418
    assert found["routes"][0]["request_headers_to_add"][0]["header"] == {"key": "x-a", "value": "1"}
    assert found["routes"][1]["redirect"] == {"response_code": "FOUND", "path_redirect": "/new"}


def test_every_service_port_is_a_cluster_and_a_listener_on_its_address() -> None:
    topology = Topology(
        services=[service("jx-production", 80, 9000)],
        endpoints={("jx-production", "croc", 80): [Endpoint("127.9.1.1", 8080)]},
        virtual_services=[],
        gateways=[],
    )
    made = mesh.resources(topology, "127.9.0.2")
    assert {f"outbound|80||{PRODUCTION}", f"outbound|9000||{PRODUCTION}"} <= set(made.clusters)
    members = made.clusters[f"outbound|80||{PRODUCTION}"]["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert members == [{"endpoint": {"address": {"socket_address": {"address": "127.9.1.1", "port_value": 8080}}}}]
    ports = [entry["address"]["socket_address"]["port_value"] for entry in made.listeners.values()]
    assert sorted(ports) == [80, 9000]


def test_a_subset_holds_the_endpoints_with_its_labels() -> None:
    rule = {
        "metadata": meta("croc", "jx-production"),
        "spec": {"host": "croc", "subsets": [{"name": "v2", "labels": {"version": "2"}}]},
    }
    members = [Endpoint("127.9.1.1", 80, {"version": "1"}), Endpoint("127.9.1.2", 80, {"version": "2"})]
    topology = Topology(
        services=[service("jx-production")],
        endpoints={("jx-production", "croc", 80): members},
        virtual_services=[],
        gateways=[],
        destination_rules=[rule],
    )
    made = mesh.resources(topology, "127.9.0.2")
    subset = made.clusters[f"outbound|80|v2|{PRODUCTION}"]["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert [e["endpoint"]["address"]["socket_address"]["address"] for e in subset] == ["127.9.1.2"]


def test_nothing_given_is_changed() -> None:
    given = virtual_service(to((PRODUCTION, 90), (STAGING, 10), match=[{"uri": {"prefix": "/"}}]))
    before = repr(given)
    hosts(given)
    assert repr(given) == before
    assert route_actions.full_host("", "x") == ""
