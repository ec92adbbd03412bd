"""The Gateway API router's own: choosing the rule, references across namespaces, what controllers say of the route."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest

from pipeline_step.errors import ConfigError, NotReady, Refused
from pipeline_step.model import Backend, Object, Ref, Target
from pipeline_step.traffic import gateway_api
from pipeline_step.traffic.gateway_references import GROUP
from tests.traffic.routes import HTTP_ROUTE, STABLE, planned, preview

CLASS = "example.com/gateway-controller"


def target(**settings: Any) -> Target:
    route = gateway_api.Settings(**{"http_route": "shop", **settings})
    return Target(app="shop", stable=STABLE, router="gateway_api", route=route)


def route(*rules: Object, **more: Any) -> dict[Ref, Object]:
    metadata = {"name": "shop", "namespace": "prod", "generation": 4}
    spec = {"parentRefs": [{"name": "public", "namespace": "gateways"}], "rules": list(rules)}
    return {HTTP_ROUTE: {"apiVersion": f"{GROUP}/v1", "kind": "HTTPRoute", "metadata": metadata, "spec": spec, **more}}


def to(*names: str, **more: Any) -> Object:
    return {"backendRefs": [{"name": name, "port": 80} for name in names], **more}


# --- choosing the rule ------------------------------------------------------------------------------------------------


def test_no_rule_leads_to_stable() -> None:
    with pytest.raises(ConfigError, match=r"HTTPRoute prod/shop: no route leads to .*: cart\.prod, old\.prod"):
        gateway_api.plan(target(), route(to("old", "cart")), {preview(1): 1})


def test_two_rules_need_a_name() -> None:
    objects = route(to("shop", name="api"), to("shop"))
    with pytest.raises(ConfigError, match=r"2 routes lead to .*: api, rules\[1\]; choose one by its name with traffic"):
        gateway_api.plan(target(), objects, {preview(1): 1})
    after = planned(target(rule="api"), objects, {preview(1): 1})
    assert [len(rule["backendRefs"]) for rule in after[HTTP_ROUTE]["spec"]["rules"]] == [2, 1]
    with pytest.raises(ConfigError, match=r"matches rule 'pages'; there are: api, rules\[1\]"):
        gateway_api.plan(target(rule="pages"), objects, {preview(1): 1})


@pytest.mark.parametrize("given", [{}, {"http_route": "a", "grpc_route": "b"}])
def test_one_kind_of_route_is_named(given: dict[str, str]) -> None:
    with pytest.raises(msgspec.ValidationError, match="one of http_route and grpc_route is needed"):
        msgspec.convert(given, gateway_api.Settings)


def test_more_backends_than_the_api_allows_are_refused() -> None:
    objects = route(to("shop", *[f"other-{number}" for number in range(14)]))
    assert planned(target(), objects, {preview(1): 1})
    with pytest.raises(Refused, match="17 backends in one rule, and the Gateway API allows 16"):
        gateway_api.plan(target(), objects, {preview(1): 1, preview(2): 1})


# --- changes by others ------------------------------------------------------------------------------------------------


def test_a_users_change_in_mid_rollout_is_what_remains() -> None:
    objects = planned(target(), route(to("shop")), {preview(35): 5})
    changed = to("shop", "shop-old")
    changed["backendRefs"][0]["weight"] = 3
    objects[HTTP_ROUTE]["spec"]["rules"] = [copy.deepcopy(changed)]
    again = planned(target(), objects, {preview(35): 20})
    assert [backend["weight"] for backend in again[HTTP_ROUTE]["spec"]["rules"][0]["backendRefs"]] == [60, 20, 20]
    assert planned(target(), again, {})[HTTP_ROUTE]["spec"]["rules"] == [changed]


def test_an_unreadable_memory_is_one_clear_error() -> None:
    objects = route(to("shop"))
    objects[HTTP_ROUTE]["metadata"]["annotations"] = {gateway_api.ORIGINAL: "?"}
    with pytest.raises(ConfigError, match=r"HTTPRoute prod/shop: annotation pipeline-step\.dev/gateway-api-original"):
        gateway_api.plan(target(), objects, {})


# --- what has to exist ------------------------------------------------------------------------------------------------


def grant(kind: str = "HTTPRoute", namespace: str = "prod", to_kind: str = "Service", **to: str) -> Object:
    source = {"group": GROUP, "kind": kind, "namespace": namespace}
    return {"spec": {"from": [source], "to": [{"group": "", "kind": to_kind, **to}]}}


def test_a_preview_in_another_namespace_needs_a_grant_there() -> None:
    gateway, need = gateway_api.needs(
        target(), route(to("shop")), [preview(35), Backend(service="x", namespace="prod")]
    )
    assert gateway.ref == Ref(group=GROUP, resource="gateways", namespace="gateways", name="public")
    assert need.ref == Ref(group=GROUP, resource="referencegrants", namespace="pr-35", name="")
    assert "create one in pr-35 with from: [{group: gateway.networking.k8s.io, kind: HTTPRoute" in need.remedy


@pytest.mark.parametrize(
    ("found", "fits"),
    [
        (grant(), True),
        (grant(name="shop"), True),
        (grant(name="other"), False),
        (grant(kind="GRPCRoute"), False),
        (grant(namespace="staging"), False),
        (grant(to_kind="Secret"), False),
        ({"spec": {}}, False),
    ],
)
def test_only_a_grant_for_this_route_and_service_fits(found: Object, fits: bool) -> None:
    _, need = gateway_api.needs(target(), route(to("shop")), [preview(35)])
    assert need.fits(found) is fits


def test_a_service_as_parent_is_no_gateway() -> None:
    objects = route(to("shop"))
    objects[HTTP_ROUTE]["spec"]["parentRefs"] = [{"group": "", "kind": "Service", "name": "shop"}]
    assert gateway_api.needs(target(), objects, []) == []


def test_the_permissions_name_the_route() -> None:
    wanted = gateway_api.permissions(target(), route(to("shop")), [preview(35)])
    assert [(verb, ref.resource, ref.namespace, ref.name) for verb, ref, _ in wanted] == [
        ("get", "httproutes", "prod", "shop"),
        ("update", "httproutes", "prod", "shop"),
        ("get", "gateways", "gateways", "public"),
        ("list", "referencegrants", "pr-35", ""),
    ]
    assert len(gateway_api.permissions(target(), {}, [preview(35)])) == 2


# --- what the controllers say -----------------------------------------------------------------------------------------


def condition(kind: str, status: str = "True", generation: int | None = 4) -> Object:
    observed = {} if generation is None else {"observedGeneration": generation}
    return {"type": kind, "status": status, "reason": "Because", "message": "of that", **observed}


def said(*conditions: Object, **parent: Any) -> Object:
    reference = {"name": "public", "namespace": "gateways", **parent}
    return {"parentRef": reference, "controllerName": CLASS, "conditions": list(conditions)}


def settled(*parents: Object) -> str:
    return gateway_api.settled(target(), route(to("shop"), status={"parents": list(parents)}))


def test_the_route_is_followed_once_this_generation_is_accepted_and_resolved() -> None:
    assert settled(said(condition("Accepted"), condition("ResolvedRefs"))) == ""
    assert settled(said(condition("Accepted", generation=None), condition("ResolvedRefs", generation=None))) == ""
    named = {"group": GROUP, "kind": "Gateway"}
    assert settled(said(condition("Accepted"), condition("ResolvedRefs"), **named)) == ""


@pytest.mark.parametrize(
    ("parents", "reason"),
    [
        ((), "no controller of Gateway gateways/public has taken"),
        ((said(condition("Accepted"), condition("ResolvedRefs"), sectionName="http"),), "no controller of"),
        ((said(condition("Accepted"), condition("ResolvedRefs", generation=3)),), f"{CLASS} has not seen the change"),
        ((said(condition("Accepted"), condition("ResolvedRefs", "False", 3)),), "has not seen the change"),
        ((said(condition("Accepted")),), "has not seen the change"),
        ((said(condition("Accepted", "Unknown"), condition("ResolvedRefs")),), "Accepted is Unknown"),
    ],
)
def test_until_then_it_is_waited_for(parents: tuple[Object, ...], reason: str) -> None:
    assert reason in settled(*parents)


def test_a_refusal_is_no_waiting() -> None:
    with pytest.raises(NotReady, match="ResolvedRefs is False, Because: of that"):
        settled(said(condition("Accepted"), condition("ResolvedRefs", "False")))


def test_what_is_no_parent_any_more_does_not_count() -> None:
    gone = said(condition("Accepted", "False", 1), name="old")
    assert settled(gone, said(condition("Accepted"), condition("ResolvedRefs"))) == ""
