"""The test-bed is a real cluster: pods, Services, a mesh that follows weights, counters that tell the truth."""

from __future__ import annotations

import http.client
import json
import socket
import struct
import time
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from . import archives, cluster, environment, images, parts, processes
from .environment import DNS_SERVICE, GATEWAY_SERVICE, Environment

pytestmark = pytest.mark.testbed

WORKLOADS = str(Path(__file__).with_name("smoke.yaml"))
STABLE, PREVIEW = "smoke-production", "smoke-preview"


@pytest.fixture(scope="module")
def workloads() -> Iterator[None]:
    if not environment.is_up():
        pytest.skip("the test-bed is not up: `python -m tests.testbed up` as root")
    cluster.kubectl("apply", "--server-side", "-f", WORKLOADS)
    for namespace in (STABLE, PREVIEW):
        cluster.kubectl("wait", "deployment/app", "-n", namespace, "--for=condition=Available", "--timeout=60s")
    yield
    cluster.kubectl("delete", "namespace", STABLE, PREVIEW)


def sides(address: str, port: int, count: int) -> Counter[str]:
    """Send requests over one connection and count the releases that answered."""
    connection = http.client.HTTPConnection(address, port, timeout=5)
    releases: Counter[str] = Counter()
    for _ in range(count):
        try:
            connection.request("GET", "/", headers={"Host": "smoke.example"})
            response = connection.getresponse()
            body = response.read()
        except OSError as error:
            releases[type(error).__name__] += 1
            continue
        releases[json.loads(body)["release"] if response.status == 200 else f"status {response.status}"] += 1
    connection.close()
    return releases


def eventually(condition: Callable[[], bool], patience: float = 20) -> bool:
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def query(testbed: Environment, expression: str) -> dict[str, float]:
    """An instant query's values by destination namespace."""
    parameters = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"{testbed.prometheus_url}/api/v1/query?{parameters}", timeout=5) as response:
        series = json.load(response)["data"]["result"]
    return {one["metric"]["destination_service_namespace"]: float(one["value"][1]) for one in series}


def set_weights(stable: int, preview: int) -> None:
    route = [
        {"destination": {"host": f"app.{namespace}.svc.cluster.local"}, "weight": weight}
        for namespace, weight in ((STABLE, stable), (PREVIEW, preview))
    ]
    patch = json.dumps({"spec": {"http": [{"route": route}]}})
    cluster.kubectl("patch", "virtualservice", "app", "-n", STABLE, "--type=merge", f"--patch={patch}")


@pytest.mark.usefixtures("workloads")
def test_weights_are_followed_and_the_counters_equal_the_bodies_received(testbed: Environment) -> None:
    set_weights(90, 10)
    assert eventually(lambda: set(sides(testbed.gateway_address, testbed.gateway_port, 40)) == {"1", "2"})
    counted = "sum by (destination_service_namespace) (istio_requests_total{reporter='source',response_code='200'})"
    before = settled(testbed, counted)

    received = sides(testbed.gateway_address, testbed.gateway_port, 300)

    assert set(received) == {"1", "2"}
    assert 10 <= received["2"] <= 55  # 30 expected, standard deviation 5.2
    expected = {STABLE: before[STABLE] + received["1"], PREVIEW: before[PREVIEW] + received["2"]}
    assert eventually(lambda: query(testbed, counted) == expected), (query(testbed, counted), expected)


def settled(testbed: Environment, expression: str) -> dict[str, float]:
    """The values once two scrapes in a row have shown nothing new."""
    last = query(testbed, expression)
    while True:
        time.sleep(3)
        now = query(testbed, expression)
        if now == last and {STABLE, PREVIEW} <= set(now):
            return {namespace: now[namespace] for namespace in (STABLE, PREVIEW)}
        last = now


@pytest.mark.usefixtures("workloads")
def test_changed_weights_take_effect(testbed: Environment) -> None:
    set_weights(0, 100)
    assert eventually(lambda: set(sides(testbed.gateway_address, testbed.gateway_port, 40)) == {"2"})
    set_weights(100, 0)
    assert eventually(lambda: set(sides(testbed.gateway_address, testbed.gateway_port, 40)) == {"1"})


@pytest.mark.usefixtures("workloads")
def test_a_gateway_api_route_reaches_another_namespace_by_grant(testbed: Environment) -> None:
    assert eventually(lambda: set(sides(testbed.gateway_address, testbed.gateway_api_port, 60)) == {"1", "2"})
    received = sides(testbed.gateway_address, testbed.gateway_api_port, 300)
    assert 25 <= received["2"] <= 95  # 60 expected, standard deviation 6.9


@pytest.mark.usefixtures("workloads")
def test_pods_are_scraped_proxied_and_logged(testbed: Environment) -> None:
    name = cluster.kubectl("get", "pods", "-n", STABLE, "--output=jsonpath={.items[0].metadata.name}")
    answer = cluster.kubectl("get", f"--raw=/api/v1/namespaces/{STABLE}/pods/{name}:8080/proxy/")
    assert json.loads(answer)["release"] == "1"
    assert cluster.kubectl("logs", "-n", STABLE, name) == ""
    expression = f"max by (pod) (up{{job='pods',namespace='{STABLE}',pod='{name}'}})"
    parameters = urllib.parse.urlencode({"query": expression})

    def is_scraped() -> bool:
        url = f"{testbed.prometheus_url}/api/v1/query?{parameters}"
        with urllib.request.urlopen(url, timeout=5) as response:
            return [one["value"][1] for one in json.load(response)["data"]["result"]] == ["1"]

    assert eventually(is_scraped)


@pytest.mark.usefixtures("testbed")
def test_services_have_names() -> None:
    labels = b"".join(
        bytes([len(label)]) + label for label in b"istio-ingressgateway.istio-system.svc.cluster.local".split(b".")
    )
    question = struct.pack("!6H", 7, 0x100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(question, (DNS_SERVICE, 53))
        answer = client.recv(512)
    assert answer.endswith(socket.inet_aton(GATEWAY_SERVICE))


@pytest.mark.usefixtures("workloads")
def test_every_request_is_audited(testbed: Environment) -> None:
    set_weights(90, 10)
    lines = Path(testbed.audit_log).read_text(encoding="utf-8").splitlines()
    patches = [
        event
        for event in map(json.loads, lines)
        if event["verb"] == "patch" and event["objectRef"].get("resource") == "virtualservices"
    ]
    assert patches[-1]["user"]["username"] == "testbed-admin"
    assert patches[-1]["objectRef"]["namespace"] == STABLE


@pytest.mark.usefixtures("testbed", "workloads")
def test_a_loaded_image_runs_by_its_digest(tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    archives.write(archive, {"/sample": parts.path("sample", "sample")}, ["/sample"], {"RELEASE": "loaded"})
    digest = images.load(archive, "localhost/smoke:1")
    image = f"localhost/smoke@{digest}"
    cluster.kubectl("run", "loaded", "-n", PREVIEW, f"--image={image}")
    cluster.kubectl("wait", "pod/loaded", "-n", PREVIEW, "--for=condition=Ready", "--timeout=60s")
    running = cluster.kubectl(
        "get", "pod", "loaded", "-n", PREVIEW, "--output=jsonpath={.status.containerStatuses[0].imageID}"
    )
    assert running == image


@pytest.mark.usefixtures("testbed", "workloads")
def test_a_pod_reaches_the_api_server_by_name_and_may_do_what_its_role_says(tmp_path: Path) -> None:
    archive = tmp_path / "kubectl.tar"
    archives.write(archive, {"/kubectl": parts.path("kubernetes", "kubectl")}, ["/kubectl"])
    images.load(archive, "localhost/kubectl:1")
    account = f"{PREVIEW}:reader"
    cluster.kubectl("create", "serviceaccount", "reader", "-n", PREVIEW)
    cluster.kubectl("create", "role", "reader", "-n", PREVIEW, "--verb=get,list", "--resource=services")
    cluster.kubectl("create", "rolebinding", "reader", "-n", PREVIEW, "--role=reader", f"--serviceaccount={account}")

    def asked(name: str, *arguments: str) -> str:
        override = json.dumps({"spec": {"serviceAccountName": "reader"}})
        cluster.kubectl(
            "run", name, "-n", PREVIEW, "--image=localhost/kubectl:1", "--restart=Never", f"--overrides={override}",
            "--env=KUBERNETES_SERVICE_HOST=kubernetes.default.svc", "--", *arguments,
        )  # fmt: skip
        phase = "--output=jsonpath={.status.phase}"
        done = eventually(
            lambda: cluster.kubectl("get", "pod", name, "-n", PREVIEW, phase) in ("Succeeded", "Failed"), 40
        )
        assert done
        return cluster.kubectl("logs", "-n", PREVIEW, name)

    assert "service/app" in asked("allowed", "get", "services", "--output=name")
    assert 'cannot list resource "secrets"' in asked("refused", "get", "secrets")


def test_a_daemon_can_be_away_and_back(testbed: Environment) -> None:
    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"{testbed.prometheus_url}/-/ready", timeout=2) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    with processes.stopped("prometheus"):
        assert not answers()
    assert eventually(answers)


def test_the_machine_itself_is_out_of_reach(testbed: Environment) -> None:
    with socket.socket() as client, pytest.raises(OSError):
        client.settimeout(1)
        client.connect(("192.0.2.1", 80))
    assert testbed.network_namespace.startswith("/run/netns/")
