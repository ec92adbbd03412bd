"""Routers against the sandbox's real Envoy: what is written is what requests meet, within a second."""

from __future__ import annotations

import http.client
import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from pipeline_step.cluster import Cluster
from pipeline_step.errors import NotReady, Refused
from pipeline_step.model import Backend, Rollout, Target
from pipeline_step.requirements import require
from pipeline_step.route import change_one, observe
from pipeline_step.sandbox import Sandbox
from pipeline_step.traffic import ROUTERS, gateway_api
from tests.clusters import connected

pytestmark = pytest.mark.sandbox

HOST = "shop.example.com"
STABLE = Backend(service="shop", namespace="prod")
PREVIEW = Backend(service="shop", namespace="pr-35")

WORKLOAD = """
apiVersion: v1
kind: Namespace
metadata: {{name: {namespace}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: shop, namespace: {namespace}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: shop}}}}
  template:
    metadata: {{labels: {{app: shop}}}}
    spec:
      containers:
      - name: app
        image: shop:1
        env: [{{name: RELEASE, value: {namespace}}}]
        ports: [{{containerPort: 8080}}]
        readinessProbe: {{httpGet: {{path: /healthz, port: 8080}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: shop, namespace: {namespace}}}
spec: {{selector: {{app: shop}}, ports: [{{port: 80, targetPort: 8080}}]}}
"""

GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: public, namespace: istio-system}
spec:
  gatewayClassName: istio
  listeners: [{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop, namespace: prod}
spec:
  hostnames: [shop.example.com]
  parentRefs: [{name: public, namespace: istio-system}]
  rules:
  - backendRefs: [{name: shop, port: 80}]
    timeouts: {request: 5s}
  - matches: [{headers: [{name: x-preview, value: always}]}]
    backendRefs: [{name: shop, namespace: pr-35, port: 80}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: shop, namespace: prod}
spec:
  hostnames: [grpc.example.com]
  parentRefs: [{name: public, namespace: istio-system}]
  rules:
  - backendRefs: [{name: shop, port: 80}]
"""

GRANT = """
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: shop, namespace: pr-35}
spec:
  from:
  - {group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: prod}
  - {group: gateway.networking.k8s.io, kind: GRPCRoute, namespace: prod}
  to: [{group: "", kind: Service}]
"""

Kubectl = Callable[..., str]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@pytest.fixture(scope="module")
def kubectl(sandbox: Sandbox) -> Kubectl:
    def run(*arguments: str, text: str = "") -> str:
        command = ["kubectl", "--kubeconfig", str(sandbox.kubeconfig), *arguments]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="module")
def both_sides(kubectl: Kubectl) -> None:
    for namespace in (STABLE.namespace, PREVIEW.namespace):
        kubectl("apply", "-f", "-", text=WORKLOAD.format(namespace=namespace, replicas=1))
    for namespace in (STABLE.namespace, PREVIEW.namespace):
        kubectl("wait", "-n", namespace, "deployment/shop", "--for=condition=Available", "--timeout=30s")


@pytest.fixture
def cluster(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return connected(sandbox.kubeconfig, monkeypatch)


@pytest.fixture
def gateway(kubectl: Kubectl, both_sides: None) -> Iterator[None]:
    kubectl("apply", "-f", "-", text=GATEWAY + "---" + GRANT)
    yield
    kubectl("delete", "--ignore-not-found", "-f", "-", text=GATEWAY + "---" + GRANT)


def target(**route: str) -> Target:
    settings = gateway_api.Settings(**(route or {"http_route": "shop"}))
    return Target(app="shop", stable=STABLE, router="gateway_api", route=settings)


def give(cluster: Cluster, target: Target, weights: dict[Backend, int]) -> None:
    """One write of record and weights, as every command does it."""
    rollouts = {str(b): Rollout(preview=b, run="1", by="ann", weight=weight) for b, weight in weights.items()}
    change_one(target, cluster, lambda _: rollouts)


def releases(url: str, count: int, host: str = HOST, **headers: str) -> Counter[str]:
    """Who answered, for requests over one connection."""
    where = urlsplit(url)
    connection = http.client.HTTPConnection(str(where.hostname), where.port, timeout=5)
    found: Counter[str] = Counter()
    for _ in range(count):
        connection.request("GET", "/", headers={"Host": host, **headers})
        answer = connection.getresponse()
        body = answer.read()
        found[json.loads(body)["release"] if answer.status == 200 else str(answer.status)] += 1
    connection.close()
    return found


def within(seconds: float, ask: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := ask()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s; last was {found!r}"
        time.sleep(0.01)
    return found


def is_settled(cluster: Cluster, target: Target) -> bool:
    return ROUTERS[target.router].settled(target, observe(target, cluster).objects) == ""


# --- Gateway API ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("gateway")
@pytest.mark.parametrize(("route", "host"), [("http_route", HOST), ("grpc_route", "grpc.example.com")])
def test_weights_are_followed_within_a_second_of_the_write(
    sandbox: Sandbox, cluster: Cluster, kubectl: Kubectl, route: str, host: str
) -> None:
    resource = "httproute" if route == "http_route" else "grpcroute"
    before = json.loads(kubectl("get", resource, "-n", "prod", "shop", "-o", "json"))["spec"]
    aim = target(**{route: "shop"})
    within(5, lambda: is_settled(cluster, aim))
    assert releases(sandbox.gateway_url, 50, host) == {"prod": 50}

    give(cluster, aim, {PREVIEW: 20})
    within(1, lambda: is_settled(cluster, aim))
    found = releases(sandbox.gateway_url, 1000, host)
    assert set(found) == {"prod", "pr-35"}
    assert 137 <= found["pr-35"] <= 263  # 200 expected, five standard deviations of 12.6

    give(cluster, aim, {PREVIEW: 100})
    within(1, lambda: is_settled(cluster, aim))
    assert releases(sandbox.gateway_url, 100, host) == {"pr-35": 100}

    give(cluster, aim, {})
    within(1, lambda: is_settled(cluster, aim))
    assert releases(sandbox.gateway_url, 100, host) == {"prod": 100}
    after = json.loads(kubectl("get", resource, "-n", "prod", "shop", "-o", "json"))
    assert after["spec"] == before
    assert not [key for key in after["metadata"].get("annotations", {}) if key.startswith("pipeline-step.dev/")]


@pytest.mark.usefixtures("gateway")
def test_a_rule_that_matches_a_header_goes_on_as_it_was(sandbox: Sandbox, cluster: Cluster) -> None:
    give(cluster, target(), {PREVIEW: 5})
    within(1, lambda: is_settled(cluster, target()))
    assert releases(sandbox.gateway_url, 50, **{"x-preview": "always"}) == {"pr-35": 50}


@pytest.mark.usefixtures("gateway")
def test_without_a_grant_it_is_refused_before_any_traffic_and_would_be_noticed_after(
    sandbox: Sandbox, cluster: Cluster, kubectl: Kubectl
) -> None:
    require(target(), cluster, observe(target(), cluster), [PREVIEW])
    kubectl("delete", "referencegrant", "-n", "pr-35", "shop")
    with pytest.raises(Refused, match=r"referencegrants.* in pr-35: there is none: .* create one in pr-35 with from: "):
        require(target(), cluster, observe(target(), cluster), [PREVIEW])

    give(cluster, target(), {PREVIEW: 50})

    def refused() -> bool:
        try:
            is_settled(cluster, target())
        except NotReady as error:
            return "RefNotPermitted" in str(error)
        return False

    within(1, refused)
    found = releases(sandbox.gateway_url, 200)
    assert set(found) == {"prod", "500"}
    give(cluster, target(), {})
    sandbox.settle()
    assert releases(sandbox.gateway_url, 50) == {"prod": 50}


@pytest.mark.usefixtures("gateway")
def test_a_gateway_that_does_not_exist_is_named_with_those_that_do(cluster: Cluster, kubectl: Kubectl) -> None:
    kubectl("patch", "httproute", "-n", "prod", "shop", "--type=json",
            '--patch=[{"op": "replace", "path": "/spec/parentRefs/0/name", "value": "pubic"}]')  # fmt: skip
    seen = observe(target(), cluster)
    with pytest.raises(Refused, match=r"istio-system/pubic does not exist \(istio-system has: public\): .* names it"):
        require(target(), cluster, seen, [PREVIEW])
    assert "no controller of Gateway istio-system/pubic" in gateway_api.settled(target(), seen.objects)
