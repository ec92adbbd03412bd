"""The ingress-nginx router's own: the canary beside the user's Ingress, and what would be in its way."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest

from pipeline_step.errors import ConfigError
from pipeline_step.model import Backend, Delete, Object, Put, Ref
from pipeline_step.traffic import nginx
from tests.traffic.routes import INGRESS, NGINX, Objects, beside, planned, preview, to_service

CANARY = Ref(group="networking.k8s.io", resource="ingresses", namespace="prod", name="shop-pipeline-step")
KIND = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress"}


def ingress(name: str, *services: str, host: str = "shop.example.com", **annotations: str) -> Objects:
    ref = Ref(group="networking.k8s.io", resource="ingresses", namespace="prod", name=name)
    metadata: dict[str, Any] = {"name": name, "namespace": "prod"}
    if annotations:
        metadata["annotations"] = {f"nginx.ingress.kubernetes.io/{key}": text for key, text in annotations.items()}
    rules = [{"host": host, "http": {"paths": [to_service(service) for service in services]}}]
    return {ref: {**KIND, "metadata": metadata, "spec": {"rules": rules}}}


def test_traffic_is_only_there_while_it_is_recorded() -> None:
    objects = ingress("shop", "shop")
    up = nginx.plan(NGINX, objects, {beside(1): 5})
    assert [change.ref for change in up] == [INGRESS, CANARY]
    objects = planned(NGINX, objects, {beside(1): 20})
    assert [change.ref for change in nginx.plan(NGINX, objects, {beside(1): 50})] == [INGRESS, CANARY]
    assert [change.ref for change in nginx.plan(NGINX, objects, {beside(1): 5})] == [CANARY, INGRESS]
    assert nginx.plan(NGINX, objects, {}) == [Delete(CANARY), Put(INGRESS, objects[INGRESS])]


def test_the_canary_follows_the_class_and_the_paths_and_keeps_what_the_server_filled_in() -> None:
    objects = ingress("shop", "shop", "cart")
    objects[INGRESS]["metadata"]["annotations"] = {"kubernetes.io/ingress.class": "internal", "team": "a"}
    objects = planned(NGINX, objects, {beside(1): 5})
    canary = objects[CANARY]
    assert canary["metadata"]["annotations"]["kubernetes.io/ingress.class"] == "internal"
    assert "team" not in canary["metadata"]["annotations"]
    assert [path["backend"]["service"]["name"] for path in canary["spec"]["rules"][0]["http"]["paths"]] == ["shop-pr-1"]
    canary["metadata"]["resourceVersion"] = "9"
    objects[INGRESS]["spec"]["rules"][0]["http"]["paths"].append(to_service("shop", "/new"))
    after = planned(NGINX, objects, {Backend(service="shop-pr-1", namespace="prod", port=81): 5})[CANARY]
    assert after["metadata"]["resourceVersion"] == "9"
    paths = after["spec"]["rules"][0]["http"]["paths"]
    assert [path["path"] for path in paths] == ["/", "/new"]
    assert paths[0]["backend"]["service"]["port"] == {"number": 81}


def test_a_weight_of_another_total_is_read_as_a_percentage() -> None:
    objects = planned(NGINX, ingress("shop", "shop"), {beside(1): 5})
    said = objects[CANARY]["metadata"]["annotations"]
    said |= {
        "nginx.ingress.kubernetes.io/canary-weight": "30",
        "nginx.ingress.kubernetes.io/canary-weight-total": "200",
    }
    assert nginx.weights(NGINX, objects) == {"shop.prod": 85, "shop-pr-1.prod": 15}


@pytest.mark.parametrize(
    ("others", "shares", "why"),
    [
        ({}, {beside(1): 5, beside(2): 5}, "takes one canary for a rule, and 2 previews"),
        ({}, {preview(1): 5}, "shop.pr-1 is not in prod, .* ExternalName"),
        (ingress("beta", "beta", canary="true"), {beside(1): 5}, "beta is a canary of the same host already"),
        (ingress("url", "shop-pr-1", host="pr-1.example.com"), {beside(1): 5}, "url leads to shop-pr-1.prod too"),
    ],
)
def test_what_ingress_nginx_can_not_do_is_refused(others: Objects, shares: dict[Backend, int], why: str) -> None:
    objects = {**ingress("shop", "shop"), **copy.deepcopy(others)}
    assert re.search(why, nginx.unreachable(NGINX, objects, shares))
    assert nginx.unreachable(NGINX, objects, dict.fromkeys(shares, 0)) == ""


def test_others_that_have_nothing_to_do_with_it_are_not_in_the_way() -> None:
    objects: dict[Ref, Object] = {
        **ingress("shop", "shop"),
        **ingress("beta", "beta", host="beta.example.com", canary="true"),
        **ingress("other", "cart"),
    }
    assert nginx.unreachable(NGINX, objects, {beside(1): 5}) == ""


def test_an_ingress_that_does_not_lead_to_stable_is_one_clear_error() -> None:
    with pytest.raises(ConfigError, match=r"Ingress prod/shop: no route leads to .*; its Services are: cart"):
        nginx.plan(NGINX, ingress("shop", "cart"), {})


def test_making_is_allowed_in_the_namespace_and_all_else_by_name() -> None:
    wanted = nginx.permissions(NGINX, {}, [beside(1)])
    assert [(verb, ref.name) for verb, ref, _ in wanted] == [
        ("get", "shop"),
        ("update", "shop"),
        ("list", ""),
        ("create", ""),
        ("update", "shop-pipeline-step"),
        ("delete", "shop-pipeline-step"),
    ]
