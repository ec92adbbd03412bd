"""The pods router's own: what is in reach, who takes part, what comes first, and who is to blame where it can't be."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_step.errors import ConfigError
from pipeline_step.model import Backend, Object, Put, Ref, Target
from pipeline_step.preview import PREVIEW
from pipeline_step.traffic import pods
from pipeline_step.traffic.pod_capacity import REPLICAS
from pipeline_step.traffic.pod_membership import JOINED
from pipeline_step.traffic.pod_shares import count, out_of_reach, percent
from tests.traffic.routes import PODS, SELECTOR, SERVICE, STABLE, Objects, beside, deployment, planned, pod

KEY = str(beside(35))


def shop(stable: int, previews: int, **own: str) -> Objects:
    """Production's pods, and a preview's with a Deployment of as many."""
    objects: Objects = {
        SERVICE: {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "shop", "namespace": "prod"},
            "spec": {"selector": SELECTOR},
        }
    }
    for number in range(stable):
        objects |= pod(f"shop-{number}", SELECTOR)
    for number in range(previews):
        objects |= pod(f"shop-pr-35-{number}", {PREVIEW: "shop-pr-35", **own})
    return objects | deployment(35, previews)


def joined(objects: Objects) -> list[str]:
    return [ref.name for ref, obj in objects.items() if JOINED in (obj["metadata"].get("annotations") or {})]


def with_endpoints(objects: Objects, *names: str) -> Objects:
    slices = Ref(
        group="discovery.k8s.io",
        resource="endpointslices",
        namespace="prod",
        name="",
        labels="kubernetes.io/service-name=shop",
    )
    endpoints = [{"targetRef": {"name": name}, "conditions": {"ready": True}} for name in names]
    return {**objects, slices: {"items": [{"endpoints": endpoints}]}}


# --- what is in reach -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stable", "weight", "said"),
    [
        (3, 25, ""),
        (2, 33, ""),
        (19, 5, ""),
        (1, 50, ""),
        (3, 5, "beside 3 pods of production: the nearest is 25 % (1 pod); 5 % takes 16 pods of production and 1 of"),
        (4, 25, "the nearest are 20 % (1 pod) and 33.3 % (2 pods); 25 % takes 6 pods of production and 2 of the prev"),
        (0, 25, "production has no ready pod"),
        (3, 100, "pods can't give previews 100 %"),
    ],
)
def test_the_reachable_percentages_are_said_beforehand(stable: int, weight: int, said: str) -> None:
    found = pods.unreachable(PODS, shop(stable, 1), {beside(35): weight})
    assert (said in found) if said else found == ""


def test_a_tolerance_widens_the_reach() -> None:
    wide = Target(app="shop", stable=STABLE, router="pods", route=pods.Settings(tolerance=20))
    assert pods.unreachable(wide, shop(3, 1), {beside(35): 5}) == ""


@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 30))
def test_what_is_in_reach_is_met_within_the_tolerance(stable: int, first: int, second: int) -> None:
    weights = {"a": first, **({"b": second} if second else {})}
    counted = count(stable, weights)
    total = stable + sum(entry.pods for entry in counted.values())
    off = [abs(percent(counted[name].pods, total) - weight) for name, weight in weights.items()]
    assert (out_of_reach(stable, weights, 1) == "") == (max(off) <= 1)


@given(st.integers(1, 30), st.integers(1, 90))
def test_the_number_of_pods_that_is_named_really_does_it(stable: int, weight: int) -> None:
    words = out_of_reach(stable, {"a": weight}, 0.5)
    if "takes " in words:
        needed, previews = (int(word) for word in words.rpartition("takes ")[2].split() if word.isdigit())
        assert needed > stable
        assert abs(percent(previews, needed + previews) - weight) <= 0.5
        assert out_of_reach(needed, {"a": weight}, 0.5) == ""


# --- who takes part ---------------------------------------------------------------------------------------------------


def test_ready_pods_take_part_first_and_a_broken_one_is_replaced() -> None:
    objects = shop(3, 0) | pod("shop-pr-35-a", {PREVIEW: "shop-pr-35"}, ready=False)
    objects |= pod("shop-pr-35-b", {PREVIEW: "shop-pr-35"}) | pod("shop-pr-35-c", {PREVIEW: "shop-pr-35"})
    after = planned(PODS, objects, {beside(35): 25})
    assert joined(after) == ["shop-pr-35-b"]
    after |= pod("shop-pr-35-b", after[_pod("shop-pr-35-b")]["metadata"]["labels"], ready=False,
                 annotations=after[_pod("shop-pr-35-b")]["metadata"]["annotations"])  # fmt: skip
    assert joined(planned(PODS, after, {beside(35): 25})) == ["shop-pr-35-c"]


def _pod(name: str) -> Ref:
    return Ref(group="", resource="pods", namespace="prod", name=name)


def test_a_pod_on_its_way_out_counts_for_nobody() -> None:
    objects = shop(3, 2)
    objects[_pod("shop-0")]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    objects[_pod("shop-pr-35-0")]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    after = planned(PODS, objects, {beside(35): 33})
    assert joined(after) == ["shop-pr-35-1"]
    assert pods.weights(PODS, after) == {"shop.prod": 67, KEY: 33}


def test_more_pods_of_production_change_nothing_and_fewer_take_some_off() -> None:
    objects = planned(PODS, shop(4, 4), {beside(35): 50})
    assert len(joined(objects)) == 4
    for number in range(4, 12):
        objects |= pod(f"shop-{number}", SELECTOR)
    assert len(joined(planned(PODS, objects, {beside(35): 50}))) == 4
    few = {ref: obj for ref, obj in objects.items() if ref.name not in {f"shop-{n}" for n in range(2, 12)}}
    again = planned(PODS, few, {beside(35): 50})
    assert len(joined(again)) == 2
    assert again[SERVICE] == objects[SERVICE], "which is no drift of the route"


def test_lists_and_single_objects_are_told_apart() -> None:
    single = shop(3, 1)
    items = [{k: v for k, v in obj.items() if k not in ("kind", "apiVersion")} for ref, obj in single.items()
             if ref.resource == "pods"]  # fmt: skip
    every = Ref(group="", resource="pods", namespace="prod", name="", labels="app=shop,tier=web")
    listed = {SERVICE: single[SERVICE], every: {"items": items}}
    changes = pods.plan(PODS, listed, {beside(35): 25})
    assert [change.ref for change in changes] == [SERVICE, _pod("shop-pr-35-0")]
    (*_, join) = changes
    assert isinstance(join, Put)
    assert join.object["kind"] == "Pod"
    written = {**listed, join.ref: join.object}
    assert pods.weights(PODS, written) == {"shop.prod": 75, KEY: 25}


# --- what comes first -------------------------------------------------------------------------------------------------


def order(changes: list[Any]) -> list[str]:
    return [change.ref.resource for change in changes]


def test_up_the_record_is_first_and_down_it_is_last() -> None:
    objects = shop(3, 1)
    assert order(pods.plan(PODS, objects, {beside(35): 25})) == ["services", "pods"]
    up = planned(PODS, objects, {beside(35): 25})
    scaled = pods.room(PODS, up, {beside(35): 50}).changes
    assert order(pods.plan(PODS, {**up, **{c.ref: c.object for c in scaled if isinstance(c, Put)}}, {})) == [
        "pods",
        "deployments",
        "services",
    ]


def test_there_is_room_once_as_many_pods_are_ready_as_the_share_takes() -> None:
    objects = shop(3, 1)
    assert pods.room(PODS, objects, {beside(35): 25}) == ([], "")
    (scaled,), missing = pods.room(PODS, objects, {beside(35): 50})
    assert missing == f"1 of 3 pods of {KEY} are ready"
    assert isinstance(scaled, Put)
    assert scaled.object["spec"]["replicas"] == 3
    objects[scaled.ref] = scaled.object
    assert pods.room(PODS, objects, {beside(35): 50}) == ([], missing), "asked for once"
    for number in (1, 2):
        objects |= pod(f"shop-pr-35-{number}", {PREVIEW: "shop-pr-35"})
    assert pods.room(PODS, objects, {beside(35): 50}) == ([], "")
    assert planned(PODS, objects, {})[scaled.ref]["spec"]["replicas"] == 1


def test_it_is_settled_once_the_endpoints_are_those_that_take_part() -> None:
    up = planned(PODS, shop(3, 2), {beside(35): 25})
    assert pods.settled(PODS, with_endpoints(up, "shop-0")) == f"0 of 1 pods of {KEY} are endpoints of shop.prod"
    assert pods.settled(PODS, with_endpoints(up, "shop-0", "shop-pr-35-0")) == ""
    down = planned(PODS, up, {})
    lingering = with_endpoints(down, "shop-0", "shop-pr-35-0")
    assert "shop-pr-35-0 has left, and is still among the endpoints" in pods.settled(PODS, lingering)
    assert pods.settled(PODS, with_endpoints(down, "shop-0")) == ""


# --- where it can't be ------------------------------------------------------------------------------------------------


def test_a_preview_elsewhere_can_not_take_part() -> None:
    with pytest.raises(ConfigError, match=r"must live in prod, .* write preview\.namespace: prod"):
        pods.plan(PODS, shop(3, 1), {Backend(service="shop", namespace="pr-35"): 25})


def test_a_preview_that_the_service_selects_by_itself_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"pods prod/shop-pr-35-0 is of .*services prod/shop selects it by itself"):
        pods.plan(PODS, shop(3, 1, **SELECTOR), {beside(35): 25})


def test_a_deployment_that_selects_by_the_same_label_is_refused() -> None:
    objects = shop(3, 1, app="preview")
    (ref,) = deployment(35)
    objects[ref]["spec"]["selector"]["matchLabels"] = {"app": "preview"}
    with pytest.raises(ConfigError, match=r"selects its pods by app=preview, and services prod/shop by app=shop"):
        pods.plan(PODS, objects, {beside(35): 25})


def test_without_a_deployment_it_is_said_what_is_needed() -> None:
    objects = {ref: obj for ref, obj in shop(3, 1).items() if ref.resource != "deployments"}
    with pytest.raises(ConfigError, match=r"needs 3 pods, and exactly one Deployment with the label .*there are: none"):
        pods.room(PODS, objects, {beside(35): 50})


def test_a_service_without_a_selector_is_refused() -> None:
    objects = shop(3, 1)
    del objects[SERVICE]["spec"]["selector"]
    with pytest.raises(ConfigError, match="services prod/shop has no selector"):
        pods.resources(PODS, objects)


@pytest.mark.parametrize("text", ["?", "[]", '{"preview": 1}'])
def test_unreadable_memories_are_one_clear_error(text: str) -> None:
    objects = planned(PODS, shop(3, 1), {beside(35): 25})
    broken: Object = copy.deepcopy(objects[SERVICE])
    broken["metadata"]["annotations"] = {pods.GIVEN: text}
    with pytest.raises(ConfigError, match=r"Service prod/shop: annotation .*pods-given can't be read"):
        pods.plan(PODS, {**objects, SERVICE: broken}, {})
    objects[_pod("shop-pr-35-0")]["metadata"]["annotations"][JOINED] = text
    with pytest.raises(ConfigError, match=r"Pod prod/shop-pr-35-0: annotation .*joined can't be read"):
        pods.plan(PODS, objects, {})


def test_a_number_of_replicas_that_is_none_is_refused() -> None:
    objects = shop(3, 1)
    (ref,) = deployment(35)
    objects[ref]["metadata"]["annotations"] = {REPLICAS: "many"}
    with pytest.raises(ConfigError, match="replicas-original is 'many', not a number of replicas"):
        pods.plan(PODS, objects, {})


def test_what_a_pod_was_is_remembered_on_the_pod() -> None:
    up = planned(PODS, shop(3, 1, app="mine"), {beside(35): 25})
    meta = up[_pod("shop-pr-35-0")]["metadata"]
    assert meta["labels"] == {PREVIEW: "shop-pr-35", **SELECTOR}
    assert json.loads(meta["annotations"][JOINED]) == {"preview": KEY, "before": {"app": "mine", "tier": None}}
