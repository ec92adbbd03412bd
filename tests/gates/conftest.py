"""Real metrics on loopback: pods that count with prometheus_client, behind an API server's pod proxy."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from pipeline_step.cluster import Cluster
from pipeline_step.gates import Sources, Subject
from pipeline_step.http import Http
from pipeline_step.model import Backend

BEGAN = 1_790_000_000.0
STABLE = Backend(service="shop", namespace="production")
PREVIEW = Backend(service="shop", namespace="pr-35")

Answer = tuple[int, Mapping[str, str], bytes]


@dataclass
class Site:
    """A server on loopback that answers with `respond(method, path, headers, body)` and remembers its requests."""

    respond: Callable[[str, str, Mapping[str, str], bytes], Answer]
    url: str = ""
    seen: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)

    def __enter__(self) -> Site:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                headers = {key.lower(): value for key, value in self.headers.items()}
                site.seen.append((self.command, self.path, headers, body))
                status, given, text = site.respond(self.command, self.path, headers, body)
                self.send_response(status)
                for key, value in given.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                try:
                    self.wfile.write(text)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            do_GET = do_POST = do_PUT = do_DELETE = handle_any  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                """Nothing to say."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that gave up is what some tests are about."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def site() -> Iterator[Callable[[Callable[..., Answer]], Site]]:
    """Starts servers that end with the test."""
    running: list[Site] = []

    def start(respond: Callable[..., Answer]) -> Site:
        running.append(Site(respond).__enter__())
        return running[-1]

    yield start
    for one in running:
        one.__exit__()


class Pod:
    """An application that counts its requests with the real client library."""

    def __init__(self, started: float = BEGAN - 3600, label: str = "code") -> None:
        self.label = label
        self.started = started
        self.restart(started)

    def restart(self, started: float | None = None) -> None:
        """The process begins again, at nothing."""
        self.registry = CollectorRegistry()
        self.requests = Counter("http_requests", "Requests answered.", [self.label, "path"], registry=self.registry)
        self.seconds = Histogram(
            "http_request_duration_seconds", "Time to answer.", registry=self.registry, buckets=(0.1, 0.25, 0.5, 1)
        )
        start = Gauge("process_start_time_seconds", "Start.", registry=self.registry)
        start.set(self.started if started is None else started)

    def serve(self, good: int = 0, bad: int = 0, slow: int = 0, path: str = "/") -> None:
        """Answer requests: good ones, ones with status 503, and good ones that take 700 ms."""
        for count, status, seconds in ((good, "200", 0.01), (bad, "503", 0.01), (slow, "200", 0.7)):
            for _ in range(count):
                self.requests.labels(status, path).inc()
                self.seconds.observe(seconds)

    @property
    def text(self) -> str:
        return generate_latest(self.registry).decode()


@dataclass
class Api:
    """The API server's part that gates use: EndpointSlices, and the proxy to the metrics of pods."""

    pods: dict[tuple[str, str], Pod | str | int] = field(default_factory=dict)
    service: str = "shop"

    def respond(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        where = urlsplit(path).path
        kind = {"Content-Type": "application/json"}
        if where == "/apis/discovery.k8s.io":
            return 200, kind, b'{"preferredVersion": {"groupVersion": "discovery.k8s.io/v1"}}'
        if match := re.fullmatch(r"/apis/discovery.k8s.io/v1/namespaces/([^/]+)/endpointslices", where):
            return 200, kind, json.dumps({"items": [self._slice(match[1])]}).encode()
        match = re.fullmatch(r"/api/v1/namespaces/([^/]+)/pods/([^/:]+):8080/proxy/metrics", unquote(where))
        pod = self.pods.get((match[1], match[2])) if match else None
        if isinstance(pod, Pod):
            return 200, {"Content-Type": "text/plain"}, pod.text.encode()
        if isinstance(pod, str):
            return 200, {"Content-Type": "text/html"}, pod.encode()
        status = pod or 404
        return status, kind, json.dumps({"kind": "Status", "code": status, "message": f"{where}: no"}).encode()

    def _slice(self, namespace: str) -> dict[str, Any]:
        return {
            "ports": [{"port": 8080}],
            "endpoints": [
                {"addresses": ["10.0.0.1"], "conditions": {"ready": True}, "targetRef": {"kind": "Pod", "name": name}}
                for space, name in self.pods
                if space == namespace
            ],
        }


@pytest.fixture
def connect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Cluster]:
    """A real client of the API server at a URL."""

    def connect(url: str, patience: float = 0.5) -> Cluster:
        from kubernetes.config import kube_config

        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": url}}],
            "users": [{"name": "test", "user": {"token": "t"}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        }
        file = tmp_path / "kubeconfig"
        file.write_text(json.dumps(config))
        monkeypatch.setenv("KUBECONFIG", str(file))
        monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(file))
        return Cluster("test", patience=patience)

    return connect


@pytest.fixture
def http() -> Http:
    """The real client, which repeats little, and yet waits for an answer as long as a busy machine may take."""
    return Http(timeout=(5, 10), patience=0.5)


@pytest.fixture
def subject() -> Subject:
    return Subject(stable=STABLE, preview=PREVIEW, weight=5, share=5.0, began=BEGAN, now=BEGAN + 60)


@pytest.fixture
def sources(http: Http) -> Sources:
    """HTTP alone."""
    return Sources(clusters={}, http=http)


@pytest.fixture
def prometheus_server(tmp_path: Path) -> Iterator[Callable[[list[str], str], str]]:
    """Starts a real Prometheus that reads these addresses five times a second, and waits until it has a metric."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("no prometheus program is installed")
    running: list[subprocess.Popen[bytes]] = []

    def start(urls: list[str], metric: str) -> str:
        job = {"job_name": "shop", "static_configs": [{"targets": [url.removeprefix("http://") for url in urls]}]}
        config = {"global": {"scrape_interval": "200ms", "scrape_timeout": "200ms"}, "scrape_configs": [job]}
        (tmp_path / "prometheus.yml").write_text(json.dumps(config))
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        arguments = [
            program,
            f"--config.file={tmp_path / 'prometheus.yml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address={address}",
        ]
        with (tmp_path / "log").open("wb") as log:
            running.append(subprocess.Popen(arguments, stderr=log))
        wait_for_data(f"http://{address}", metric, tmp_path / "log")
        return f"http://{address}"

    yield start
    for server in running:
        server.terminate()
        server.wait(20)


def wait_for_data(url: str, metric: str, log: Path) -> None:
    """Returns once a query has an answer; a Prometheus looks for its targets every five seconds."""
    import requests

    until = time.monotonic() + 30
    while time.monotonic() < until:
        with suppress(requests.RequestException, KeyError):
            if requests.get(f"{url}/api/v1/query", {"query": metric}, timeout=2).json()["data"]["result"]:
                return
        time.sleep(0.1)
    pytest.fail(f"prometheus has no {metric} after 30 s: {log.read_text()[-2000:]}")


@pytest.fixture
def hasty() -> Sources:
    """HTTP alone, soon given up: for servers that never answer."""
    return Sources(clusters={}, http=Http(timeout=(0.3, 0.3), patience=0.5))
