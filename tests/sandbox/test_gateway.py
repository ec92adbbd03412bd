"""The real Envoy: shares, changes under load, delegates, tcp, Services' own addresses, statistics."""

from __future__ import annotations

import re
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from sandbox_client import Client, Load

from pipeline_step.sandbox import Sandbox

Obj = dict[str, Any]
pytestmark = pytest.mark.sandbox
GATEWAYS = "/apis/networking.istio.io/v1/namespaces/istio-system/gateways"


@pytest.fixture(scope="module", autouse=True)
def gateway(sandbox: Sandbox) -> Iterator[None]:
    client = Client(sandbox.url)
    servers = [
        {"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]},
        {"port": {"number": 3306, "name": "tcp", "protocol": "TCP"}, "hosts": ["*"]},
    ]
    client.create(GATEWAYS, istio("Gateway", "public", "v1", servers=servers))
    yield
    client.send("DELETE", f"{GATEWAYS}/public")


def istio(kind: str, name: str, version: str = "v1alpha3", **spec: Any) -> Obj:
    """An object of Istio's; a custom kind must name itself."""
    typed = {"apiVersion": f"networking.istio.io/{version}", "kind": kind}
    return {**typed, "metadata": {"name": name}, "spec": spec}


def routes(namespace: str) -> str:
    return f"/apis/networking.istio.io/v1alpha3/namespaces/{namespace}/virtualservices"


def to(namespace: str, **weights: int) -> Obj:
    return {
        "route": [
            {"destination": {"host": f"{name}.{namespace}.svc.cluster.local", "port": {"number": 80}}, "weight": weight}
            for name, weight in weights.items()
        ]
    }


def put(client: Client, namespace: str, *http: Obj, **spec: Any) -> Obj:
    """Create or replace the VirtualService `web` of the host named as the namespace."""
    path = f"{routes(namespace)}/web"
    code, held = client.send("GET", path)
    base = {"hosts": [f"{namespace}.example.org"], "gateways": ["istio-system/public"], "http": list(http)}
    if code == 404:
        return client.create(routes(namespace), istio("VirtualService", "web", **{**base, **spec}))
    code, made = client.send("PUT", path, {**held, "spec": {**base, **spec}})
    assert code == 200, made
    return made


def ask(sandbox: Sandbox, namespace: str, path: str = "/", **headers: str) -> requests.Response:
    given = {"Host": f"{namespace}.example.org", **headers}
    return requests.get(sandbox.gateway_url + path, headers=given, timeout=5)


def until(load: Load, number: int) -> Counter[tuple[int, str]]:
    """The counts of so many more requests."""
    before = Counter(load.counts)
    deadline = time.monotonic() + 30
    while sum(load.counts.values()) - sum(before.values()) < number:
        assert time.monotonic() < deadline, "too few requests"
        time.sleep(0.01)
    return Counter(load.counts) - before


def test_requests_are_shared_as_weighted(
    sandbox: Sandbox, client: Client, namespace: str, deploy: Callable[..., Obj], load: Callable[..., Load]
) -> None:
    deploy("stable", "croc:1")
    deploy("preview", "croc:2")
    put(client, namespace, to(namespace, stable=99, preview=1))
    sandbox.settle()
    running = load(sandbox.gateway_url, f"{namespace}.example.org")
    counts = until(running, 6000)
    running.stop()
    total = sum(counts.values())
    assert set(counts) == {(200, "1"), (200, "2")}
    assert abs(counts[(200, "2")] / total - 0.01) < 0.006


def test_no_request_fails_while_weights_and_pods_change(
    sandbox: Sandbox, client: Client, namespace: str, deploy: Callable[..., Obj], load: Callable[..., Load]
) -> None:
    deploy("stable", "croc:1", 2)
    put(client, namespace, to(namespace, stable=100))
    sandbox.settle()
    running = load(sandbox.gateway_url, f"{namespace}.example.org")
    until(running, 200)
    deploy("preview", "croc:2")
    for weight in (1, 10, 50, 90):
        put(client, namespace, to(namespace, stable=100 - weight, preview=weight))
        sandbox.settle()
        until(running, 300)
    shares = until(running, 3000)
    assert abs(shares[(200, "2")] / sum(shares.values()) - 0.9) < 0.05
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "croc:3"}]}}}}
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments/stable"
    client.send("PATCH", path, patch, "application/strategic-merge-patch+json")
    deadline = time.monotonic() + 20
    while client.get(path)["status"].get("updatedReplicas") != 2 or client.get(path)["status"]["replicas"] != 2:
        assert time.monotonic() < deadline
        until(running, 50)
    put(client, namespace, to(namespace, stable=100))
    sandbox.settle()
    client.send("DELETE", f"/apis/apps/v1/namespaces/{namespace}/deployments/preview")
    client.send("DELETE", f"/api/v1/namespaces/{namespace}/services/preview")
    until(running, 1500)
    time.sleep(0.5)
    after = until(running, 300)
    running.stop()
    assert {code for code, _ in running.counts} == {200}
    assert set(after) == {(200, "3")}


def test_a_change_is_followed_within_a_second(
    sandbox: Sandbox, client: Client, namespace: str, deploy: Callable[..., Obj]
) -> None:
    deploy("stable", "croc:1")
    deploy("preview", "croc:2")
    put(client, namespace, to(namespace, stable=100))
    sandbox.settle()
    assert ask(sandbox, namespace).json()["release"] == "1"
    put(client, namespace, to(namespace, preview=100))
    began = time.monotonic()
    while ask(sandbox, namespace).json()["release"] != "2":
        assert time.monotonic() - began < 1


def test_a_destination_that_is_no_service_is_a_503(sandbox: Sandbox, client: Client, namespace: str) -> None:
    put(client, namespace, to(namespace, absent=100))
    sandbox.settle()
    assert ask(sandbox, namespace).status_code == 503


def test_an_unknown_host_and_an_absent_gateway_are_a_404(
    sandbox: Sandbox, client: Client, namespace: str, deploy: Callable[..., Obj]
) -> None:
    deploy("stable")
    put(client, namespace, to(namespace, stable=100), gateways=["istio-system/absent", "mesh"])
    sandbox.settle()
    assert ask(sandbox, namespace).status_code == 404
    put(client, namespace, to(namespace, stable=100), gateways=["istio-system/absent", "istio-system/public"])
    sandbox.settle()
    assert ask(sandbox, namespace).status_code == 200


def test_a_header_route_comes_before_the_weights(
    sandbox: Sandbox, client: Client, namespace: str, deploy: Callable[..., Obj]
) -> None:
    deploy("stable", "croc:1")
    deploy("preview", "croc:2")
    match = [{"headers": {"x-preview": {"exact": "pr-35"}}, "uri": {"prefix": "/"}}]
    put(client, namespace, {**to(namespace, preview=100), "match": match}, to(namespace, stable=100))
    sandbox.settle()
    assert ask(sandbox, namespace).json()["release"] == "1"
    assert ask(sandbox, namespace, **{"x-preview": "pr-35"}).json()["release"] == "2"


def test_a_delegate_is_followed(sandbox: Sandbox, client: Client, namespace: str, deploy: Callable[..., Obj]) -> None:
    deploy("stable", "croc:1")
    deploy("preview", "croc:2")
    body = istio("VirtualService", "inner", http=[to(namespace, stable=0, preview=100)])
    inner = client.create(routes(namespace), body)
    put(client, namespace, {"delegate": {"name": "inner", "namespace": namespace}})
    sandbox.settle()
    assert ask(sandbox, namespace).json()["release"] == "2"
    inner["spec"]["http"] = [to(namespace, stable=100, preview=0)]
    client.send("PUT", f"{routes(namespace)}/inner", inner)
    sandbox.settle()
    assert ask(sandbox, namespace).json()["release"] == "1"


def test_a_mirror_copies_requests_and_its_answers_are_not_seen(
    sandbox: Sandbox, client: Client, namespace: str, deploy: Callable[..., Obj], eventually: Callable[..., Any]
) -> None:
    deploy("stable", "croc:1")
    deploy("preview", "croc:2", FAIL_RATE="1")
    mirror = {"host": f"preview.{namespace}.svc.cluster.local", "port": {"number": 80}}
    put(client, namespace, {**to(namespace, stable=100), "mirror": mirror})
    sandbox.settle()
    assert {ask(sandbox, namespace).json()["release"] for _ in range(10)} == {"1"}
    path = f"{client.url}/api/v1/namespaces/{namespace}/services/preview:http/proxy/metrics"
    eventually(lambda: 'http_requests_total{code="500",method="GET"} 10' in requests.get(path, timeout=5).text)


def test_answers_are_counted_by_istiods_names_also_when_pods_change(
    sandbox: Sandbox, client: Client, namespace: str, deploy: Callable[..., Obj], eventually: Callable[..., Any]
) -> None:
    deploy("stable", "croc:1")
    deploy("preview", "croc:2", FAIL_RATE="1")
    put(client, namespace, to(namespace, stable=50, preview=50))
    sandbox.settle()
    codes = Counter(ask(sandbox, namespace).status_code for _ in range(30))
    scale = f"/apis/apps/v1/namespaces/{namespace}/deployments/stable/scale"
    client.send("PATCH", scale, {"spec": {"replicas": 2}}, "application/merge-patch+json")
    eventually(lambda: client.get(scale.removesuffix("/scale"))["status"].get("readyReplicas") == 2)
    sandbox.settle()
    assert counted(sandbox, namespace, "stable", 200) == codes[200]
    assert counted(sandbox, namespace, "preview", 500) == codes[500]
    codes += Counter(ask(sandbox, namespace).status_code for _ in range(30))
    assert counted(sandbox, namespace, "stable", 200) == codes[200]
    assert counted(sandbox, namespace, "preview", 500) == codes[500]


def counted(sandbox: Sandbox, namespace: str, service: str, code: int) -> int:
    """How many answers of a Service Envoy has counted."""
    text = requests.get(f"{sandbox.envoy_admin_url}/stats/prometheus", timeout=5).text
    cluster = re.escape(f"outbound|80||{service}.{namespace}.svc.cluster.local")
    pattern = rf'^envoy_cluster_upstream_rq{{response_code="{code}",cluster_name="{cluster}"}} (\d+)$'
    found = re.search(pattern, text, re.MULTILINE)
    return int(found[1]) if found else 0


def test_a_tcp_route_has_its_own_listener_and_weights(
    sandbox: Sandbox, client: Client, namespace: str, deploy: Callable[..., Obj]
) -> None:
    deploy("stable", "croc:1")
    deploy("preview", "croc:2")
    match = [{"port": 3306}]
    put(client, namespace, tcp=[{**to(namespace, stable=50, preview=50), "match": match}])
    sandbox.settle()
    url = f"http://{sandbox.gateway_address}:3306/"
    seen = Counter(requests.get(url, timeout=5).json()["release"] for _ in range(40))
    assert set(seen) == {"1", "2"}


def test_a_service_answers_on_its_own_address(
    sandbox: Sandbox, client: Client, namespace: str, deploy: Callable[..., Obj]
) -> None:
    deploy("stable", "croc:1", 2)
    sandbox.settle()
    address = client.get(f"/api/v1/namespaces/{namespace}/services/stable")["spec"]["clusterIP"]
    seen = {requests.get(f"http://{address}/", timeout=5).json()["pod"] for _ in range(30)}
    assert len(seen) == 2
    client.send("DELETE", f"/api/v1/namespaces/{namespace}/services/stable")
    sandbox.settle()
    time.sleep(0.1)
    with pytest.raises(OSError):
        socket.create_connection((address, 80), timeout=0.5).close()


def test_routes_that_envoy_refuses_leave_the_old_ones_in_force(
    sandbox: Sandbox,
    client: Client,
    namespace: str,
    deploy: Callable[..., Obj],
    caplog: pytest.LogCaptureFixture,
) -> None:
    deploy("stable")
    put(client, namespace, to(namespace, stable=100))
    sandbox.settle()
    put(client, namespace, {**to(namespace, stable=100), "match": [{"uri": {"regex": "(("}}]})
    sandbox.settle()
    assert ask(sandbox, namespace).status_code == 200
    assert "Envoy refused a part of its rds" in caplog.text
    put(client, namespace, {**to(namespace, stable=100), "match": [{"uri": {"prefix": "/only"}}]})
    sandbox.settle()
    assert (ask(sandbox, namespace, "/only").status_code, ask(sandbox, namespace).status_code) == (404, 404)
    assert ask(sandbox, namespace, "/only").text == "not found\n"


def test_the_gateway_listens_on_loopback_only(sandbox: Sandbox) -> None:
    assert urlsplit(sandbox.gateway_url).hostname == "127.0.0.1"
    assert urlsplit(sandbox.url).hostname == "127.0.0.1"
