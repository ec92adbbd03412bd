"""Fixtures of the tests that run on real Tekton: skipped, with the reason, where its parts are absent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ..image import build
from ..scenarios.bed import Api, Bed
from ..scenarios.world import World, make
from ..testbed import environment, network
from . import installed
from .lane import Lane


@pytest.fixture(scope="session")
def tekton() -> None:
    """Real Tekton on the test-bed, with this repository's image loaded."""
    if why := installed.missing():
        pytest.skip(why)
    if not environment.is_up():
        pytest.skip("the test-bed is not up: `python -m tests.testbed up` as root")
    try:
        installed.load_image()
    except build.CannotBuildHereError as error:
        pytest.skip(str(error))
    installed.bring_up()


@pytest.fixture
def bed(tekton: None, tmp_path: Path) -> Iterator[Bed]:
    """The test-bed, seen from inside its network."""
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


@pytest.fixture
def lane(bed: Bed, tmp_path: Path) -> Iterator[Lane]:
    """Production with a route, and a namespace of pipelines that may change it."""
    directory = tmp_path / "world"
    directory.mkdir()
    world: World = make(bed, directory)
    world.configure(app=world.namespace, strategy={"steps": [10, 50], "bake": "2s", "poll": "0.5s"})
    made = Lane(world, f"{world.namespace}-lane")
    try:
        made.install()
        yield made
    finally:
        made.remove()
        world.close()


@pytest.fixture
def configure(lane: Lane) -> Callable[..., None]:
    """Change the configuration that the runs read."""

    def change(**changes: object) -> None:
        lane.world.configure(**changes)
        lane.configure()

    return change
