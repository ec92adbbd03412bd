"""Where scenarios run: a cluster with a gateway, and plain ways to read the truth from outside the step."""

from __future__ import annotations

import base64
import http.client
import json
import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import requests
import yaml

Obj = dict[str, Any]
T = TypeVar("T")

KINDS = {
    "Namespace": "/api/v1/namespaces",
    "Pod": "/api/v1/pods",
    "Service": "/api/v1/services",
    "ConfigMap": "/api/v1/configmaps",
    "Deployment": "/apis/apps/v1/deployments",
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/horizontalpodautoscalers",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/endpointslices",
    "Lease": "/apis/coordination.k8s.io/v1/leases",
    "VirtualService": "/apis/networking.istio.io/v1/virtualservices",
    "Gateway": "/apis/networking.istio.io/v1/gateways",
}
PATIENCE = 60.0  # seconds; far more than anything takes, so that a slow machine fails nothing


def eventually(ask: Callable[[], T], what: str = "", seconds: float = PATIENCE) -> T:
    """Ask until the answer is true, and return it."""
    until = time.monotonic() + seconds
    while True:
        found = ask()
        if found:
            return found
        assert time.monotonic() < until, f"not within {seconds:g} s: {what or 'the condition'}; last was {found!r}"
        time.sleep(0.05)


class Api:
    """The API server by plain HTTP, with the rights of the kubeconfig's user. One per thread."""

    def __init__(self, kubeconfig: Path, directory: Path) -> None:
        document = yaml.safe_load(kubeconfig.read_text())
        cluster, user = document["clusters"][0]["cluster"], document["users"][0]["user"]
        self.url = cluster["server"]
        self.session = requests.Session()
        self.session.trust_env = False
        if authority := cluster.get("certificate-authority-data"):
            file = directory / "ca.crt"
            file.write_bytes(base64.b64decode(authority))
            self.session.verify = str(file)
        if token := user.get("token"):
            self.session.headers["Authorization"] = f"Bearer {token}"

    def send(self, method: str, path: str, body: Any = None, media: str = "application/json") -> requests.Response:
        """One request; the answer whatever its status."""
        data = None if body is None else json.dumps(body)
        return self.session.request(method, self.url + path, data=data, headers={"Content-Type": media}, timeout=30)

    def find(self, kind: str, namespace: str, name: str) -> Obj | None:
        """One object, or None."""
        answer = self.send("GET", path(kind, namespace, name))
        if answer.status_code == 404:
            return None
        assert answer.ok, answer.text
        found: Obj = answer.json()
        return found

    def get(self, kind: str, namespace: str, name: str) -> Obj:
        """One object, which has to be there."""
        found = self.find(kind, namespace, name)
        assert found is not None, f"{kind} {namespace}/{name} is not there"
        return found

    def list(self, kind: str, namespace: str = "", labels: str = "") -> list[Obj]:
        """All objects of a namespace (or of all) with these labels."""
        answer = self.send("GET", path(kind, namespace) + (f"?labelSelector={labels}" if labels else ""))
        assert answer.ok, answer.text
        items: list[Obj] = answer.json()["items"]
        return items

    def create(self, obj: Obj, namespace: str = "") -> Obj:
        """Create an object; it must be new."""
        answer = self.send("POST", path(obj["kind"], namespace), obj)
        assert answer.status_code == 201, answer.text
        made: Obj = answer.json()
        return made

    def patch(self, kind: str, namespace: str, name: str, change: Obj) -> Obj:
        """A merge patch."""
        answer = self.send("PATCH", path(kind, namespace, name), change, "application/merge-patch+json")
        assert answer.ok, answer.text
        changed: Obj = answer.json()
        return changed

    def delete(self, kind: str, namespace: str, name: str) -> None:
        """Delete an object; one that is gone is fine."""
        answer = self.send("DELETE", path(kind, namespace, name))
        assert answer.ok or answer.status_code == 404, answer.text


def path(kind: str, namespace: str = "", name: str = "") -> str:
    """The path of an object or of a collection."""
    prefix, _, plural = KINDS[kind].rpartition("/")
    return prefix + (f"/namespaces/{namespace}" if namespace else "") + f"/{plural}" + (f"/{name}" if name else "")


@dataclass(frozen=True, kw_only=True)
class Bed:
    """A cluster with a gateway. Both kinds know the images `localhost/sample:1`, `:2` and `:3`, whose release is the
    tag, and the Istio Gateway `istio-system/testbed`, which takes every host."""

    name: str
    kubeconfig: Path
    api: Api
    gateway: tuple[str, int]
    stats_url: str

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """Run kubectl, which must succeed; what it prints."""
        command = ["kubectl", "--kubeconfig", str(self.kubeconfig), *arguments]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def answers(self, host: str, count: int, **headers: str) -> Counter[str]:
        """Send requests through the gateway; who answered (the release in the body), or the status or error."""
        connection = http.client.HTTPConnection(*self.gateway, timeout=10)
        seen: Counter[str] = Counter()
        for _ in range(count):
            seen[_ask(connection, host, headers)] += 1
        connection.close()
        return seen

    def counted(self, service: str, namespace: str) -> Counter[int]:
        """Envoy's own counters of the responses that it got from a Service, by status code."""
        text = requests.get(self.stats_url, timeout=10).text
        name = re.escape(f"||{service}.{namespace}.svc.cluster.local")
        found: Counter[int] = Counter()
        for line in text.splitlines():
            code = re.search(r'response_code="(\d+)"', line)
            if code and line.startswith("envoy_cluster_upstream_rq{") and re.search(name + '[;"]', line):
                found[int(code[1])] += int(float(line.rpartition(" ")[2]))
        return found

    @contextmanager
    def load(self, host: str, per_second: float = 200) -> Iterator[Counter[str]]:
        """Requests at a constant pace for as long as the block runs; the counts grow meanwhile."""
        counts: Counter[str] = Counter()
        over = threading.Event()

        def send() -> None:
            connection = http.client.HTTPConnection(*self.gateway, timeout=10)
            while not over.wait(1 / per_second):
                counts[_ask(connection, host, {})] += 1
            connection.close()

        thread = threading.Thread(target=send, name="load")
        thread.start()
        try:
            yield counts
        finally:
            over.set()
            thread.join(timeout=20)


def _ask(connection: http.client.HTTPConnection, host: str, headers: dict[str, str]) -> str:
    try:
        connection.request("GET", "/", headers={"Host": host, **headers})
        response = connection.getresponse()
        body = response.read()
    except OSError as error:
        connection.close()
        return type(error).__name__
    if response.status != 200:
        return f"status {response.status}"
    return str(json.loads(body)["release"])
