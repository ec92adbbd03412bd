"""One sandbox with the example for each test file, and a provider with a world of its own for each test."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from pipeline_step.sandbox import Sandbox
from tests.pull_request.bed import EXAMPLE, PROVIDERS, environ
from tests.scm.server import FORMS, Running
from tests.scm.server import running as serving
from tests.scm.world import World, new_world


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox() as running:
        subprocess.run(
            ["kubectl", "apply", "-f", EXAMPLE / "cluster.yaml"], env=environ(running), check=True, timeout=30
        )
        yield running
        kinds = "virtualservices,leases,events,events.events.k8s.io,deployments,services,pods,namespaces"
        command = ["kubectl", "get", kinds, "--all-namespaces", "--output=yaml"]
        text = subprocess.run(
            command, env=environ(running), check=True, timeout=60, capture_output=True, text=True
        ).stdout
        assert not any(form in text for form in FORMS), "the token is in an object of the cluster"


@pytest.fixture
def world() -> World:
    return new_world()


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest, world: World) -> Iterator[tuple[str, Running]]:
    with serving(PROVIDERS[request.param](world)) as server:
        yield request.param, server
