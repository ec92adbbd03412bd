"""The example of a real repository: one percent, ten percent, and back, with every byte of the user's as it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline_step.sandbox import Sandbox

EXAMPLE = Path(__file__).parent.parent / "examples" / "croc-hunter"
PREVIEW = "croc-hunter-jenkinsx.jx-carlossg-croc-hunter-jenkinsx-serverless-pr-35.svc.cluster.local"
BY_SERVER = ("generation", "resourceVersion", "managedFields")

pytestmark = pytest.mark.sandbox


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    with Sandbox() as sandbox:
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
        environment = {
            **kept,
            "KUBECONFIG": str(sandbox.kubeconfig),
            "REPO_OWNER": "carlossg",
            "REPO_NAME": "croc-hunter-jenkinsx-serverless",
            "PULL_NUMBER": "35",
        }
        subprocess.run(["kubectl", "apply", "-f", EXAMPLE / "cluster.yaml"], env=environment, check=True, timeout=30)
        yield environment


def run(environment: dict[str, str], *command: str) -> str:
    done = subprocess.run(
        command, cwd=EXAMPLE, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def step(environment: dict[str, str], *arguments: str) -> str:
    return run(environment, sys.executable, "-m", "pipeline_step", *arguments)


def route(environment: dict[str, str]) -> dict[str, Any]:
    text = run(
        environment, "kubectl", "get", "virtualservice", "-n", "jx-production", "croc-hunter-jenkinsx", "-o", "json"
    )
    found: dict[str, Any] = json.loads(text)
    return found


def users_own(virtual_service: dict[str, Any]) -> str:
    """All but what the API server counts by itself."""
    metadata = {key: value for key, value in virtual_service["metadata"].items() if key not in BY_SERVER}
    return json.dumps({**virtual_service, "metadata": metadata}, sort_keys=True)


def weights(virtual_service: dict[str, Any]) -> list[tuple[str, int]]:
    destinations = virtual_service["spec"]["http"][0]["route"]
    return [(destination["destination"]["host"], destination["weight"]) for destination in destinations]


def test_one_percent_ten_percent_and_back(environment: dict[str, str]) -> None:
    production, staging = (f"croc-hunter-jenkinsx.jx-{name}.svc.cluster.local" for name in ("production", "staging"))
    before = route(environment)
    assert weights(before) == [(production, 99), (staging, 1)]

    step(environment, "preview", "--image", "croc-hunter:0.0.169-pr-35", "--sha", "0a1b2c3")
    step(environment, "shift", "1", "--config", config(environment, "1"))
    assert weights(route(environment)) == [(production, 98), (staging, 1), (PREVIEW, 1)]
    step(environment, "shift", "10", "--config", config(environment, "10"))
    assert weights(route(environment)) == [(production, 89), (staging, 1), (PREVIEW, 10)]
    step(environment, "revert")
    assert users_own(route(environment)) == users_own(before)


def config(environment: dict[str, str], name: str) -> str:
    """The example's configuration without its gate, which would wait for requests that nobody sends here."""
    path = Path(environment["KUBECONFIG"]).with_name(f"{name}.yaml")
    lines = (EXAMPLE / ".pipeline-step.yaml").read_text().splitlines()
    path.write_text("\n".join(line for line in lines if line != "gates:" and "scrape:" not in line))
    return str(path)
