"""Whole rollouts judged by `compare` on requests that a real Envoy splits, in the sandbox and on the test-bed."""

from __future__ import annotations

import http.client
import itertools
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline_step.gates import exposition
from pipeline_step.sandbox import Sandbox
from tests.scenarios.bed import Api, Bed, eventually
from tests.scenarios.conftest import GATEWAY
from tests.scenarios.world import APP, World, make
from tests.testbed import environment, network

STATUSES = ", ".join(exposition.STATUS_LABELS)
SHOP_GATE = {"errors": {"max_increase": "2pp"}, "latency": {"slower_than": "500ms", "max_increase": "5pp"}}


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    with Sandbox() as sandbox:
        api = Api(sandbox.kubeconfig, tmp_path_factory.mktemp("bed"))
        api.create(GATEWAY, "istio-system")
        yield Bed(
            name="sandbox",
            kubeconfig=sandbox.kubeconfig,
            api=api,
            gateway=("127.0.0.1", int(sandbox.gateway_url.rpartition(":")[2])),
            stats_url=sandbox.envoy_admin_url + "/stats/prometheus",
        )


@pytest.fixture
def real_world(tmp_path: Path) -> Iterator[tuple[World, str]]:
    """A world on the real cluster, and the address of its Prometheus."""
    if not environment.is_up():
        pytest.skip("the test-bed is not up: `python -m tests.testbed up` as root")
    found = environment.load()
    with network.entered():
        kubeconfig = Path(found.kubeconfig)
        real = Bed(
            name="testbed",
            kubeconfig=kubeconfig,
            api=Api(kubeconfig, tmp_path),
            gateway=(found.gateway_address, found.gateway_port),
            stats_url=found.gateway_stats_url,
        )
        (tmp_path / "world").mkdir()
        world = make(real, tmp_path / "world")
        yield world, found.prometheus_url
        world.close()


@pytest.fixture
def world(bed: Bed, tmp_path: Path) -> Iterator[World]:
    world = make(bed, tmp_path)
    yield world
    world.close()


@contextmanager
def traffic(world: World, a_second: float = 150) -> Iterator[Counter[int]]:
    """Requests at a steady rate from four users; their statuses are counted."""
    counts: Counter[int] = Counter()
    ended = threading.Event()

    def use() -> None:
        with closing(http.client.HTTPConnection(*world.bed.gateway, timeout=5)) as connection:
            while not ended.is_set():
                connection.request("GET", "/", headers={"Host": world.host})
                answer = connection.getresponse()
                answer.read()
                counts[answer.status] += 1
                time.sleep(4 / a_second)

    users = [threading.Thread(target=use) for _ in range(4)]
    for user in users:
        user.start()
    try:
        yield counts
    finally:
        ended.set()
        for user in users:
            user.join()


def sources(world: World) -> dict[str, Any]:
    return {
        "pods": {"scrape": {}},
        "proxy": {"scrape": {"url": world.bed.stats_url, "preset": "envoy"}},
    }


@pytest.mark.sandbox
@pytest.mark.parametrize("source", ["pods", "proxy"])
def test_a_preview_that_fails_sometimes_is_reverted_and_the_reason_tells_all(world: World, source: str) -> None:
    world.configure(
        gates=[{"compare": {**SHOP_GATE, **sources(world)[source]}}],
        strategy={"steps": [20], "bake": "60s", "poll": "0.5s"},
    )
    world.deploy(FAIL_RATE="0.2")
    with traffic(world) as counts:
        time.sleep(1)
        done = world.step("rollout", "-o", "json")
    assert done.code == 3, done.err
    assert "compare: REVERT after" in done.result["reason"]
    assert "failed (" in done.result["reason"]
    assert world.weight() == 0
    assert counts[500] <= 60
    assert counts[200] > 100


@pytest.mark.sandbox
def test_stable_is_watched_before_the_first_request_where_that_is_wanted(world: World) -> None:
    gate = {**SHOP_GATE, "past": "3s"}
    world.configure(gates=[{"compare": gate}], strategy={"steps": [20], "bake": "60s", "poll": "0.5s"})
    world.deploy(FAIL_RATE="0.5")
    with traffic(world):
        began = time.monotonic()
        run = world.begin("rollout", "-o", "json")
        found = eventually(world.recorded, "the rollout is recorded") or {}
        assert time.monotonic() - began >= 3
        assert found["counters"]["compare"]["evidence"]["metrics"]["errors"]["recent_total"] > 50
        done = run.end()
    assert done.code == 3, done.err
    assert "compare: REVERT after" in done.result["reason"]


@pytest.mark.sandbox
def test_a_slow_preview_is_reverted(world: World) -> None:
    world.configure(gates=[{"compare": SHOP_GATE}], strategy={"steps": [20], "bake": "60s", "poll": "0.5s"})
    world.deploy(SLOW_RATE="0.5", SLOW_SECONDS="0.6")
    with traffic(world):
        time.sleep(1)
        done = world.step("rollout", "-o", "json")
    assert done.code == 3, done.err
    assert "slower than 500 ms" in done.result["reason"]


@pytest.mark.sandbox
def test_a_good_preview_is_promoted_once_that_is_proven(world: World) -> None:
    world.configure(gates=[{"compare": SHOP_GATE}], strategy={"steps": [20, 50], "bake": "1s", "poll": "0.5s"})
    world.deploy()
    with traffic(world) as counts:
        time.sleep(1)
        done = world.step("rollout", "-o", "json")
    assert done.code == 0, done.err
    assert set(counts) == {200}


@pytest.mark.sandbox
def test_the_evidence_sets_the_weights(world: World) -> None:
    """By harm budget: at 150 requests a second and polls of half a second, 10 at worst are 13 %, so 10 % begin."""
    world.configure(
        gates=[{"compare": SHOP_GATE}],
        strategy={"steps": "auto", "harm_budget": 10, "poll": "0.5s", "max_weight": 40, "soak": "8s"},
    )
    world.deploy()
    with traffic(world) as counts:
        time.sleep(1)
        began = time.monotonic()
        done = world.step("rollout", "-o", "json")
    assert done.code == 0, done.err
    assert time.monotonic() - began >= 8
    weights = [int(weight) for weight in re.findall(r"takes (\d+) %", done.err)]
    assert weights[0] <= 10
    assert weights[-1] == 40
    assert all(later <= 4 * earlier for earlier, later in itertools.pairwise(weights))
    assert set(counts) == {200}


@pytest.mark.sandbox
def test_the_evidence_raises_nothing_for_a_preview_that_fails(world: World) -> None:
    world.configure(gates=[{"compare": SHOP_GATE}], strategy={"steps": "auto", "harm_budget": 10, "poll": "0.5s"})
    world.deploy(FAIL_RATE="1")
    with traffic(world) as counts:
        time.sleep(1)
        done = world.step("rollout", "-o", "json")
    assert done.code == 3, done.err
    assert "compare: REVERT after" in done.result["reason"]
    assert re.findall(r"takes (\d+) %", done.err) in (["10"], ["9"], ["8"], ["7"])
    assert counts[500] <= 40


@pytest.mark.sandbox
@pytest.mark.parametrize("source", ["pods", "proxy"])
def test_plan_and_doctor_say_how_long_a_proof_takes(world: World, source: str) -> None:
    gates = [{"compare": {**SHOP_GATE, **sources(world)[source]}}]
    world.configure(gates=gates, strategy={"steps": [20], "bake": "1s"})
    world.deploy()
    with traffic(world):
        time.sleep(1)
        planned, examined = world.step("plan", "--weight", "5"), world.step("doctor")
        world.configure(gates=gates, strategy={"steps": [20], "bake": "1s", "deadline": "2s"})
        hasty, refused = world.step("plan", "--weight", "5", "-o", "json"), world.step("doctor")
    said = re.search(
        r"^# ([\d.]+) requests a second, of which \d\S* % fail; to exclude .* at 20 %$", planned.out, re.MULTILINE
    )
    assert said, planned.out
    assert 20 <= float(said[1]) <= 200, "a loaded machine sends fewer"
    series, labels = "http_requests_total", ""
    if source == "proxy":
        series = "envoy_cluster_upstream_rq"
        labels = rf'cluster_name=~"outbound[|]\\d+[|].*[|]{APP}[.]{world.preview_namespace()}[.]svc[.].*"'
    query = f"preview is counted by sum by (instance, pod, {STATUSES}) ({series}{{{labels}}})"
    assert f"# {query}\n" in planned.out
    assert f"ok    compare: {query}\n" in examined.out
    assert examined.code == 0, examined.out
    assert "ok    compare: " in examined.out
    assert hasty.result["proof"]["in_time"] is False
    assert "the deadline of 2 s is too short for that" in hasty.result["proof"]["text"]
    assert refused.code == 5
    assert "FAIL  compare: " in refused.out


@pytest.mark.testbed
@pytest.mark.parametrize("source", ["pods", "proxy", "prometheus"])
def test_on_a_real_cluster_with_istio(real_world: tuple[World, str], source: str) -> None:
    """A preview without a sidecar: what the gateway counts is all there is, straight or through Prometheus."""
    world, prometheus = real_world
    kinds = {**sources(world), "prometheus": {"prometheus": {"url": prometheus, "preset": "istio"}}}
    gate = {"errors": SHOP_GATE["errors"], **kinds[source]}
    world.configure(gates=[{"compare": gate}], strategy={"steps": [20], "bake": "60s", "poll": "0.5s"})
    world.deploy(FAIL_RATE="0.2")
    with traffic(world) as counts:
        time.sleep(2)
        done = world.step("rollout", "-o", "json")
    assert done.code == 3, done.err
    assert "compare: REVERT after" in done.result["reason"]
    assert world.weight() == 0
    assert counts[500] <= 100


@pytest.mark.testbed
@pytest.mark.parametrize(
    ("fault", "words", "most"),
    [
        ({"FAIL_RATE": "0.1"}, "failed (", 100),
        ({"FAIL_RATE": "1"}, "failed (100.00 %)", 100),
        ({"SLOW_RATE": "0.5", "SLOW_SECONDS": "0.7"}, "slower than 500 ms", 0),
    ],
    ids=["a tenth fails", "all fail", "half are slow"],
)
def test_bad_previews_leave_a_real_cluster_by_their_evidence(
    real_world: tuple[World, str], fault: dict[str, str], words: str, most: int
) -> None:
    """The default ramp on what a real Prometheus knows of the real gateway; users count the failures themselves."""
    world, prometheus = real_world
    gate = {"prometheus": {"url": prometheus, "preset": "istio"}, "latency": {"slower_than": "500ms"}}
    world.configure(gates=[{"compare": gate}], strategy={"steps": "auto", "poll": "1s", "deadline": "2m"})
    world.deploy(**fault)
    with traffic(world, 100) as counts:
        time.sleep(10)
        done = world.step("rollout", "-o", "json")
    assert done.code == 3, done.err
    assert "compare: REVERT after" in done.result["reason"]
    assert words in done.result["reason"]
    assert world.weight() == 0
    assert counts[500] <= most
