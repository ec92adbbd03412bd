"""Routers whose route is one object with weighted lists: choosing a part, what they can't name, what they give back."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from pipeline_step.errors import ConfigError, NotReady
from pipeline_step.model import Backend, Object, Ref, Target
from pipeline_step.traffic import ROUTERS, contour, openshift
from tests.traffic.listed_routes import LISTED
from tests.traffic.routes import STABLE, beside, planned, preview

GOLDEN = Path(__file__).parent / "golden"


def target(router: str, stable: Backend = STABLE, **settings: Any) -> Target:
    return Target(app="shop", stable=stable, router=router, route=ROUTERS[router].Settings(**settings))


def proxy(*routes: Object, **more: Any) -> dict[Ref, Object]:
    ref = Ref(group="projectcontour.io", resource="httpproxies", namespace="prod", name="shop")
    metadata = {"name": "shop", "namespace": "prod", "generation": 4}
    return {ref: {"kind": "HTTPProxy", "metadata": metadata, "spec": {"routes": list(routes)}, **more}}


def to(name: str, *conditions: Object) -> Object:
    return {"conditions": list(conditions), "services": [{"name": name, "port": 80}]}


def test_several_parts_need_a_name_and_a_name_must_fit() -> None:
    api = to("shop", {"prefix": "/api"})
    objects = proxy(to("shop"), api, copy.deepcopy(api), to("o", {"prefix": "/o"}))
    with pytest.raises(ConfigError, match=r"3 routes lead to .*: /, /api \[1\], /api \[2\]; choose .*contour\.route"):
        contour.plan(target("contour", http_proxy="shop"), objects, {beside(1): 1})
    (changed,) = planned(target("contour", http_proxy="shop", route="/api [2]"), objects, {beside(1): 1}).values()
    assert [len(route["services"]) for route in changed["spec"]["routes"]] == [1, 1, 2, 1]
    with pytest.raises(ConfigError, match=r"matches route '/cart'; there are: /, /api \[1\]"):
        contour.plan(target("contour", http_proxy="shop", route="/cart"), objects, {beside(1): 1})
    with pytest.raises(ConfigError, match=r"HTTPProxy prod/shop: no route leads to .*; its destinations are: o\.prod"):
        contour.plan(target("contour", http_proxy="shop"), proxy(to("o")), {beside(1): 1})


@pytest.mark.parametrize("router", [name for name in LISTED if name not in ("gloo", "kuma", "skipper")])
def test_a_preview_that_can_not_be_named_is_refused_with_what_is_possible(router: str) -> None:
    world = LISTED[router]
    key = next(key for key in world.target.route.__struct_fields__ if getattr(world.target.route, key) == "shop")
    strict = target(router, **{key: "shop"})
    assert ROUTERS[router].unreachable(strict, {}, {preview(1): 0}) == ""
    why = ROUTERS[router].unreachable(strict, {}, {preview(1): 5})
    assert "shop.pr-1 is not in prod, the namespace of" in why
    assert "let previews live" in why


@pytest.mark.parametrize("router", ["traefik", "consul", "gloo", "kuma", "skipper"])
def test_where_another_namespace_can_be_named_it_is(router: str) -> None:
    assert ROUTERS[router].unreachable(LISTED[router].target, {}, {preview(1): 5}) == ""


@pytest.mark.parametrize(("router", "most"), [("openshift", 4), ("aws_alb", 5)])
def test_more_destinations_than_the_kind_takes_are_refused(router: str, most: int) -> None:
    case = {"openshift": "openshift/one-service", "aws_alb": "aws_alb/capitals"}[router]
    how, obj = yaml.safe_load_all((GOLDEN / f"{case}.before.yaml").read_text())
    namespace, name = obj["metadata"]["namespace"], obj["metadata"]["name"]
    ref = ROUTERS[router].resources(target(router, Backend(**how["stable"]), **how["settings"]), {})[0]
    assert (ref.namespace, ref.name) == (namespace, name)
    full = {Backend(service=f"p{number}", namespace=namespace): 1 for number in range(most)}
    aimed = target(router, Backend(**how["stable"]), **how["settings"])
    assert f"would have {most + 1} destinations" in ROUTERS[router].unreachable(aimed, {ref: obj}, full)
    full.popitem()
    assert ROUTERS[router].unreachable(aimed, {ref: obj}, full) == ""


@pytest.mark.parametrize(("router", "keys"), [("traefik", "ingress_route and traefik_service"),
                                              ("gloo", "virtual_service and route_table"),
                                              ("knative", "service and serving_route")])  # fmt: skip
def test_one_kind_of_object_is_named(router: str, keys: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=f"one of {keys} is needed"):
        msgspec.convert({}, ROUTERS[router].Settings)


@pytest.mark.parametrize("router", LISTED)
def test_the_permissions_name_the_object(router: str) -> None:
    wanted = ROUTERS[router].permissions(LISTED[router].target, {}, [beside(1)])
    assert [(verb, ref.name, ref.namespace) for verb, ref, _ in wanted] == [
        ("get", "shop", "prod"),
        ("update", "shop", "prod"),
    ]


def test_json_that_a_user_changes_in_mid_rollout_is_what_remains() -> None:
    how, obj = yaml.safe_load_all((GOLDEN / "aws_alb/blue-green.before.yaml").read_text())
    aimed = target("aws_alb", Backend(**how["stable"]), **how["settings"])
    ref = ROUTERS["aws_alb"].resources(aimed, {})[0]
    during = planned(aimed, {ref: obj}, {Backend(service="p", namespace="default"): 5})
    key = "alb.ingress.kubernetes.io/actions.blue-green"
    annotations = during[ref]["metadata"]["annotations"]
    annotations[key] = annotations[key].replace('"weight":76', '"weight":50')
    groups = json.loads(planned(aimed, during, {})[ref]["metadata"]["annotations"][key])["forwardConfig"][
        "targetGroups"
    ]
    assert [(group["serviceName"], group["weight"]) for group in groups] == [("hello-v1", 72), ("hello-v2", 28)]
    assert not any(
        name.startswith("pipeline-step") for name in planned(aimed, during, {})[ref]["metadata"]["annotations"]
    )


def test_json_that_can_not_be_read_is_one_clear_error() -> None:
    _, obj = yaml.safe_load_all((GOLDEN / "aws_alb/capitals.before.yaml").read_text())
    obj["metadata"]["annotations"]["alb.ingress.kubernetes.io/actions.root"] = "{"
    aimed = target("aws_alb", Backend(service="stable", namespace="default"), ingress="shop")
    ref = ROUTERS["aws_alb"].resources(aimed, {})[0]
    with pytest.raises(ConfigError, match=r"Ingress default/shop: annotation alb\.ingress.*actions\.root is not JSON"):
        ROUTERS["aws_alb"].weights(aimed, {ref: obj})


# --- what controllers say ---------------------------------------------------------------------------------------------


def valid(status: str, generation: int = 4) -> Object:
    errors = [{"type": "ServiceError", "message": "Spec.Routes unresolved service reference"}]
    return {"conditions": [{"type": "Valid", "status": status, "observedGeneration": generation, "errors": errors}]}


def contour_says(status: Object) -> str:
    return contour.settled(target("contour", http_proxy="shop"), proxy(to("shop"), status=status))


def test_contour_is_waited_for_until_it_calls_this_generation_valid() -> None:
    assert "Contour has not seen the change yet" in contour_says({})
    assert "Contour has not seen the change yet" in contour_says(valid("True", 3))
    assert contour_says(valid("True")) == ""
    with pytest.raises(NotReady, match=r"is not valid: .* unresolved service reference"):
        contour_says(valid("False"))


def test_an_openshift_route_is_followed_once_a_router_admits_it() -> None:
    ref = Ref(group="route.openshift.io", resource="routes", namespace="prod", name="shop")

    def says(*conditions: Object) -> str:
        status = {"ingress": [{"conditions": list(conditions)}]}
        route = {"metadata": {"name": "shop", "namespace": "prod"}, "spec": {"to": {"kind": "Service", "name": "shop"}}}
        return openshift.settled(target("openshift", name="shop"), {ref: {**route, "status": status}})

    assert "no router has admitted" in says()
    assert says({"type": "Admitted", "status": "True"}) == ""
    refused = {"type": "Admitted", "status": "False", "reason": "HostAlreadyClaimed", "message": "it is taken"}
    with pytest.raises(NotReady, match="HostAlreadyClaimed: it is taken"):
        says(refused)
    assert says(refused, {"type": "Admitted", "status": "True"}) == ""
