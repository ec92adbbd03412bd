"""Where the test-bed lives and what its users need to reach it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import TestbedError

STATE = Path("/var/lib/pipeline-step-testbed")
"""Everything that a running test-bed writes. One test-bed per machine."""

NODE = "10.99.0.1"
"""The node's address: API server, Prometheus and istiod listen here; pods reach it too."""

POD_RANGE = "10.98.0.0/16"
SERVICE_RANGE = "10.97.0.0/16"
KUBERNETES_SERVICE = "10.97.0.1"
DNS_SERVICE = "10.97.0.10"
GATEWAY_SERVICE = "10.97.0.80"


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The addresses and files of a running test-bed. Addresses are reachable inside its network namespace only."""

    kubeconfig: str = str(STATE / "kubeconfig")
    kubectl: str
    network_namespace: str
    api_server: str = f"https://{NODE}:6443"
    audit_log: str = str(STATE / "log" / "audit.jsonl")
    gateway: str = "istio-system/testbed"
    """NAMESPACE/NAME of both Gateways, Istio's and the Gateway API's; every host and namespace may use them."""
    gateway_address: str = GATEWAY_SERVICE
    gateway_port: int = 80
    """Routes of the Istio Gateway `gateway` are served here."""
    gateway_api_port: int = 8000
    """Routes of the Gateway API's Gateway `gateway` are served here."""
    gateway_stats_url: str = f"http://{GATEWAY_SERVICE}:15000/stats/prometheus"
    prometheus_url: str = f"http://{NODE}:9090"
    sample_image: str = "localhost/sample:1"
    """The sample application; `:2` and `:3` are the same program with other digests and releases."""
    containerd_address: str = str(STATE / "containerd" / "containerd.sock")
    logs: str = str(STATE / "log")


_FILE = STATE / "environment.json"


def save(environment: Environment) -> None:
    """Say that the test-bed is up."""
    _FILE.write_text(json.dumps(asdict(environment), indent=2) + "\n", encoding="utf-8")


def is_up() -> bool:
    """Whether the last `up` succeeded and nobody took the test-bed down since."""
    return _FILE.exists()


def load() -> Environment:
    """The running test-bed's environment; TestbedError when there is none."""
    if not is_up():
        raise TestbedError(f"the test-bed is not up ({_FILE} is absent): run `python -m tests.testbed up` as root")
    return Environment(**json.loads(_FILE.read_text(encoding="utf-8")))
