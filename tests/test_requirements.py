"""What a router needs, looked up in an API that has it, has something else, or does not serve it at all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

from pipeline_step.cluster import Cluster
from pipeline_step.model import Ref
from pipeline_step.requirements import missing
from pipeline_step.traffic import Need
from tests.clusters import connected

GROUP = "gateway.networking.k8s.io"
GRANTS = Ref(group=GROUP, resource="referencegrants", namespace="pr-35", name="")
GATEWAY = Ref(group=GROUP, resource="gateways", namespace="infra", name="public")
Answers = dict[str, Any]


@pytest.fixture
def answers(tmp_path: Path) -> Iterator[Answers]:
    """What the API answers by path; anything else is a 404. It prefers v1, and also serves v1beta1."""
    versions = [{"groupVersion": f"{GROUP}/{version}", "version": version} for version in ("v1", "v1beta1")]
    found: Answers = {f"/apis/{GROUP}": {"versions": versions, "preferredVersion": versions[0]}}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = found.get(self.path)
            self.send_response(404 if body is None else 200)
            self.end_headers()
            self.wfile.write(json.dumps(body or {"message": "not found"}).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "c", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        "current-context": "c",
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def cluster(answers: Answers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return connected(tmp_path / "kubeconfig", monkeypatch)


def need(ref: Ref, fits: str = "") -> Need:
    return Need(ref=ref, why="because", remedy="do it", fits=lambda obj: fits in obj["metadata"]["name"])


def named(*names: str) -> Answers:
    return {"items": [{"metadata": {"name": name}} for name in names]}


def test_what_is_there_lacks_nothing(answers: Answers, cluster: Cluster) -> None:
    answers[f"/apis/{GROUP}/v1/namespaces/infra/gateways/public"] = {"metadata": {"name": "public"}}
    answers[f"/apis/{GROUP}/v1/namespaces/pr-35/referencegrants"] = named("a", "b")
    assert missing(cluster, need(GATEWAY)) == ""
    assert missing(cluster, need(GRANTS, "b")) == ""


def test_a_resource_of_an_older_version_only_is_found(answers: Answers, cluster: Cluster) -> None:
    answers[f"/apis/{GROUP}/v1beta1/namespaces/pr-35/referencegrants"] = named("b")
    assert missing(cluster, need(GRANTS, "b")) == ""


def test_what_is_missing_is_said_with_what_is_there(answers: Answers, cluster: Cluster) -> None:
    answers[f"/apis/{GROUP}/v1/namespaces/infra/gateways"] = named("b", "a")
    answers[f"/apis/{GROUP}/v1/namespaces/pr-35/referencegrants"] = named("other")
    assert missing(cluster, need(GATEWAY)) == (
        f"gateways.{GROUP} infra/public does not exist (infra has: a, b): because; do it"
    )
    assert missing(cluster, need(GRANTS, "x")) == (
        f"referencegrants.{GROUP} in pr-35: none of other fits: because; do it"
    )


def test_a_resource_that_is_not_served_is_missing(cluster: Cluster) -> None:
    assert missing(cluster, need(GRANTS)) == f"referencegrants.{GROUP} in pr-35: there is none: because; do it"
