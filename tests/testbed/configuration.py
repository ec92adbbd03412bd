"""The daemons' configuration files in `config/`, with the test-bed's addresses and folders filled in."""

from __future__ import annotations

import string
from pathlib import Path

from . import cgroups
from .environment import DNS_SERVICE, GATEWAY_SERVICE, NODE, POD_RANGE, STATE

SOURCES = Path(__file__).parent / "config"

_VALUES = {
    "state": str(STATE),
    "node": NODE,
    "pod_range": POD_RANGE,
    "pods_cgroup": cgroups.PODS,
    "dns_service": DNS_SERVICE,
    "gateway_service": GATEWAY_SERVICE,
}


def write(name: str, folder: Path = STATE) -> Path:
    """Write `config/NAME` into the state folder, or into `folder`, and return where it is."""
    template = string.Template((SOURCES / name).read_text(encoding="utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / name
    # Prometheus and Envoy have their own dollar signs, which must stay.
    target.write_text(template.safe_substitute(_VALUES), encoding="utf-8")
    return target
