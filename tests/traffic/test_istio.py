"""The Istio router's own: proportions, other people's changes, choosing the route, gateways by every spelling."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_step.errors import ConfigError, Refused
from pipeline_step.model import Backend, Object, Ref, Target
from pipeline_step.traffic import istio
from pipeline_step.traffic.istio_hosts import GROUP
from tests.traffic.routes import STABLE, preview
from tests.traffic.routes import planned as planned_for

ROOT = Ref(group=GROUP, resource="virtualservices", namespace="prod", name="shop")


def target(**settings: Any) -> Target:
    route = istio.Settings(virtual_service="shop", **settings)
    return Target(app="shop", stable=STABLE, router="istio", route=route)


def virtual_service(*routes: Object, protocol: str = "http", **metadata: Any) -> Object:
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "shop", "namespace": "prod", "resourceVersion": "7", **metadata},
        "spec": {"hosts": ["shop.example.com"], protocol: list(routes)},
    }


def to(host: str, weight: int | None = None, **more: Any) -> Object:
    destination: Object = {"destination": {"host": host}, **more}
    if weight is not None:
        destination["weight"] = weight
    return destination


def planned(objects: dict[Ref, Object], shares: dict[Backend, int], aim: Target | None = None) -> dict[Ref, Object]:
    return planned_for(aim or target(), objects, shares)


@given(st.lists(st.integers(1, 100), min_size=2, max_size=5), st.integers(1, 99))
def test_what_is_left_is_shared_in_proportion(declared: list[int], share: int) -> None:
    hosts = ["shop.prod", *[f"other{i}.prod" for i in range(len(declared) - 1)]]
    original = virtual_service({"route": [to(h, w) for h, w in zip(hosts, declared, strict=True)]})
    after = planned({ROOT: original}, {preview(1): share})
    set_to = [d["weight"] for d in after[ROOT]["spec"]["http"][0]["route"]][: len(declared)]
    exact = [weight * (100 - share) / sum(declared) for weight in declared]
    assert all(abs(got - want) < 1 for got, want in zip(set_to, exact, strict=True))


# --- changes by others in mid-rollout ---------------------------------------------------------------------------------


def test_a_users_change_in_mid_rollout_is_what_remains() -> None:
    objects = planned({ROOT: virtual_service({"route": [to("shop", 99), to("shop.staging", 1)]})}, {preview(35): 5})
    objects[ROOT]["spec"]["http"][0]["route"] = [to("shop", 80), to("shop.staging", 20)]
    again = planned(objects, {preview(35): 10})
    assert [d["weight"] for d in again[ROOT]["spec"]["http"][0]["route"]] == [72, 18, 10]
    home = planned(again, {})
    assert home[ROOT]["spec"]["http"][0]["route"] == [to("shop", 80), to("shop.staging", 20)]


def test_the_git_version_applied_in_mid_rollout_is_recognised() -> None:
    original = virtual_service({"route": [to("shop", 99), to("shop.staging", 1)]})
    objects = planned({ROOT: original}, {preview(35): 5})
    objects[ROOT]["spec"] = copy.deepcopy(original["spec"])
    assert str(preview(35)) not in istio.weights(target(), objects)
    assert planned(planned(objects, {preview(35): 5}), {}) == {ROOT: original}


def test_a_preview_that_the_user_routes_to_already_gets_its_weight_back() -> None:
    original = virtual_service({"route": [to("shop", 99), to("shop.pr-35", 1)]})
    after = planned({ROOT: original}, {preview(35): 10})
    assert [d["weight"] for d in after[ROOT]["spec"]["http"][0]["route"]] == [90, 10]
    assert planned(after, {}) == {ROOT: original}


# --- choosing the route, and saying so where it can't be chosen ------------------------------------------------------


def test_no_route_leads_to_stable() -> None:
    objects = {ROOT: virtual_service({"route": [to("other"), to("third.place", 1)]})}
    with pytest.raises(ConfigError, match=r"prod/shop: no route leads to shop\.prod\.svc.*: other, third\.place"):
        istio.plan(target(), objects, {preview(1): 1})


def test_a_service_of_the_same_name_elsewhere_is_not_stable() -> None:
    with pytest.raises(ConfigError, match="no route leads to"):
        istio.plan(target(), {ROOT: virtual_service({"route": [to("shop.staging")]})}, {})


def test_two_routes_need_a_name() -> None:
    objects = {ROOT: virtual_service({"name": "a", "route": [to("shop")]}, {"name": "b", "route": [to("shop")]})}
    with pytest.raises(ConfigError, match=r"2 routes lead to .*: a, b; choose one with traffic\.istio\.route"):
        istio.plan(target(), objects, {preview(1): 1})
    after = planned(objects, {preview(1): 1}, target(route="b"))
    assert len(after[ROOT]["spec"]["http"][0]["route"]) == 1
    assert len(after[ROOT]["spec"]["http"][1]["route"]) == 2
    with pytest.raises(ConfigError, match=r"matches route 'c'; there are: a, b"):
        istio.plan(target(route="c"), objects, {})


def test_tcp_and_tls_routes_are_chosen_by_port_and_sni() -> None:
    tls = [{"match": [{"port": 443, "sniHosts": [f"{n}.example.com"]}], "route": [to("shop")]} for n in "ab"]
    objects = {ROOT: virtual_service(*tls, protocol="tls")}
    after = planned(objects, {preview(1): 3}, target(port=443, sni="b.example.com"))
    assert after[ROOT]["spec"]["tls"][0] == tls[0]
    assert [d["weight"] for d in after[ROOT]["spec"]["tls"][1]["route"]] == [97, 3]


def test_previews_can_not_have_more_than_everything() -> None:
    objects = {ROOT: virtual_service({"route": [to("shop")]})}
    with pytest.raises(Refused, match="120 %"):
        istio.plan(target(), objects, {preview(1): 60, preview(2): 60})


def test_a_delegate_is_followed_and_keeps_its_empty_hosts() -> None:
    root = virtual_service(
        {"match": [{"uri": {"prefix": "/"}}], "delegate": {"name": "shop-routes", "namespace": "team"}}
    )
    delegate = {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "VirtualService",
        "metadata": {"name": "shop-routes", "namespace": "team"},
        "spec": {"http": [{"route": [to("shop.prod")]}]},
    }
    at = Ref(group=GROUP, resource="virtualservices", namespace="team", name="shop-routes")
    assert istio.resources(target(), {}) == [ROOT]
    assert istio.resources(target(), {ROOT: root}) == [ROOT, at]
    objects = {ROOT: root, at: delegate}
    assert istio.routed(target(), objects) == at
    after = planned(objects, {preview(1): 5})
    assert after[ROOT] == root
    assert "hosts" not in after[at]["spec"]
    assert planned(after, {}) == objects


def test_an_unreadable_memory_is_one_clear_error() -> None:
    broken = virtual_service({"route": [to("shop")]}, annotations={istio.ORIGINAL: "{"})
    with pytest.raises(ConfigError, match=r"prod/shop: annotation pipeline-step\.dev/istio-original can't be read"):
        istio.plan(target(), {ROOT: broken}, {})


@pytest.mark.parametrize(
    ("name", "namespace", "gateway"),
    [
        ("public", "prod", "public"),
        ("istio-system/public", "istio-system", "public"),
        ("public.istio-system.svc.cluster.local", "istio-system", "public"),
    ],
)
def test_gateways_are_found_by_every_spelling(name: str, namespace: str, gateway: str) -> None:
    named = virtual_service({"route": [to("shop")]})
    named["spec"]["gateways"] = [name, "mesh"]
    assert [need.ref for need in istio.needs(target(), {ROOT: named}, [])] == [
        Ref(group=GROUP, resource="gateways", namespace=namespace, name=gateway)
    ]
