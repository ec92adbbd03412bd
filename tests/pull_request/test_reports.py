"""What a pull request sees of a whole rollout: on the sandbox, with a provider that holds requests to its own rules."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline_step.sandbox import Sandbox
from tests.pull_request.bed import EXAMPLE, deploy, environ, pull_request, step, strategy, weights
from tests.scm.providers import gitea
from tests.scm.server import TOKEN, Running, running
from tests.scm.world import World

pytestmark = pytest.mark.sandbox


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
    assert f"pull request 5 is at {moved[:7]}, and the preview runs {deployed[:7]}" in done.stderr
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
    assert f"pull request 5 is at {moved[:7]}, and the preview runs" in said
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
