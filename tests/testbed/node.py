"""The one node: containerd, kubelet, kube-proxy, and CoreDNS for its pods."""

from __future__ import annotations

from . import configuration, parts, processes
from .certificates import kubeconfig
from .environment import NODE, STATE


def start_containers() -> None:
    """Start containerd on its own folders and socket, with its pods' network prepared."""
    configuration.write("cni.conflist", STATE / "cni")
    containerd = configuration.write("containerd.toml")
    processes.start("containerd", ["containerd", "--config", str(containerd), "--log-level", "warn"])


def start_kubelet() -> None:
    """Start the kubelet, which registers the node under its address."""
    kubelet = configuration.write("kubelet.yaml")
    processes.start(
        "kubelet",
        [
            str(parts.path("kubernetes", "kubelet")),
            f"--config={kubelet}",
            f"--kubeconfig={kubeconfig('kubelet')}",
            f"--root-dir={STATE / 'kubelet'}",
            f"--cert-dir={STATE / 'kubelet' / 'pki'}",
            f"--hostname-override={NODE}",
            f"--node-ip={NODE}",
        ],
    )


def start_services() -> None:
    """Start what makes Services work: kube-proxy and CoreDNS."""
    proxy = configuration.write("kube-proxy.yaml")
    processes.start("kube-proxy", [str(parts.path("kubernetes", "kube-proxy")), f"--config={proxy}"])
    corefile = configuration.write("Corefile")
    processes.start("coredns", [str(parts.path("coredns", "coredns")), "-conf", str(corefile)])
