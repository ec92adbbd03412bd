"""A production of its own on the test-bed, and the step in pods with the accounts that `roles` printed for it."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline_step.cli import ACCOUNTS

from . import certificates, cluster, environment, network

HOME, PRODUCTION, PREVIEWS = "rbac-pipelines", "rbac-production", "rbac-previews"
HOST = "rbac.example"
IMAGE = "localhost/pipeline-step:rbac"
SHA = "5a" * 20
CONFIG = {
    "app": "shop",
    "production": {"namespace": PRODUCTION, "service": "shop", "workload": "deployment/shop"},
    "preview": {"namespace": PREVIEWS, "clone": True, "ready_within": "60s"},
    "traffic": {"istio": {"virtual_service": "shop"}},
    "strategy": {"steps": [20, 50], "bake": "3s", "poll": "1s", "deadline": "3m"},
    "gates": [{"scrape": {"min_success": 99, "min_requests": 5}}],
    "promote": {"workload": {"ready_within": "90s"}},
}
SECURITY = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
OBJECTS = f"""
apiVersion: v1
kind: Namespace
metadata: {{name: {HOME}}}
---
apiVersion: v1
kind: Namespace
metadata: {{name: {PRODUCTION}}}
---
apiVersion: v1
kind: Namespace
metadata: {{name: {PREVIEWS}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: shop, namespace: {PRODUCTION}}}
spec:
  replicas: 2
  minReadySeconds: 3
  selector: {{matchLabels: {{app: shop}}}}
  template:
    metadata: {{labels: {{app: shop}}}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
      - name: shop
        image: localhost/sample:1
        envFrom: [{{configMapRef: {{name: shop, optional: true}}}}]
        readinessProbe: {{httpGet: {{path: /healthz, port: 8080}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: shop, namespace: {PRODUCTION}}}
spec: {{selector: {{app: shop}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: shop, namespace: {PRODUCTION}}}
spec:
  hosts: [{HOST}]
  gateways: [istio-system/testbed]
  http:
  - route: [{{destination: {{host: shop.{PRODUCTION}.svc.cluster.local, port: {{number: 80}}}}}}]
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code, both outputs together, seconds from the container's start to its end."""

    code: int
    output: str
    seconds: float


def apply(text: str, folder: Path) -> None:
    file = folder / f"{time.monotonic_ns()}.yaml"
    file.write_text(text)
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(file))


def get(kind: str, name: str, namespace: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(cluster.kubectl("get", kind, name, "-n", namespace, "--output=json"))
    return found


def until(what: str, condition: Callable[[], Any], patience: float = 60) -> Any:
    deadline = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited {patience:.0f} s in vain: {what}"
        time.sleep(0.1)
    return found


@contextmanager
def world(folder: Path, config: Mapping[str, Any] = CONFIG) -> Iterator[None]:
    """Production and the configuration in the cluster; all of it is gone afterwards."""
    try:
        apply(OBJECTS, folder)
        configure(config)
        cluster.kubectl("wait", "deployment/shop", "-n", PRODUCTION, "--for=condition=Available", "--timeout=60s")
        yield
    finally:
        cluster.kubectl(
            "delete", "namespace", HOME, PRODUCTION, PREVIEWS, "--ignore-not-found", "--timeout=100s", patience=120
        )


def configure(config: Mapping[str, Any]) -> None:
    """Give the pods this configuration."""
    cluster.kubectl("delete", "configmap", "step", "-n", HOME, "--ignore-not-found")
    text = yaml.safe_dump(dict(config))
    cluster.kubectl("create", "configmap", "step", "-n", HOME, f"--from-literal=.pipeline-step.yaml={text}")


def start(name: str, account: str, *arguments: str, command: tuple[str, ...] = ()) -> None:
    """Start the image's command in a pod with the account, within the limits that the documentation promises."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": HOME},
        "spec": {
            "serviceAccountName": f"pipeline-step-{account}",
            "restartPolicy": "Never",
            "containers": [
                {
                    "name": "step",
                    "image": IMAGE,
                    "imagePullPolicy": "Never",
                    **({"command": list(command)} if command else {}),
                    "args": list(arguments),
                    "env": [
                        {"name": "PULL_NUMBER", "value": "7"},
                        {"name": "REPO_OWNER", "value": "acme"},
                        {"name": "REPO_NAME", "value": "shop"},
                    ],
                    "securityContext": SECURITY,
                    "resources": {"limits": {"memory": "120Mi"}},
                    "volumeMounts": [
                        {"name": "tmp", "mountPath": "/tmp"},
                        {"name": "config", "mountPath": "/workspace"},
                    ],
                }
            ],
            "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "config", "configMap": {"name": "step"}}],
        },
    }
    cluster.kubectl("create", "-f", _file(pod))


def ended(name: str, patience: float = 240) -> Ended:
    """Wait for the pod's end; it is deleted then."""

    def finished() -> dict[str, Any] | None:
        statuses = get("pod", name, HOME)["status"].get("containerStatuses") or [{}]
        found: dict[str, Any] | None = statuses[0].get("state", {}).get("terminated")
        return found

    state = until(f"pod {name} ends", finished, patience)
    output = cluster.kubectl("logs", name, "-n", HOME)
    cluster.kubectl("delete", "pod", name, "-n", HOME, "--wait=false")
    began, end = (time.mktime(time.strptime(state[key], "%Y-%m-%dT%H:%M:%SZ")) for key in ("startedAt", "finishedAt"))
    return Ended(state["exitCode"], output, end - began)


def kill(name: str) -> None:
    """End the pod's process with SIGKILL: deleting the pod would let it take its traffic back first."""

    def identity() -> str | None:
        """The kubelet writes down what it has started a little later than the step may have begun its work."""
        statuses = get("pod", name, HOME)["status"].get("containerStatuses") or [{}]
        found: str | None = statuses[0].get("containerID")
        return found

    container = until(f"pod {name} has a container", identity).removeprefix("containerd://")
    address = environment.load().containerd_address
    command = ["ctr", "--address", address, "--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL", container]
    subprocess.run(command, check=True, timeout=30)


def run(name: str, account: str, *arguments: str) -> Ended:
    """The command in a pod, from its start to its end."""
    start(name, account, *arguments)
    return ended(name)


def kubeconfig(account: str, folder: Path) -> Path:
    """The administrator's kubeconfig with the account's token instead."""
    document = yaml.safe_load(certificates.kubeconfig("admin").read_text())
    token = cluster.kubectl("create", "token", f"pipeline-step-{account}", "-n", HOME).strip()
    document["users"][0]["user"] = {"token": token}
    file = folder / f"{account}.kubeconfig"
    file.write_text(yaml.safe_dump(document))
    file.chmod(0o600)
    return file


def here(file: Path, folder: Path, *arguments: str, **variables: str) -> Ended:
    """The command on this machine with a kubeconfig, and the cluster's configuration beside it."""
    text = get("configmap", "step", HOME)["data"][".pipeline-step.yaml"]
    (folder / ".pipeline-step.yaml").write_text(text)
    began = time.monotonic()
    shop = {"PULL_NUMBER": "7", "REPO_OWNER": "acme", "REPO_NAME": "shop"}
    with network.entered():
        done = subprocess.run(
            [sys.executable, "-m", "pipeline_step", *arguments],
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "KUBECONFIG": str(file), **shop, **variables},
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
    return Ended(done.returncode, done.stdout + done.stderr, time.monotonic() - began)


def roles(folder: Path, **variables: str) -> str:
    """What `pipeline-step roles` prints to an administrator."""
    arguments = ["roles", "--namespace", HOME, *(f"--account={account}" for account in ACCOUNTS)]
    done = here(certificates.kubeconfig("admin"), folder, *arguments, **variables)
    assert done.code == 0, done.output
    return done.output


@contextmanager
def requests(rate: float = 40) -> Iterator[dict[str, int]]:
    """A steady stream of requests through the gateway while the block runs; counts by release or error."""
    bed = environment.load()
    counts: dict[str, int] = {}
    stop = threading.Event()

    def send() -> None:
        network.enter()
        connection = http.client.HTTPConnection(bed.gateway_address, bed.gateway_port, timeout=5)
        while not stop.wait(1 / rate):
            try:
                connection.request("GET", "/", headers={"Host": HOST})
                answer = connection.getresponse()
                body = answer.read()
                what = json.loads(body)["release"] if answer.status == 200 else f"status {answer.status}"
            except OSError as error:
                what = type(error).__name__
                connection.close()
            counts[what] = counts.get(what, 0) + 1
        connection.close()

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield counts
    finally:
        stop.set()
        thread.join()


def _file(obj: dict[str, Any]) -> str:
    file = Path(environment.STATE) / f"rbac-{os.getpid()}.json"
    file.write_text(json.dumps(obj))
    return str(file)
