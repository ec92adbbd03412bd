"""What a pull request sees of a whole rollout: on the sandbox, with a provider that holds requests to its own rules."""

from __future__ import annotations

import getpass
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

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
    assert [note.body.splitlines()[0] for note in world.notes] == [hidden(name)]
    assert "this pull request has a preview" in world.notes[0].body
    before = len(server.writes())
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
    writes = server.writes()[before:]
    assert len(writes) <= 12, writes
    assert len([write for write in writes if "comments" in write or "notes" in write]) == 6, "one for each transition"
    assert "has a preview" in notes[0].body, "the history of the run before is there as well"
    assert f"`rollout` by {getpass.getuser()} · commit {world.pulls[5].head[:12]}" in notes[0].body
    assert TOKEN not in done.stdout + done.stderr + notes[0].body
    if name != "gitea":
        states = {(made["environment"], made["state"]) for made in world.deployments}
        assert states == {("croc-hunter-jenkinsx/pr-5", "success"), ("croc-hunter-jenkinsx/production", "success")}
    _audited(environment, world.pulls[5].head)


def hidden(name: str) -> str:
    return "<!-- pipeline-step:croc-hunter-jenkinsx:5 -->"


def events(environment: dict[str, str]) -> list[dict[str, Any]]:
    """What stands in the cluster of the newest run, oldest first."""
    command = ["kubectl", "get", "events.events.k8s.io", "-n", "jx-production", "-o", "json"]
    text = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=30).stdout
    found = sorted(json.loads(text)["items"], key=lambda item: item["eventTime"])
    return [item for item in found if item["reportingInstance"] == found[-1]["reportingInstance"]]


def _audited(environment: dict[str, str], sha: str) -> None:
    """Who asked what, on which commit, and what became of it, on the routed object."""
    told = events(environment)
    assert [item["reason"] for item in told] == ["Shifted"] * 5 + ["Promoting", "Promoted"]
    for item in told:
        assert item["regarding"]["kind"] == "VirtualService"
        assert item["regarding"]["name"] == "croc-hunter-jenkinsx"
        assert item["regarding"]["uid"]
        assert f"{getpass.getuser()} asked for `rollout`; commit {sha}" in item["note"]
        assert (item["type"], item["action"]) == ("Normal", "Rollout")


def test_attack_configuration_of_the_checkout_never_decides_about_a_shift(
    sandbox: Sandbox, world: World, tmp_path: Path
) -> None:
    """A pipeline runs in a checkout of the head: what counts is the base branch's file, or one that is named."""
    with running(gitea.provider(world)) as server:
        environment = environ(sandbox, **pull_request("gitea", server.url))
        deploy(environment, world.pulls[5].head)
        reviewed = Path(strategy(tmp_path)).read_text()
        freeze = "{name: sale, reason: it begins, start: 2026-01-01T00:00:00Z, end: 2099-01-01T00:00:00Z}"
        frozen = reviewed.replace("strategy:", f"strategy:\n  freezes: [{freeze}]")
        world.contents[".pipeline-step.yaml"] = frozen.encode()
        for command in (("shift", "5"), ("rollout",), ("promote",)):
            done = step(environment, *command)
            assert (done.returncode, "it begins" in done.stderr) == (5, True), done.stderr
        del world.contents[".pipeline-step.yaml"]
        done = step(environment, "shift", "5")
        assert done.returncode == 2
        assert "a pull request's own is not trusted" in done.stderr
        assert weights(environment) == {"production": 99, "staging": 1}
        assert step(environment, "shift", "5", "--config", strategy(tmp_path)).returncode == 0
        assert step(environment, "revert").returncode == 0, "taking back needs nobody's permission"
    done = step(environment, "shift", "5")
    assert done.returncode == 5
    assert "the base branch's .pipeline-step.yaml can't be read, so nothing is shifted" in done.stderr


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


def test_guard_tells_what_a_provider_that_was_down_did_not_hear(sandbox: Sandbox, world: World, tmp_path: Path) -> None:
    """The run's end can't be told: it is owed, and the next guard with a provider that answers tells it, once."""
    config = strategy(tmp_path)
    with running(gitea.provider(world)) as server:
        environment = environ(sandbox, **pull_request("gitea", server.url))
        deploy(environment, world.pulls[5].head)
        assert step(environment, "shift", "5", "--config", config).returncode == 0
        assert _status(world) == "success", "held is an end"
        assert "pipeline-step.dev/owed" not in owing(environment)
    reverted = step(environment, "revert", "--config", config)
    assert reverted.returncode == 0, reverted.stderr
    assert "the pull request could not be told" in reverted.stderr
    assert "pipeline-step.dev/owed" in owing(environment)
    age(environment)
    with running(gitea.provider(world)) as server:
        told = step({**environment, "GIT_SERVER": server.url}, "guard", "--config", config)
        assert told.returncode == 0, told.stderr
        assert "pull request 5 was told that it was reverted" in told.stdout
        (note,) = world.notes
        assert "this pull request was reverted" in note.body
        assert "is held at 5 %" in note.body, "the history before is still there"
        assert _status(world) == "failure"
        writes = len(server.writes())
        assert step({**environment, "GIT_SERVER": server.url}, "guard", "--config", config).returncode == 0
        assert len(server.writes()) == writes


def test_guard_ends_the_status_of_a_run_that_was_killed(sandbox: Sandbox, world: World, tmp_path: Path) -> None:
    config = strategy(tmp_path, "5,50")
    with running(gitea.provider(world)) as server:
        environment = environ(sandbox, **pull_request("gitea", server.url))
        deploy(environment, world.pulls[5].head)
        command = [sys.executable, "-m", "pipeline_step", "rollout", "--config", config, "--bake", "60s"]
        with subprocess.Popen(command, cwd=EXAMPLE, env=environment, stderr=subprocess.DEVNULL) as process:
            until = time.monotonic() + 60
            while not ("takes 5 %" in "".join(note.body for note in world.notes) and _status(world) == "pending"):
                assert time.monotonic() < until
                time.sleep(0.1)
            process.kill()
        age(environment)
        healed = step(environment, "guard", "--config", config)
        assert healed.returncode == 0, healed.stderr
        assert "left by run" in healed.stdout
        assert _status(world) == "failure"
        assert "guard gave production all requests" in world.notes[0].body
        assert events(environment)[-1]["reason"] == "Reverted"
        assert "guard asked for `guard`" in events(environment)[-1]["note"]
    assert weights(environment) == {"production": 99, "staging": 1}


def _status(world: World) -> str:
    return next((str(status["state"]) for status in reversed(list(world.statuses.values()))), "")


LEASE = "pipeline-step-comments-croc-hunter-jenkinsx"


def owing(environment: dict[str, str]) -> str:
    command = ["kubectl", "get", "lease", LEASE, "-n", "jx-production", "--ignore-not-found", "-o", "yaml"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=30).stdout


def age(environment: dict[str, str]) -> None:
    """As if all that is owed, and every heartbeat, were of long ago."""
    kubectl = ["kubectl", "-n", "jx-production"]
    text = owing(environment)
    old = re.sub(r'"at": ?[0-9.e+]+', '"at":1.0', text)
    assert old != text
    subprocess.run([*kubectl, "replace", "-f", "-"], env=environment, input=old, text=True, check=True, timeout=30)
    found = subprocess.run(
        [*kubectl, "get", "leases", "-o", "name"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    for lease in found.stdout.split():
        if not lease.endswith(LEASE):
            ago = '{"spec": {"renewTime": "2026-01-01T00:00:00.000000Z"}}'
            patch = [*kubectl, "patch", lease, "--type=merge", f"--patch={ago}"]
            subprocess.run(patch, env=environment, check=True, timeout=30)


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
