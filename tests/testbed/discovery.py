"""A daemon that tells Prometheus which pods ask to be scraped, in the files that its `file_sd_configs` reads.

Debian's Prometheus is built without Kubernetes discovery. Run as a script: discovery.py KUBECTL KUBECONFIG FOLDER.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_ANNOTATION = "prometheus.io/"
_PERIOD_SECONDS = 1.0


def gateways(pods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The scrape targets of the ingress gateway's pods."""
    return [
        {"targets": [f"{pod['status']['podIP']}:15000"], "labels": {"pod": pod["metadata"]["name"]}}
        for pod in pods
        if pod["metadata"].get("labels", {}).get("istio") == "ingressgateway" and _is_running(pod)
    ]


def annotated(pods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The scrape targets of pods with prometheus.io/scrape: "true", at prometheus.io/port and prometheus.io/path."""
    found = []
    for pod in pods:
        annotations = pod["metadata"].get("annotations", {})
        if annotations.get(f"{_ANNOTATION}scrape") != "true" or not _is_running(pod):
            continue
        labels = {
            "namespace": pod["metadata"]["namespace"],
            "pod": pod["metadata"]["name"],
            "__metrics_path__": annotations.get(f"{_ANNOTATION}path", "/metrics"),
        }
        for name in ("app", "version"):
            if name in pod["metadata"].get("labels", {}):
                labels[name] = pod["metadata"]["labels"][name]
        port = annotations.get(f"{_ANNOTATION}port", "8080")
        found.append({"targets": [f"{pod['status']['podIP']}:{port}"], "labels": labels})
    return found


def _is_running(pod: dict[str, Any]) -> bool:
    status = pod.get("status", {})
    return status.get("phase") == "Running" and "podIP" in status


def _pods(kubectl: str, kubeconfig: str) -> list[dict[str, Any]] | None:
    """All pods; None when the API server does not answer, so that the targets stay as they are."""
    command = [kubectl, f"--kubeconfig={kubeconfig}", "get", "--raw=/api/v1/pods?resourceVersion=0"]
    done = subprocess.run(command, capture_output=True, check=False)
    return list(json.loads(done.stdout)["items"]) if done.returncode == 0 else None


def _write(target: Path, content: list[dict[str, Any]]) -> None:
    text = json.dumps(content, sort_keys=True)
    if target.exists() and target.read_text(encoding="utf-8") == text:
        return
    part = target.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.rename(target)


def main() -> None:
    """Write the target files now and whenever they change."""
    kubectl, kubeconfig, folder = sys.argv[1:]
    while True:
        pods = _pods(kubectl, kubeconfig)
        if pods is not None:
            _write(Path(folder) / "gateway.json", gateways(pods))
            _write(Path(folder) / "pods.json", annotated(pods))
        time.sleep(_PERIOD_SECONDS)


if __name__ == "__main__":
    main()
