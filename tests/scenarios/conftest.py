"""The two beds and a world of its own for each scenario."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline_step.sandbox import Sandbox
from tests.testbed import environment, network

from .bed import Api, Bed
from .world import World, make

GATEWAY = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "Gateway",
    "metadata": {"name": "testbed"},
    "spec": {
        "selector": {"istio": "ingressgateway"},
        "servers": [{"port": {"number": 80, "name": "http", "protocol": "HTTP"}, "hosts": ["*/*"]}],
    },
}


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        yield running


@pytest.fixture(scope="session")
def sandbox_bed(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Bed:
    api = Api(sandbox.kubeconfig, tmp_path_factory.mktemp("sandbox-bed"))
    api.create(GATEWAY, "istio-system")
    port = int(sandbox.gateway_url.rpartition(":")[2])
    return Bed(
        name="sandbox",
        kubeconfig=sandbox.kubeconfig,
        api=api,
        gateway=("127.0.0.1", port),
        stats_url=sandbox.envoy_admin_url + "/stats/prometheus",
    )


@pytest.fixture
def testbed_bed(tmp_path: Path) -> Iterator[Bed]:
    if not environment.is_up():
        pytest.skip("the test-bed is not up: `python -m tests.testbed up` as root")
    testbed = environment.load()
    with network.entered():
        kubeconfig = Path(testbed.kubeconfig)
        yield Bed(
            name="testbed",
            kubeconfig=kubeconfig,
            api=Api(kubeconfig, tmp_path),
            gateway=(testbed.gateway_address, testbed.gateway_port),
            stats_url=testbed.gateway_stats_url,
        )


@pytest.fixture(
    params=[
        pytest.param("sandbox", marks=pytest.mark.sandbox),
        pytest.param("testbed", marks=pytest.mark.testbed),
    ]
)
def bed(request: pytest.FixtureRequest) -> Bed:
    """Where the scenario runs."""
    found: Bed = request.getfixturevalue(f"{request.param}_bed")
    return found


@pytest.fixture
def build(bed: Bed, tmp_path: Path) -> Iterator[Callable[..., World]]:
    """Make worlds, with arguments for `make`; they are gone after the test."""
    worlds: list[World] = []

    def run(**arguments: Any) -> World:
        directory = tmp_path / f"world-{len(worlds)}"
        directory.mkdir()
        worlds.append(make(bed, directory, **arguments))
        return worlds[-1]

    yield run
    for made in worlds:
        made.close()


@pytest.fixture
def world(build: Callable[..., World]) -> World:
    """Production as it usually is."""
    return build()
