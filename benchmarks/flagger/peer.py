"""The real Flagger on the test-bed's cluster, and one of its canaries.

https://docs.flagger.app/tutorials/istio-progressive-delivery and https://docs.flagger.app/usage/metrics
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from benchmarks.flagger.users import Crowd, Exposure, exposure
from tests.scenarios.bed import Bed, eventually
from tests.scenarios.world import APP, PREVIEW_IMAGE, STABLE_IMAGE, deployment
from tests.testbed import parts

SELECTOR = 'destination_service_name="{{ target }}-canary",destination_service_namespace="{{ namespace }}"'
WINDOW = "[{{ interval }}]"
# The queries of its built-in checks, with the labels that a gateway counts by: no sidecar names a workload here.
SUCCESS = (
    f'sum(rate(istio_requests_total{{{SELECTOR},response_code!~"5.*"}}{WINDOW}))'
    f" / sum(rate(istio_requests_total{{{SELECTOR}}}{WINDOW})) * 100"
)
DURATION = (
    f"histogram_quantile(0.99, sum(rate(istio_request_duration_milliseconds_bucket{{{SELECTOR}}}{WINDOW})) by (le))"
)
WARM = 30.0  # seconds of traffic on production alone before a preview comes
REST = 3.0  # seconds in which late answers of a preview that is gone would show
PATIENCE = 840.0


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How Flagger is set: seconds between two checks, failed ones until the rollback, windows of the two queries."""

    name: str
    interval: int
    threshold: int
    success: str
    duration: str

    @property
    def analysis(self) -> dict[str, Any]:
        """The part of the Canary that says so."""
        return {
            "interval": f"{self.interval}s",
            "threshold": self.threshold,
            "maxWeight": 50,
            "stepWeight": 10,
            "metrics": [
                _metric("success", self.success, {"min": 99}),
                _metric("duration", self.duration, {"max": 500}),
            ],
        }


DOCUMENTED = Setting(name="Flagger, as documented", interval=60, threshold=5, success="1m", duration="30s")
FASTEST = Setting(name="Flagger, its fastest", interval=10, threshold=1, success="10s", duration="10s")


def _metric(name: str, window: str, limits: Mapping[str, int]) -> dict[str, Any]:
    return {"name": name, "templateRef": {"name": name}, "thresholdRange": dict(limits), "interval": window}


class Flagger:
    """A context manager: the program runs against the cluster, with its resource definitions."""

    def __init__(self, bed: Bed, prometheus: str, folder: Path) -> None:
        self.bed, self.prometheus, self.log = bed, prometheus, folder / "flagger.log"
        self._parts = {part.name: parts.folder(part) for part in parts.OPTIONAL}
        self._definitions = (self._parts["flagger-crds"] / "crd.yaml").read_text()

    def __enter__(self) -> Self:
        self.bed.kubectl("apply", "--server-side", "-f", "-", text=self._definitions)
        self.bed.kubectl("wait", "--for=condition=Established", "--timeout=30s", "crd", "canaries.flagger.app")
        command = [
            str(self._parts["flagger"] / "flagger"),
            f"-kubeconfig={self.bed.kubeconfig}",
            "-mesh-provider=istio",
            f"-metrics-server={self.prometheus}",
            "-port=18080",
            "-log-level=info",
        ]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(30)
        self.bed.kubectl("delete", "--wait=false", "-f", "-", text=self._definitions)

    def roll(self, bed: Bed, setting: Setting, fault: Mapping[str, str], crowd: Crowd, rate: float) -> Rolled:
        """One canary with this fault, from its first request to its end; `bed` is the calling thread's own."""
        space = f"flagger-{setting.interval}-{int(time.time() * 1000) % 10_000_000}"
        bed.api.create({"kind": "Namespace", "metadata": {"name": space}})
        try:
            bed.api.create(deployment(STABLE_IMAGE, 1, {}, {}), space)
            bed.kubectl("apply", "-f", "-", text=yaml.safe_dump_all(self._objects(space)))
            eventually(lambda: _phase(bed, space) == "Initialized", "the canary is initialized", 120)
            bed.kubectl("-n", space, "patch", "canary", APP, "--type=merge", "-p", _patch(setting))
            visit = crowd.visit(f"{space}.example", rate)
            time.sleep(WARM)
            bad = deployment(PREVIEW_IMAGE, 1, dict(fault), {})["spec"]["template"]
            bed.api.patch("Deployment", space, APP, {"spec": {"template": bad}})
            with suppress(AssertionError):  # a canary that has not ended by then counts as not reverted
                eventually(lambda: _phase(bed, space) in ("Failed", "Succeeded"), "the canary ends", PATIENCE)
            time.sleep(REST)
            visit.over = True
            slow = 0.5 if "SLOW_RATE" in fault else None
            return Rolled(exposure(visit.answers, "2", slow), _phase(bed, space) == "Failed", len(visit.answers))
        finally:
            bed.api.delete("Namespace", "", space)

    def _objects(self, space: str) -> list[dict[str, Any]]:
        templates = [
            {
                "apiVersion": "flagger.app/v1beta1",
                "kind": "MetricTemplate",
                "metadata": {"name": name, "namespace": space},
                "spec": {"provider": {"type": "prometheus", "address": self.prometheus}, "query": query},
            }
            for name, query in (("success", SUCCESS), ("duration", DURATION))
        ]
        service = {
            "port": 80,
            "targetPort": 8080,
            "gateways": ["istio-system/testbed"],
            "hosts": [f"{space}.example"],
        }
        canary = {
            "apiVersion": "flagger.app/v1beta1",
            "kind": "Canary",
            "metadata": {"name": APP, "namespace": space},
            "spec": {
                "targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": APP},
                "progressDeadlineSeconds": 120,
                "service": service,
                # It looks for new canaries as often as it checks, so it begins with its shortest interval.
                "analysis": FASTEST.analysis,
            },
        }
        return [*templates, canary]


@dataclass(frozen=True)
class Rolled:
    """What users saw of a preview, whether it was taken back, and how many requests there were in all."""

    seen: Exposure
    reverted: bool
    requests: int


def _patch(setting: Setting) -> str:
    return json.dumps({"spec": {"analysis": setting.analysis}})


def _phase(bed: Bed, space: str) -> str:
    return bed.kubectl("-n", space, "get", "canary", APP, "-o", "jsonpath={.status.phase}")
