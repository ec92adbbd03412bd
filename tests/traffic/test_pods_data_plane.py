"""The pods router against kube-proxy: whole rollouts by the command line, where there is no mesh."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from pipeline_step.preview import PREVIEW
from tests.traffic.conftest import Bed, Step, pods_answering, within

CONFIG = """
app: shop
production: {{namespace: {namespace}, service: shop, workload: deployment/shop}}
preview: {{namespace: {namespace}, clone: true}}
traffic: {{pods: {{}}}}
strategy: {{steps: [25, 50], bake: 1s, poll: 1s}}
promote: {{workload: {{}}}}
"""
NAME = "shop-pr-35"


@dataclass(frozen=True)
class Shop:
    """Production of three pods, the address of its Service, and the step's own command line."""

    bed: Bed
    namespace: str
    url: str
    step: Step

    def previews(self, count: int) -> int:
        """How many of these requests the preview answered."""
        return sum(number for pod, number in pods_answering(self.url, count).items() if pod.startswith(NAME))

    def state(self) -> list[Any]:
        """Services and Deployments as far as users write them."""
        found = json.loads(self.bed.kubectl("get", "services,deployments", "-n", self.namespace, "-o", "json"))
        revision = "deployment.kubernetes.io/revision"
        return [
            (
                obj["metadata"]["name"],
                {key: value for key, value in (obj["metadata"].get("annotations") or {}).items() if key != revision},
                obj["spec"],
            )
            for obj in found["items"]
        ]


@pytest.fixture(scope="module")
def production(bed: Bed, namespaces: Callable[[], str]) -> str:
    namespace = namespaces()
    bed.side(namespace, 1, replicas=3)
    return namespace


@pytest.fixture
def shop(bed: Bed, production: str, step: Callable[[str], Step]) -> Iterator[Shop]:
    run = step(CONFIG.format(namespace=production))
    address = bed.kubectl("get", "service", "-n", production, "shop", "-o", "jsonpath={.spec.clusterIP}")
    run("preview", "--image", "localhost/sample:2")
    yield Shop(bed, production, f"http://{address}:80/", run)
    run("preview", "--delete")
    left = bed.kubectl("get", "services,deployments", "-n", production, "-l", PREVIEW, "-o", "name")
    assert left == ""


def test_shares_are_those_of_ready_pods_and_capacity_comes_first(shop: Shop) -> None:
    before = shop.state()
    assert shop.previews(40) == 0
    planned = shop.step("plan", "--weight", "50")
    assert "-  replicas: 1\n+  replicas: 3\n" in planned
    assert "+    app: shop\n" in planned
    assert shop.state() == before

    shop.step("shift", "25")
    within(shop.bed.follows, lambda: shop.previews(20))  # kube-proxy follows the endpoints in its own time
    assert 57 <= shop.previews(400) <= 143  # 100 expected, five standard deviations of 8.7
    shop.step("shift", "50")
    where = ("-n", shop.namespace, NAME, "-o", "jsonpath={.spec.replicas}")
    assert shop.bed.kubectl("get", "deployment", *where) == "3", "half of all pods beside three are three"
    within(shop.bed.follows, lambda: len(pods_answering(shop.url, 60)) == 6)
    assert 150 <= shop.previews(400) <= 250  # 200 expected, five standard deviations of 10

    shop.step("revert")
    within(shop.bed.follows, lambda: shop.previews(40) == 0)
    assert shop.state() == before


def test_a_share_out_of_reach_is_refused_with_what_is_near(shop: Shop) -> None:
    before = shop.state()
    said = shop.step("shift", "5", code=5)
    assert f"5 % can't be reached for {NAME}.{shop.namespace} beside 3 pods of production" in said
    assert "the nearest is 25 % (1 pod); 5 % takes 16 pods of production and 1 of the preview" in said
    assert shop.state() == before
    found = shop.step("doctor")
    assert f"services {shop.namespace}/shop routes shop.{shop.namespace}: shop.{shop.namespace} 100 %" in found
    assert "can't be reached" not in found, "the strategy's own steps are"


def test_capacity_that_does_not_come_is_given_back(shop: Shop, step: Callable[[str], Step]) -> None:
    before = shop.state()
    hurried = step(CONFIG.format(namespace=shop.namespace).replace("clone: true", "clone: true, ready_within: 0s"))
    assert f"1 of 3 pods of {NAME}.{shop.namespace} are ready" in hurried("shift", "50", code=4)
    assert shop.state() == before
    assert shop.previews(40) == 0


def test_a_pod_that_dies_is_replaced_without_a_word_of_drift(shop: Shop) -> None:
    shop.step("shift", "25")
    selector = f"app=shop,{PREVIEW}={NAME}"
    pod = shop.bed.kubectl("get", "pods", "-n", shop.namespace, "-l", selector, "-o", "name").strip()
    shop.bed.kubectl("delete", "-n", shop.namespace, pod, "--wait=false")
    within(10, lambda: shop.previews(20) == 0)
    where = ("-n", shop.namespace, f"deployment/{NAME}", "--for=condition=Available", "--timeout=60s")
    shop.bed.kubectl("wait", *where)
    assert "was put back" not in shop.step("shift", "25")
    behind = ("-n", shop.namespace, "-l", "kubernetes.io/service-name=shop", "-o", "json")
    slices = json.loads(shop.bed.kubectl("get", "endpointslices", *behind))["items"]
    ready = [e["targetRef"]["name"] for piece in slices for e in piece["endpoints"] if e["conditions"]["ready"]]
    assert sum(name.startswith(NAME) for name in ready) == 1, "it is an endpoint when the step says so"
    within(shop.bed.follows, lambda: shop.previews(100) > 5)  # kube-proxy follows the endpoints in its own time


def test_a_whole_rollout_ends_with_the_preview_in_production(shop: Shop) -> None:
    before = shop.state()
    said = shop.step("rollout")
    assert "production runs" in said
    after = shop.state()
    images = [spec["template"]["spec"]["containers"][0].pop("image") for _, _, spec in after if "template" in spec]
    assert all("localhost/sample" in image for image in images)
    for _, _, spec in before:
        if "template" in spec:
            spec["template"]["spec"]["containers"][0].pop("image")
    assert after == before, "nothing but production's image has changed"
    within(shop.bed.follows, lambda: shop.previews(40) == 0)
