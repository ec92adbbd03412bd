"""Comments that command: read from the provider, done as their author may, answered where they were written."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline_step.sandbox import Sandbox
from tests.pull_request.bed import deploy, environ, pull_request, step, strategy, weights
from tests.scm.providers import gitea
from tests.scm.server import TOKEN, Running, running
from tests.scm.world import World

pytestmark = pytest.mark.sandbox

HOME = {"production": 99, "staging": 1}


@pytest.fixture
def server(world: World) -> Iterator[Running]:
    """One provider is enough here: that all speak alike is for tests/scm to show."""
    with running(gitea.provider(world)) as provider:
        yield provider


@pytest.fixture
def environment(sandbox: Sandbox, world: World, server: Running, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The head of pull request 5 is deployed, and the base branch has the configuration."""
    environment = environ(sandbox, **pull_request("gitea", server.url))
    world.contents[".pipeline-step.yaml"] = Path(strategy(tmp_path)).read_bytes()
    if world.pulls[5].head not in deployed(environment):
        deploy(environment, world.pulls[5].head)
    yield environment
    if weights(environment) != HOME:
        assert step(environment, "revert").returncode == 0
    leases = ["kubectl", "delete", "leases", "-n", "jx-production", "-l", "app.kubernetes.io/managed-by=pipeline-step"]
    subprocess.run(leases, env=environment, check=True, capture_output=True, timeout=30)


def deployed(environment: dict[str, str]) -> str:
    command = ["kubectl", "get", "pods", "-A", "-l", "pipeline-step.dev/pull-request=5", "-o", "yaml"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=30).stdout


def ask(environment: dict[str, str], world: World, author: str, body: str, *, edited: bool = False) -> tuple[int, str]:
    """Write a comment and have it done; the exit code, and what the program said."""
    note = world.add_note(5, author, body, edited=edited)
    done = step(environment, "comment", str(note.id))
    assert TOKEN not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout + done.stderr


def answers(world: World) -> str:
    return "\n".join(note.body for note in world.notes if note.author is world.bot and "answers" in note.body)


def test_shift_hold_and_revert_by_comment(environment: dict[str, str], world: World) -> None:
    assert ask(environment, world, "wendy", "Let's see:\n\n/shift 5")[0] == 0
    assert weights(environment) == {"production": 94, "staging": 1, "preview": 5}
    assert ask(environment, world, "wendy", "/jx shift-10")[0] == 0
    assert weights(environment)["preview"] == 10
    assert ask(environment, world, "maria", "/revert")[0] == 0
    assert weights(environment) == HOME
    bodies = [note.body for note in world.notes if note.author is world.bot]
    assert len(bodies) == 1, "one sticky comment, edited in place"
    assert "asked for by" in bodies[0]


@pytest.mark.parametrize("author", ["rita", "trish", "stranger"])
def test_who_may_not_write_may_not_shift(environment: dict[str, str], world: World, author: str) -> None:
    code, said = ask(environment, world, author, "/shift 5")
    assert code == 5, said
    assert weights(environment) == HOME
    assert "was not done" in answers(world)


def test_an_edited_comment_is_refused(environment: dict[str, str], world: World) -> None:
    code, said = ask(environment, world, "wendy", "/shift 5", edited=True)
    assert code == 5, said
    assert "edited" in said
    assert weights(environment) == HOME


def test_a_push_after_the_preview_is_refused_and_a_named_commit_binds(
    environment: dict[str, str], world: World
) -> None:
    deployed = world.pulls[5].head
    moved = world.push(5)
    code, said = ask(environment, world, "wendy", "/shift 5")
    assert code == 5
    assert f"moved from {deployed[:12]}" in said
    assert ask(environment, world, "wendy", f"/shift 5 {deployed[:8]}")[0] == 5
    code, said = ask(environment, world, "wendy", f"/shift 5 {moved[:8]}")
    assert code == 5, "the named commit is the head, but the preview does not run it"
    assert "deploy it with `preview` first" in said
    assert weights(environment) == HOME


def test_talk_is_no_command(environment: dict[str, str], world: World) -> None:
    code, said = ask(environment, world, "wendy", "Say\n```\n/shift 50\n```\n> /promote\n\nbut not now. `/shift 9`")
    assert (code, weights(environment)) == (0, HOME)
    assert "commands nothing" in said
    assert answers(world) == ""


def test_a_slip_gets_the_nearest_command_and_changes_nothing(environment: dict[str, str], world: World) -> None:
    assert ask(environment, world, "wendy", "/shfit 5")[0] == 2
    assert "/shift" in answers(world)
    assert weights(environment) == HOME


def test_a_freeze_holds_until_it_is_lifted_or_overridden(environment: dict[str, str], world: World) -> None:
    assert ask(environment, world, "wendy", "/freeze incident 7")[0] == 0
    code, said = ask(environment, world, "wendy", "/shift 5")
    assert code == 5
    assert "incident 7" in said
    assert weights(environment) == HOME
    assert ask(environment, world, "wendy", "/shift 5 --override manual")[0] == 5, "writing is not enough for that"
    assert ask(environment, world, "olga", "/shift 5 --override manual")[0] == 0
    assert weights(environment)["preview"] == 5
    assert ask(environment, world, "wendy", "/revert\n/unfreeze\n/shift 10")[0] == 0, "several, in order"
    assert weights(environment)["preview"] == 10


def test_status_and_help_are_answered(environment: dict[str, str], world: World) -> None:
    assert ask(environment, world, "rita", "/status")[0] == 0
    assert "99 %" in answers(world)
    assert ask(environment, world, "rita", "/help")[0] == 0
    assert "/shift WEIGHT" in answers(world)


def test_the_pull_requests_own_configuration_decides_nothing(environment: dict[str, str], world: World) -> None:
    """The checkout's file would let anyone; the base branch's wants an admin."""
    text = world.contents[".pipeline-step.yaml"].decode()
    world.contents[".pipeline-step.yaml"] = (text + "comments: {role: admin}\n").encode()
    assert ask(environment, world, "wendy", "/shift 5")[0] == 5
    assert ask(environment, world, "olga", "/shift 5")[0] == 0


def test_the_latest_commanding_comment_is_found_without_its_id(environment: dict[str, str], world: World) -> None:
    for author, body in (("wendy", "/shift 5"), ("rita", "looks good"), ("stranger", "thanks")):
        world.add_note(5, author, body)
    assert step(environment, "comment", "--latest").returncode == 0
    assert weights(environment)["preview"] == 5
    assert "not both" in step(environment, "comment", "7", "--latest").stderr
    assert step(environment, "comment").returncode == 2


def test_a_comment_is_done_once(environment: dict[str, str], world: World) -> None:
    """A webhook that comes twice, or a job that reads the latest comment again, must not repeat a shift."""
    first = world.add_note(5, "wendy", "/shift 5")
    assert step(environment, "comment", str(first.id), "--run", "r1").returncode == 0
    assert step(environment, "comment", str(first.id), "--run", "r1").returncode == 0, "a retry of the same run may"
    second = world.add_note(5, "wendy", "/revert\n/shift 10")
    assert step(environment, "comment", str(second.id), "--run", "r2").returncode == 0
    for stale, said in ((second, "was done already, by run r2"), (first, "is older than comment")):
        done = step(environment, "comment", str(stale.id), "--run", "r3")
        assert (done.returncode, said in done.stdout) == (5, True), done.stdout
    assert step(environment, "comment", "--latest", "--run", "r4").returncode == 5
    assert step(environment, "revert").returncode == 0
