"""istiod, and Prometheus with the daemon that tells it what to scrape."""

from __future__ import annotations

import sys

from . import configuration, discovery, parts, processes
from .certificates import kubeconfig
from .environment import NODE, STATE


def start_istiod() -> None:
    """Start istiod for proxies that are plain Envoys: no certificates, none of Istio's own filters."""
    mesh = configuration.write("mesh.yaml")
    processes.start(
        "istiod",
        [
            str(parts.path("pilot-discovery", "pilot-discovery")),
            "discovery",
            f"--kubeconfig={kubeconfig('mesh')}",
            f"--meshConfig={mesh}",
            f"--grpcAddr={NODE}:15010",
            "--secureGRPCAddr=",
            f"--httpAddr={NODE}:15080",
            "--httpsAddr=",
            f"--monitoringAddr={NODE}:15014",
            "--registries=Kubernetes",
            "--namespace=istio-system",
        ],
        {
            "ENABLE_CA_SERVER": "false",
            "PILOT_CERT_PROVIDER": "none",
            "PILOT_ENABLE_METADATA_EXCHANGE": "false",
            "PILOT_ENABLE_ALPN_FILTER": "false",
            "PILOT_ENABLE_AMBIENT": "false",
            "POD_NAME": "istiod-testbed",
            "POD_NAMESPACE": "istio-system",
        },
    )


def start_prometheus() -> None:
    """Start Prometheus, which scrapes the gateway and the pods that ask for it every second."""
    targets = STATE / "targets"
    targets.mkdir(exist_ok=True)
    kubectl = str(parts.path("kubernetes", "kubectl"))
    processes.start(
        "discovery", [sys.executable, discovery.__file__, kubectl, str(kubeconfig("metrics")), str(targets)]
    )
    configuration.write("istio-rules.yaml")
    settings = configuration.write("prometheus.yaml")
    processes.start(
        "prometheus",
        [
            "prometheus",
            f"--config.file={settings}",
            f"--storage.tsdb.path={STATE / 'prometheus'}",
            "--storage.tsdb.retention.time=1d",
            "--web.listen-address=0.0.0.0:9090",
            "--web.enable-lifecycle",
            "--log.level=warn",
        ],
    )
