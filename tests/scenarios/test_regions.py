"""One rollout in two regions, each a cluster of its own: all follow each step, and none is promoted alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pipeline_step.sandbox import Sandbox

from .bed import Api, Bed, eventually
from .conftest import GATEWAY
from .watching import recorded, weights
from .world import (
    APP,
    PREVIEW_IMAGE,
    STABLE_IMAGE,
    World,
    assert_untouched,
    deployment,
    make,
    service,
    to,
    virtual_service,
)

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module")
def europe_bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    with Sandbox() as running:
        api = Api(running.kubeconfig, tmp_path_factory.mktemp("europe-bed"))
        api.create(GATEWAY, "istio-system")
        yield Bed(
            name="sandbox",
            kubeconfig=running.kubeconfig,
            api=api,
            gateway=("127.0.0.1", int(running.gateway_url.rpartition(":")[2])),
            stats_url=running.envoy_admin_url + "/stats/prometheus",
        )


@pytest.fixture
def regions(sandbox_bed: Bed, europe_bed: Bed, tmp_path: Path) -> Iterator[tuple[World, World]]:
    """Production in both regions; the first world's step works on both."""
    (tmp_path / "us").mkdir()
    us = make(sandbox_bed, tmp_path / "us")
    europe = World(europe_bed, tmp_path, us.namespace, us.config, us.environment)
    api = europe_bed.api
    api.create({"kind": "Namespace", "metadata": {"name": us.namespace}})
    api.create(deployment(STABLE_IMAGE, 1, {}, {}), us.namespace)
    api.create(service(), us.namespace)
    api.create(virtual_service(us.host, {"http": [{"route": [to(us.stable)]}]}), us.namespace)
    europe.await_ready(us.namespace)
    us.environment["KUBECONFIG"] = str(merged(tmp_path / "kubeconfig", us=sandbox_bed, europe=europe_bed))
    us.configure(contexts=["us", "europe"], strategy={"steps": [50, 100]})
    yield us, europe
    us.close()
    europe.close()


def merged(file: Path, **beds: Bed) -> Path:
    """One kubeconfig with a context for each bed."""
    clusters = [{"name": name, "cluster": {"server": bed.api.url}} for name, bed in beds.items()]
    contexts = [{"name": name, "context": {"cluster": name, "user": "sandbox"}} for name in beds]
    users = [{"name": "sandbox", "user": {}}]
    config = {"apiVersion": "v1", "kind": "Config", "clusters": clusters, "contexts": contexts, "users": users}
    file.write_text(yaml.safe_dump(config))
    file.chmod(0o600)
    return file


def test_both_regions_are_promoted_step_by_step(regions: tuple[World, World]) -> None:
    us, _ = regions
    before = [world.virtual_service() for world in regions]
    done = us.step("preview", "--image", PREVIEW_IMAGE, "--sha", "abcdef1")
    assert done.code == 0, done.err
    us.configure(strategy={"bake": "2s"})
    run = us.begin("rollout")
    for weight in (50, 100):
        for world in regions:
            eventually(lambda world=world, weight=weight: world.weight() == weight, f"{weight} % there")  # type: ignore[misc]
    done = run.end()
    assert done.code == 0, done.err
    images = {world.production_image() for world in regions}
    assert len(images) == 1 and "@sha256:" in images.pop()
    for world, route in zip(regions, before, strict=True):
        world.await_answers({"2"})
        assert_untouched(route, world.virtual_service())
        leases = {lease["metadata"]["name"] for lease in world.bed.api.list("Lease", world.namespace)}
        assert leases <= {f"pipeline-step-history-{APP}"}, "nobody holds the target any more"


def test_errors_in_one_region_take_the_traffic_back_in_all(regions: tuple[World, World]) -> None:
    us, europe = regions
    before = [world.virtual_service() for world in regions]
    us.deploy()
    europe.deploy(FAIL_RATE="0.5")
    us.configure(gates=[{"scrape": {"min_success": 99, "min_requests": 20}}], strategy={"bake": "60s"})
    with europe.bed.load(europe.host):
        done = us.step("rollout")
    assert done.code == 3, done.err
    for world, route in zip(regions, before, strict=True):
        assert_untouched(route, world.virtual_service())
        world.await_answers({"1"})
    assert us.production_image() == europe.production_image() == STABLE_IMAGE


def test_a_region_that_is_held_by_another_refuses_all(regions: tuple[World, World]) -> None:
    us, europe = regions
    for world in regions:
        world.deploy(7)
        world.deploy(8)
    own = World(europe.bed, us.directory, us.namespace, {**us.config}, {**us.environment})
    own.configure(contexts=["europe"], promote=None)
    assert own.step("shift", "20", "--bake", "0s", "--pr", "8", "--by", "alice").code == 0
    us.configure()

    refused = us.step("rollout")

    assert refused.code == 5 and "alice" in refused.err, refused.err
    assert weights(us.virtual_service()) == {us.stable: 100} and not recorded(us.virtual_service())
    assert us.bed.api.list("Lease", us.namespace) == []
    assert europe.weight(8) == 20
    assert APP in europe.preview(8)
