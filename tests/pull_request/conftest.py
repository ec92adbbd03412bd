"""One sandbox with the example for each test file, and a provider with a world of its own for each test."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from pipeline_step.sandbox import Sandbox
from tests.pull_request.bed import EXAMPLE, PROVIDERS, environ
from tests.scm.server import Running, running
from tests.scm.world import World, new_world


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        subprocess.run(
            ["kubectl", "apply", "-f", EXAMPLE / "cluster.yaml"], env=environ(running), check=True, timeout=30
        )
        yield running


@pytest.fixture
def world() -> World:
    return new_world()


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest, world: World) -> Iterator[tuple[str, Running]]:
    with running(PROVIDERS[request.param](world)) as server:
        yield request.param, server
