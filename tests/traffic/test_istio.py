"""The Istio router: one property test for what every router promises, golden files for what it looks like."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pipeline_step.errors import ConfigError, Refused
from pipeline_step.model import Backend, Object, Put, Ref, Target
from pipeline_step.traffic import istio

GOLDEN = Path(__file__).parent / "golden" / "istio"
STABLE = Backend(service="shop", namespace="prod")
ROOT = Ref(group=istio.GROUP, resource="virtualservices", namespace="prod", name="shop")


def target(**settings: Any) -> Target:
    route = istio.Settings(virtual_service="shop", **settings)
    return Target(app="shop", stable=STABLE, router="istio", route=route)


def preview(number: int) -> Backend:
    return Backend(service="shop", namespace=f"pr-{number}")


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
    changes = istio.plan(aim or target(), objects, shares)
    return {**objects, **{change.ref: change.object for change in changes if isinstance(change, Put)}}


# --- what every router promises -------------------------------------------------------------------------------------

HOSTS = st.sampled_from(["shop", "shop.prod", "shop.prod.svc", "shop.prod.svc.cluster.local"])
UNKNOWN = st.dictionaries(
    st.sampled_from(["timeout", "retries", "x-future", "headers"]), st.text(max_size=5), max_size=3
)


@st.composite
def user_routes(draw: st.DrawFn) -> Object:
    """A VirtualService as users write them: stable among others, relative weights or none, unknown fields."""
    others = draw(
        st.lists(st.sampled_from(["a.prod", "b.other", "shop.staging", "api.example.com"]), unique=True, max_size=3)
    )
    declared = draw(st.lists(st.integers(0, 200), min_size=len(others) + 1, max_size=len(others) + 1))
    if sum(declared) == 0:
        declared[0] = 100
    port = draw(st.sampled_from([None, 80, 8080]))
    lone = not others and draw(st.booleans())
    destinations = []
    for host, weight in zip([draw(HOSTS), *others], declared, strict=True):
        destination = to(host, None if lone else weight, **draw(UNKNOWN))
        if port:
            destination["destination"]["port"] = {"number": port}
        destinations.append(destination)
    draw(st.randoms()).shuffle(destinations)
    protocol = draw(st.sampled_from(istio.PROTOCOLS))
    unrelated = {"match": [{"uri": {"prefix": "/other"}}], "route": [to("other.prod")], **draw(UNKNOWN)}
    routes = [{"route": destinations, **draw(UNKNOWN)}, unrelated]
    annotations = draw(st.dictionaries(st.sampled_from(["team", "note"]), st.text(max_size=5), min_size=1))
    metadata = draw(st.sampled_from([{}, {"annotations": annotations, "labels": {"a": "b"}}]))
    return virtual_service(*routes, protocol=protocol, **metadata)


SHARES = st.dictionaries(st.integers(1, 4).map(preview), st.integers(0, 25), max_size=4)


@given(user_routes(), st.lists(SHARES, min_size=1, max_size=4))
def test_router_promises(original: Object, moves: list[dict[Backend, int]]) -> None:
    objects = {ROOT: original}
    untouched = copy.deepcopy(original)
    for shares in moves:
        before = copy.deepcopy(objects)
        after = planned(objects, shares)
        assert objects == before, "the input is never changed"
        assert planned(after, shares) == after, "the same plan again changes nothing"
        weights = istio.weights(target(), after)
        for backend, share in shares.items():
            assert weights.get(str(backend), 0) == share, "what was set is read back"
        protocol = next(p for p in istio.PROTOCOLS if p in after[ROOT]["spec"])
        destinations = after[ROOT]["spec"][protocol][0]["route"]
        if any(shares.values()):
            assert sum(d["weight"] for d in destinations) == 100, "the weights sum to 100"
        assert after[ROOT]["spec"][protocol][1] == untouched["spec"][protocol][1], "other routes stay"
        objects = after
    assert planned(objects, {}) == {ROOT: untouched}, "without previews the route is as it was"


@given(st.lists(st.integers(1, 100), min_size=2, max_size=5), st.integers(1, 99))
def test_what_is_left_is_shared_in_proportion(declared: list[int], share: int) -> None:
    hosts = ["shop.prod", *[f"other{i}.prod" for i in range(len(declared) - 1)]]
    original = virtual_service({"route": [to(h, w) for h, w in zip(hosts, declared, strict=True)]})
    after = planned({ROOT: original}, {preview(1): share})
    set_to = [d["weight"] for d in after[ROOT]["spec"]["http"][0]["route"]][: len(declared)]
    exact = [weight * (100 - share) / sum(declared) for weight in declared]
    assert all(abs(got - want) < 1 for got, want in zip(set_to, exact, strict=True))


# --- golden files: what users have, and what it looks like with previews ---------------------------------------------

CASES = sorted(path.name.removesuffix(".before.yaml") for path in GOLDEN.glob("*.before.yaml"))


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str) -> None:
    documents = list(yaml.safe_load_all((GOLDEN / f"{case}.before.yaml").read_text()))
    how, *objects = documents
    stable = Backend(**how["stable"])
    aim = Target(app="x", stable=stable, router="istio", route=istio.Settings(**how["settings"]))
    before = {
        Ref(
            group=istio.GROUP,
            resource="virtualservices",
            namespace=obj["metadata"]["namespace"],
            name=obj["metadata"]["name"],
        ): obj
        for obj in objects
    }
    shares = {Backend(**{k: v for k, v in entry.items() if k != "weight"}): entry["weight"] for entry in how["shares"]}
    after = planned(before, shares, aim)
    expected = list(yaml.safe_load_all((GOLDEN / f"{case}.after.yaml").read_text()))
    assert [without_memory(obj) for obj in after.values()] == expected
    assert planned(after, {}, aim) == before


def without_memory(obj: Object) -> Object:
    shown = copy.deepcopy(obj)
    annotations = shown["metadata"].get("annotations") or {}
    annotations.pop(istio.ORIGINAL, None)
    if not annotations:
        shown["metadata"].pop("annotations", None)
    return shown


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
    at = Ref(group=istio.GROUP, resource="virtualservices", namespace="team", name="shop-routes")
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
    assert istio.needs(target(), {ROOT: named}) == [
        Ref(group=istio.GROUP, resource="gateways", namespace=namespace, name=gateway)
    ]
