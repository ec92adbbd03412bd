"""The Gateway API router against Envoy: what is written is what requests meet, and what controllers say is true."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from pipeline_step.cluster import Cluster
from pipeline_step.errors import NotReady, Refused
from pipeline_step.model import Backend, Rollout, Target
from pipeline_step.requirements import require
from pipeline_step.route import change_one, observe
from pipeline_step.traffic import gateway_api
from tests.traffic.conftest import Bed, Step, within

ROUTES = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: shop, namespace: {stable}}}
spec:
  hostnames: [{stable}.example]
  parentRefs: [{{name: testbed, namespace: istio-system}}]
  rules:
  - backendRefs: [{{name: shop, port: 80}}]
    timeouts: {{request: 5s}}
  - matches: [{{headers: [{{name: x-preview, value: always}}]}}]
    backendRefs: [{{name: shop, namespace: {preview}, port: 80}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {{name: shop-grpc, namespace: {stable}}}
spec:
  hostnames: [grpc.{stable}.example]
  parentRefs: [{{name: testbed, namespace: istio-system}}]
  rules:
  - backendRefs: [{{name: shop, port: 80}}]
---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {{name: shop, namespace: {preview}}}
spec:
  from:
  - {{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: {stable}}}
  - {{group: gateway.networking.k8s.io, kind: GRPCRoute, namespace: {stable}}}
  to: [{{group: "", kind: Service}}]
"""
STABLE, PREVIEW = "1", "2"  # the releases


@dataclass(frozen=True)
class Shop:
    """Production and a preview in namespaces of their own."""

    stable: Backend
    preview: Backend

    @property
    def host(self) -> str:
        return f"{self.stable.namespace}.example"

    def target(self, **route: str) -> Target:
        settings = gateway_api.Settings(**(route or {"http_route": "shop"}))
        return Target(app="shop", stable=self.stable, router="gateway_api", route=settings)


@pytest.fixture(scope="module")
def sides(bed: Bed, namespaces: Callable[[], str]) -> Shop:
    stable, preview = namespaces(), namespaces()
    bed.side(stable, 1)
    bed.side(preview, 2)
    return Shop(Backend(service="shop", namespace=stable), Backend(service="shop", namespace=preview))


@pytest.fixture
def shop(bed: Bed, sides: Shop, cluster: Cluster) -> Iterator[Shop]:
    text = ROUTES.format(stable=sides.stable.namespace, preview=sides.preview.namespace)
    bed.kubectl("apply", "-f", "-", text=text)
    within(30, lambda: is_settled(cluster, sides.target()))
    yield sides
    bed.kubectl("delete", "--ignore-not-found", "-f", "-", text=text)


def give(cluster: Cluster, target: Target, weights: dict[Backend, int]) -> None:
    """One write of record and weights, as every command does it."""
    rollouts = {str(b): Rollout(preview=b, run="1", by="ann", weight=weight) for b, weight in weights.items()}
    change_one(target, cluster, lambda _: rollouts)


def said(cluster: Cluster, target: Target) -> str:
    """What the controllers say against the route now."""
    try:
        return gateway_api.settled(target, observe(target, cluster).objects)
    except NotReady as error:
        return str(error)


def is_settled(cluster: Cluster, target: Target) -> bool:
    return said(cluster, target) == ""


@pytest.mark.parametrize(("kind", "name"), [("http", "shop"), ("grpc", "shop-grpc")])
def test_weights_are_followed_after_the_write(bed: Bed, cluster: Cluster, shop: Shop, kind: str, name: str) -> None:
    host = shop.host if kind == "http" else f"grpc.{shop.host}"
    target = shop.target(**{f"{kind}_route": name})

    def route() -> dict[str, object]:
        where = ("-n", shop.stable.namespace, name, "-o", "json")
        found: dict[str, object] = json.loads(bed.kubectl("get", f"{kind}route", *where))
        return found

    before = route()
    within(30, lambda: is_settled(cluster, target) and bed.releases(50, host) == {STABLE: 50})

    give(cluster, target, {shop.preview: 20})
    within(bed.follows, lambda: is_settled(cluster, target) and set(bed.releases(20, host)) == {STABLE, PREVIEW})
    found = bed.releases(1000, host)
    assert set(found) == {STABLE, PREVIEW}
    assert 137 <= found[PREVIEW] <= 263  # 200 expected, five standard deviations of 12.6

    give(cluster, target, {shop.preview: 100})
    within(bed.follows, lambda: is_settled(cluster, target) and bed.releases(100, host) == {PREVIEW: 100})

    give(cluster, target, {})
    within(bed.follows, lambda: is_settled(cluster, target) and bed.releases(100, host) == {STABLE: 100})
    after = route()
    assert after["spec"] == before["spec"]
    assert "pipeline-step.dev/" not in json.dumps(after["metadata"])


def test_a_rule_that_matches_a_header_goes_on_as_it_was(bed: Bed, cluster: Cluster, shop: Shop) -> None:
    give(cluster, shop.target(), {shop.preview: 5})
    within(bed.follows, lambda: is_settled(cluster, shop.target()))
    within(bed.follows, lambda: bed.releases(50, shop.host, **{"x-preview": "always"}) == {PREVIEW: 50})


def test_without_a_grant_it_is_refused_before_any_traffic_and_would_be_noticed_after(
    bed: Bed, cluster: Cluster, shop: Shop
) -> None:
    target = shop.target()
    require(target, cluster, observe(target, cluster), [shop.preview])
    bed.kubectl("delete", "referencegrant", "-n", shop.preview.namespace, "shop")
    with pytest.raises(Refused, match=rf"in {shop.preview.namespace}: there is none: .* create one in .* with from: "):
        require(target, cluster, observe(target, cluster), [shop.preview])

    give(cluster, target, {shop.preview: 50})

    within(bed.follows, lambda: "RefNotPermitted" in said(cluster, target))
    within(bed.follows, lambda: set(bed.releases(40, shop.host)) == {STABLE, "500"})
    give(cluster, target, {})
    within(bed.follows, lambda: bed.releases(50, shop.host) == {STABLE: 50})


def test_a_gateway_that_does_not_exist_is_named_with_those_that_do(bed: Bed, cluster: Cluster, shop: Shop) -> None:
    wrong = json.dumps([{"op": "replace", "path": "/spec/parentRefs/0/name", "value": "tetsbed"}])
    bed.kubectl("patch", "httproute", "-n", shop.stable.namespace, "shop", "--type=json", f"--patch={wrong}")
    seen = observe(shop.target(), cluster)
    with pytest.raises(
        Refused, match=r"istio-system/tetsbed does not exist \(istio-system has: testbed\): .* names it"
    ):
        require(shop.target(), cluster, seen, [shop.preview])
    assert "no controller of Gateway istio-system/tetsbed" in gateway_api.settled(shop.target(), seen.objects)


# --- whole runs -------------------------------------------------------------------------------------------------------

CONFIG = """
app: shop
production: {{namespace: {stable}, service: shop}}
preview: {{namespace: {preview}, service: shop}}
traffic: {{gateway_api: {{http_route: shop}}}}
strategy: {{steps: [20, 50], bake: 2s, poll: 0.5s}}
"""


@pytest.fixture
def run(shop: Shop, step: Callable[[str], Step]) -> Step:
    return step(CONFIG.format(stable=shop.stable.namespace, preview=shop.preview.namespace))


def test_a_run_refuses_without_a_grant_and_leaves_the_route_alone(bed: Bed, shop: Shop, run: Step) -> None:
    where = ("httproute", "-n", shop.stable.namespace, "shop", "-o", "jsonpath={.metadata.generation}")
    before = bed.kubectl("get", *where)
    bed.kubectl("delete", "referencegrant", "-n", shop.preview.namespace, "shop")
    said = run("shift", "20", code=5)
    assert f"referencegrants.gateway.networking.k8s.io in {shop.preview.namespace}: there is none" in said
    assert "create one in" in said
    assert bed.kubectl("get", *where) == before
    assert "there is none" in run("doctor", code=5)


def test_a_rollout_goes_all_the_way(bed: Bed, shop: Shop, run: Step) -> None:
    said = run("rollout")
    assert "50 %" in said
    found = bed.releases(400, shop.host)
    assert 150 <= found[PREVIEW] <= 250  # 200 expected, five standard deviations of 10
    run("revert")
    within(bed.follows, lambda: bed.releases(50, shop.host) == {STABLE: 50})


def test_a_grant_that_goes_in_mid_rollout_takes_the_traffic_home(bed: Bed, shop: Shop, run: Step) -> None:
    with run.begun("rollout", "--steps", "20", "--bake", "60s") as running:
        within(30, lambda: set(bed.releases(20, shop.host)) == {STABLE, PREVIEW})
        bed.kubectl("delete", "referencegrant", "-n", shop.preview.namespace, "shop")
        said, _ = running.communicate(timeout=30)
    assert running.returncode == 3, said
    assert "RefNotPermitted" in said
    assert bed.releases(50, shop.host) == {STABLE: 50}
