"""Reading pods: which of the two sides a pod counts for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from urllib.parse import parse_qs, urlsplit

from pipeline_step.cluster import Cluster
from pipeline_step.gates import pods
from pipeline_step.model import Backend
from tests.gates.conftest import Answer, Site

BEHIND = {"shop": ["a", "b", "joined"], "shop-pr-35": ["joined", "waiting"]}


def api(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
    """EndpointSlices of two Services of one namespace, and pods that answer with their names."""
    where = urlsplit(path)
    if where.path == "/apis/discovery.k8s.io":
        return 200, {}, b'{"preferredVersion": {"groupVersion": "discovery.k8s.io/v1"}}'
    if "endpointslices" in where.path:
        service = parse_qs(where.query)["labelSelector"][0].partition("=")[2]
        endpoints = [{"addresses": ["10.0.0.1"], "targetRef": {"name": name}} for name in BEHIND[service]]
        return 200, {}, json.dumps({"items": [{"ports": [{"port": 8080}], "endpoints": endpoints}]}).encode()
    return 200, {}, where.path.split("/")[6].partition("%3A")[0].partition(":")[0].encode()


def test_a_pod_behind_both_services_is_the_previews(connect: Callable[..., Cluster], site: Callable[..., Site]) -> None:
    sides = {
        "preview": Backend(service="shop-pr-35", namespace="prod"),
        "stable": Backend(service="shop", namespace="prod"),
    }
    answers = pods.read({"": connect(site(api).url)}, sides, None, "/metrics")
    assert set(answers["preview"].texts) == {"joined", "waiting"}
    assert set(answers["stable"].texts) == {"a", "b"}
    assert (answers["preview"].pods, answers["stable"].pods) == (2, 2)
