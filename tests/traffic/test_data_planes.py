"""Routers against the sandbox's real Envoy: what is written is what requests meet, within a second."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from pipeline_step.cluster import Cluster
from pipeline_step.errors import NotReady, Refused
from pipeline_step.model import Backend, Rollout, Target
from pipeline_step.preview import PREVIEW
from pipeline_step.requirements import require
from pipeline_step.route import change_one, observe
from pipeline_step.sandbox import Sandbox
from pipeline_step.traffic import ROUTERS, gateway_api
from tests.clusters import connected

pytestmark = pytest.mark.sandbox

HOST = "shop.example.com"
STABLE = Backend(service="shop", namespace="prod")
ELSEWHERE = Backend(service="shop", namespace="pr-35")

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
    for namespace in (STABLE.namespace, ELSEWHERE.namespace):
        kubectl("apply", "-f", "-", text=WORKLOAD.format(namespace=namespace, replicas=1))
    for namespace in (STABLE.namespace, ELSEWHERE.namespace):
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

    give(cluster, aim, {ELSEWHERE: 20})
    within(1, lambda: is_settled(cluster, aim))
    found = releases(sandbox.gateway_url, 1000, host)
    assert set(found) == {"prod", "pr-35"}
    assert 137 <= found["pr-35"] <= 263  # 200 expected, five standard deviations of 12.6

    give(cluster, aim, {ELSEWHERE: 100})
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
    give(cluster, target(), {ELSEWHERE: 5})
    within(1, lambda: is_settled(cluster, target()))
    assert releases(sandbox.gateway_url, 50, **{"x-preview": "always"}) == {"pr-35": 50}


@pytest.mark.usefixtures("gateway")
def test_without_a_grant_it_is_refused_before_any_traffic_and_would_be_noticed_after(
    sandbox: Sandbox, cluster: Cluster, kubectl: Kubectl
) -> None:
    require(target(), cluster, observe(target(), cluster), [ELSEWHERE])
    kubectl("delete", "referencegrant", "-n", "pr-35", "shop")
    with pytest.raises(Refused, match=r"referencegrants.* in pr-35: there is none: .* create one in pr-35 with from: "):
        require(target(), cluster, observe(target(), cluster), [ELSEWHERE])

    give(cluster, target(), {ELSEWHERE: 50})

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
        require(target(), cluster, seen, [ELSEWHERE])
    assert "no controller of Gateway istio-system/pubic" in gateway_api.settled(target(), seen.objects)


# --- pods -------------------------------------------------------------------------------------------------------------

PODS_CONFIG = """
app: shop
production: {namespace: counted, service: shop, workload: deployment/shop}
preview: {namespace: counted, clone: true}
traffic: {pods: {}}
strategy: {steps: [25, 50], bake: 1s, poll: 1s}
"""


@dataclass(frozen=True)
class Counted:
    """Production of three pods without a mesh, its address, and the step's own command line."""

    address: str
    step: Callable[..., str]

    def answers(self, count: int) -> Counter[str]:
        """Who answered, each request over a connection of its own."""
        found: Counter[str] = Counter()
        for _ in range(count):
            with urllib.request.urlopen(self.address, timeout=5) as answer:
                found["preview" if "pr-35" in json.load(answer)["pod"] else "stable"] += 1
        return found


@pytest.fixture(scope="module")
def production(kubectl: Kubectl) -> str:
    kubectl("apply", "-f", "-", text=WORKLOAD.format(namespace="counted", replicas=3))
    kubectl("wait", "-n", "counted", "deployment/shop", "--for=condition=Available", "--timeout=30s")
    address = kubectl("get", "service", "-n", "counted", "shop", "-o", "jsonpath={.spec.clusterIP}")
    return f"http://{address}:80/"


@pytest.fixture
def counted(sandbox: Sandbox, kubectl: Kubectl, production: str, tmp_path: Path) -> Iterator[Counted]:
    (tmp_path / ".pipeline-step.yaml").write_text(PODS_CONFIG)
    environment = {**os.environ, "KUBECONFIG": str(sandbox.kubeconfig), "PULL_NUMBER": "35", "PULL_PULL_SHA": "abc"}

    def step(*arguments: str, code: int = 0) -> str:
        command = [sys.executable, "-m", "pipeline_step", *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    step("preview", "--image", "shop:2")
    yield Counted(production, step)
    step("preview", "--delete")
    assert "pr-35" not in kubectl("get", "services,deployments", "-n", "counted", "-l", PREVIEW, "-o", "name")


def state(kubectl: Kubectl) -> list[Any]:
    """Production's Service and what belongs to the preview, as far as users write it."""
    found = json.loads(kubectl("get", "services,deployments", "-n", "counted", "-o", "json"))["items"]
    return [(obj["metadata"]["name"], obj["metadata"].get("annotations"), obj["spec"]) for obj in found]


def test_shares_are_those_of_ready_pods_and_capacity_comes_first(counted: Counted, kubectl: Kubectl) -> None:
    before = state(kubectl)
    assert counted.answers(40) == {"stable": 40}

    planned = counted.step("plan", "--weight", "50")
    assert "-  replicas: 1\n+  replicas: 3\n" in planned
    assert "+    app: shop\n" in planned
    assert state(kubectl) == before

    counted.step("shift", "25")
    assert 62 <= counted.answers(400)["preview"] <= 138  # 100 expected, standard deviation 8.7
    counted.step("shift", "50")
    replicas = kubectl("get", "deployment", "-n", "counted", "shop-pr-35", "-o", "jsonpath={.spec.replicas}")
    assert replicas == "3", "half of all pods beside three are three"
    assert 150 <= counted.answers(400)["preview"] <= 250

    counted.step("revert")
    assert counted.answers(40) == {"stable": 40}
    assert state(kubectl) == before


def test_a_share_out_of_reach_is_refused_with_what_is_near(counted: Counted, kubectl: Kubectl) -> None:
    before = state(kubectl)
    said = counted.step("shift", "5", code=5)
    assert "5 % can't be reached for shop-pr-35.counted beside 3 pods of production" in said
    assert "the nearest is 25 % (1 pod); 5 % takes 16 pods of production and 1 of the preview" in said
    assert state(kubectl) == before
    found = counted.step("doctor")
    assert "services counted/shop routes shop.counted: shop.counted 100 %" in found
    assert "can't be reached" not in found, "the strategy's own steps are"


def test_a_pod_that_dies_is_replaced_without_a_word_of_drift(counted: Counted, kubectl: Kubectl) -> None:
    counted.step("shift", "25")
    pod = kubectl("get", "pods", "-n", "counted", "-l", f"app=shop,{PREVIEW}=shop-pr-35", "-o", "name").strip()
    kubectl("delete", "-n", "counted", pod, "--wait=false")
    within(5, lambda: counted.answers(20) == {"stable": 20})
    assert "reasserted" not in counted.step("rollout", "--steps", "25")
    assert counted.answers(100)["preview"] > 5
