"""What a pull request sees of a whole rollout: on the sandbox, with a provider that holds requests to its own rules."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline_step.sandbox import Sandbox
from tests.scm.providers import gitea, github, gitlab
from tests.scm.server import TOKEN, Provider, Running, running
from tests.scm.world import World, new_world

EXAMPLE = Path(__file__).parent.parent / "examples" / "croc-hunter"
STEPS = "1,5,10,25,50"

pytestmark = pytest.mark.sandbox


def enterprise(world: World) -> Provider:
    """GitHub as an Enterprise Server has it: below /api/v3."""
    provider = github.provider(world)
    provider.routes = [(method, re.compile("/api/v3" + path.pattern), f) for method, path, f in provider.routes]
    return provider


PROVIDERS: dict[str, Callable[[World], Provider]] = {
    "gitea": gitea.provider,
    "github": enterprise,
    "gitlab": gitlab.provider,
}


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


def environ(sandbox: Sandbox, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    return {**kept, "KUBECONFIG": str(sandbox.kubeconfig), **more}


def pull_request(name: str, url: str) -> dict[str, str]:
    return {
        "GIT_KIND": name,
        "GIT_SERVER": url,
        "GIT_TOKEN": TOKEN,
        "REPO_OWNER": "acme",
        "REPO_NAME": "shop",
        "PULL_NUMBER": "5",
    }


def step(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline_step", *arguments]
    return subprocess.run(
        command, cwd=EXAMPLE, env=environment, capture_output=True, text=True, timeout=100, check=False
    )


def deploy(environment: dict[str, str], sha: str, **_: str) -> None:
    done = step(environment, "preview", "--image", f"croc-hunter:{sha[:7]}", "--sha", sha)
    assert done.returncode == 0, done.stderr


def strategy(tmp_path: Path, steps: str = STEPS) -> str:
    """The example's configuration with short bakes and no gates: what is under test is what the pull request sees."""
    text = (EXAMPLE / ".pipeline-step.yaml").read_text()
    text = re.sub(r"steps: .*", f"steps: [{steps}]", text).replace("bake: 1m", "bake: 0.2s\n  poll: 0.1s")
    text = re.sub(r"gates:\n.*\n", "", text).replace("manifests: preview", f"manifests: {EXAMPLE / 'preview'}")
    path = tmp_path / "step.yaml"
    path.write_text(text)
    return str(path)


def test_a_promotion_is_one_comment_and_a_status_that_ends(
    sandbox: Sandbox, world: World, provider: tuple[str, Running], tmp_path: Path
) -> None:
    name, server = provider
    environment = environ(sandbox, **pull_request(name, server.url))
    deploy(environment, world.pulls[5].head)
    done = step(environment, "rollout", "--config", strategy(tmp_path), "-o", "json")
    assert done.returncode == 0, done.stderr

    notes = [note for note in world.notes if note.pull == 5]
    assert len(notes) == 1, "one comment, edited in place"
    assert notes[0].author is world.bot
    assert "croc-hunter-jenkinsx: this pull request is production now" in notes[0].body
    assert "takes 25 % of production's requests" in notes[0].body, "the history is there"
    statuses = {context: status for (_, context), status in world.statuses.items()}
    assert list(statuses) == ["pipeline-step/croc-hunter-jenkinsx"]
    assert "success" in str(statuses["pipeline-step/croc-hunter-jenkinsx"]).lower()
    assert len(server.writes()) <= 12, server.writes()
    assert TOKEN not in done.stdout + done.stderr + notes[0].body


def test_a_new_commit_before_the_first_weight_is_refused(
    sandbox: Sandbox, world: World, provider: tuple[str, Running], tmp_path: Path
) -> None:
    name, server = provider
    environment = environ(sandbox, **pull_request(name, server.url))
    deployed = world.pulls[5].head
    deploy(environment, deployed)
    moved = world.push(5)
    done = step(environment, "shift", "5", "--config", strategy(tmp_path))
    assert done.returncode == 5
    assert f"the pull request's head is {moved[:7]}, but the preview runs {deployed[:7]}" in done.stderr
    assert weights(environment) == {"production": 99, "staging": 1}


def test_a_new_commit_in_mid_rollout_takes_the_traffic_back(
    sandbox: Sandbox, world: World, provider: tuple[str, Running], tmp_path: Path
) -> None:
    name, server = provider
    environment = environ(sandbox, **pull_request(name, server.url))
    deploy(environment, world.pulls[5].head)
    command = [sys.executable, "-m", "pipeline_step", "rollout", "--config", strategy(tmp_path, "5,50"), "--bake", "4s"]
    with subprocess.Popen(command, cwd=EXAMPLE, env=environment, stderr=subprocess.PIPE, text=True) as process:
        until = time.monotonic() + 30
        while "preview" not in weights(environment):
            assert time.monotonic() < until
            time.sleep(0.1)
        moved = world.push(5)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 3, said
    assert f"the pull request moved on to {moved[:7]}" in said
    assert weights(environment) == {"production": 99, "staging": 1}


def test_a_provider_that_is_down_stops_nothing(sandbox: Sandbox, world: World, tmp_path: Path) -> None:
    """The head can't be read, so no traffic is shifted; taking it back needs nobody's permission."""
    with running(gitea.provider(world)) as server:
        environment = environ(sandbox, **pull_request("gitea", server.url))
        deploy(environment, world.pulls[5].head)
        assert step(environment, "shift", "5", "--config", strategy(tmp_path)).returncode == 0
        assert weights(environment)["preview"] == 5
    began = time.monotonic()
    refused = step(environment, "shift", "25", "--config", strategy(tmp_path))
    assert refused.returncode == 5
    assert "head can't be read, so nothing is shifted" in refused.stderr
    assert weights(environment)["preview"] == 5
    reverted = step(environment, "revert", "--config", strategy(tmp_path))
    assert reverted.returncode == 0, reverted.stderr
    assert "the pull request could not be told" in reverted.stderr
    assert weights(environment) == {"production": 99, "staging": 1}
    assert time.monotonic() - began < 60
    assert TOKEN not in refused.stderr + reverted.stderr


def weights(environment: dict[str, str]) -> dict[str, int]:
    """What the VirtualService says, read by kubectl."""
    path = "{range .spec.http[0].route[*]}{.destination.host}={.weight} {end}"
    command = [
        "kubectl",
        "get",
        "virtualservice",
        "-n",
        "jx-production",
        "croc-hunter-jenkinsx",
        "-o",
        f"jsonpath={path}",
    ]
    text = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=30).stdout
    found = {}
    for part in text.split():
        host, weight = part.split("=")
        namespace = host.split(".")[1].removeprefix("jx-")
        found[namespace if namespace in ("production", "staging") else "preview"] = int(weight)
    return found
