"""Where routers meet requests: the sandbox, and the test-bed with a real kubelet, kube-proxy and istiod."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline_step.cluster import Cluster
from pipeline_step.sandbox import Sandbox
from tests.clusters import connected
from tests.testbed import environment, network

GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: testbed, namespace: istio-system}
spec:
  gatewayClassName: istio
  listeners: [{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}]
"""
SIDE = """
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
      terminationGracePeriodSeconds: 5
      containers:
      - name: app
        image: localhost/sample:{release}
        ports: [{{containerPort: 8080}}]
        readinessProbe: {{httpGet: {{path: /healthz, port: 8080}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: shop, namespace: {namespace}}}
spec: {{selector: {{app: shop}}, ports: [{{port: 80, targetPort: 8080}}]}}
"""
_numbers = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class Bed:
    """A cluster whose gateway serves the routes of the Gateway API's Gateway `istio-system/testbed`.

    `follows` are the seconds within which its data plane follows a change.
    """

    kubeconfig: Path
    gateway: tuple[str, int]
    follows: float

    def kubectl(self, *arguments: str, text: str = "") -> str:
        """What kubectl prints; it must succeed."""
        command = ["kubectl", "--kubeconfig", str(self.kubeconfig), *arguments]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def releases(self, count: int, host: str, **headers: str) -> Counter[str]:
        """Which release answered, or with which status, for requests over one connection to the gateway."""
        connection = http.client.HTTPConnection(*self.gateway, timeout=5)
        found: Counter[str] = Counter()
        for _ in range(count):
            connection.request("GET", "/", headers={"Host": host, **headers})
            answer = connection.getresponse()
            body = answer.read()
            found[json.loads(body)["release"] if answer.status == 200 else str(answer.status)] += 1
        connection.close()
        return found

    def side(self, namespace: str, release: int, replicas: int = 1) -> None:
        """Deploy one side and wait for it."""
        self.kubectl("apply", "-f", "-", text=SIDE.format(namespace=namespace, release=release, replicas=replicas))
        self.kubectl("wait", "-n", namespace, "deployment/shop", "--for=condition=Available", "--timeout=60s")


@dataclass(frozen=True)
class Step:
    """The step's own command line, with one configuration, in the background or to its end."""

    directory: Path
    environment: dict[str, str]

    @contextmanager
    def begun(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """Started; what it says on both streams is read with `communicate`, and it ends with the block."""
        command = [sys.executable, "-m", "pipeline_step", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with subprocess.Popen(command, cwd=self.directory, env=self.environment, text=True, **pipes) as running:
            try:
                yield running
            finally:
                running.kill()

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """Run it to its end, which must be with this exit code; what it said."""
        with self.begun(*arguments) as running:
            said, _ = running.communicate(timeout=90)
        assert running.returncode == code, said
        return said


@pytest.fixture
def step(bed: Bed, tmp_path: Path) -> Callable[[str], Step]:
    """Makes the command line for a configuration."""

    def make(config: str) -> Step:
        (tmp_path / ".pipeline-step.yaml").write_text(config)
        variables = {"KUBECONFIG": str(bed.kubeconfig), "PULL_NUMBER": "35", "PULL_PULL_SHA": "abc"}
        return Step(tmp_path, {**os.environ, **variables})

    return make


@pytest.fixture(scope="module")
def sandbox_bed() -> Iterator[Bed]:
    with Sandbox() as running:
        port = int(running.gateway_url.rpartition(":")[2])
        bed = Bed(kubeconfig=running.kubeconfig, gateway=("127.0.0.1", port), follows=1)
        bed.kubectl("apply", "-f", "-", text=GATEWAY)
        yield bed


@pytest.fixture(scope="module")
def testbed_bed() -> Iterator[Bed]:
    if not environment.is_up():
        pytest.skip("the test-bed is not up: `python -m tests.testbed up` as root")
    testbed = environment.load()
    with network.entered():
        gateway = (testbed.gateway_address, testbed.gateway_api_port)
        yield Bed(kubeconfig=Path(testbed.kubeconfig), gateway=gateway, follows=10)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("sandbox", marks=pytest.mark.sandbox),
        pytest.param("testbed", marks=pytest.mark.testbed),
    ],
)
def bed(request: pytest.FixtureRequest) -> Bed:
    """Where the test runs."""
    found: Bed = request.getfixturevalue(f"{request.param}_bed")
    return found


@pytest.fixture(scope="module")
def namespaces(bed: Bed) -> Iterator[Callable[[], str]]:
    """Names for namespaces that are gone after the module."""
    made: list[str] = []

    def name() -> str:
        made.append(f"routed-{os.getpid()}-{next(_numbers)}")
        return made[-1]

    yield name
    bed.kubectl("delete", "namespace", "--ignore-not-found", "--wait=false", *made)


@pytest.fixture
def cluster(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return connected(bed.kubeconfig, monkeypatch)


def within(seconds: float, ask: Callable[[], Any]) -> Any:
    """Ask until the answer is true."""
    deadline = time.monotonic() + seconds
    while not (found := ask()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s; last was {found!r}"
        time.sleep(0.01)
    return found


def pods_answering(url: str, count: int) -> Counter[str]:
    """Which pods answered, each request over a connection of its own."""
    found: Counter[str] = Counter()
    for _ in range(count):
        with urllib.request.urlopen(url, timeout=5) as answer:
            found[json.load(answer)["pod"]] += 1
    return found
