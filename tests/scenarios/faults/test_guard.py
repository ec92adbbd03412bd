"""The guard heals what was abandoned and leaves alone what lives."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.scm import server
from tests.scm.providers import gitea
from tests.scm.world import World as Repository
from tests.scm.world import new_world

from ..bed import eventually
from ..watching import RECORD, weights
from ..world import APP, World, assert_untouched
from .proxy import Fault, Proxy, always


@contextmanager
def provider(world: World) -> Iterator[Repository]:
    """A Git provider for the world's steps: pull request 5 is open, 7 is merged."""
    repository = new_world()
    with server.running(gitea.provider(repository)) as running:
        world.environment |= {
            "GIT_KIND": "gitea",
            "GIT_SERVER": running.url,
            "GIT_TOKEN": server.TOKEN,
            "REPO_OWNER": "acme",
            "REPO_NAME": "shop",
        }
        yield repository


def deeds(world: World, code: int = 0, **environment: str) -> list[str]:
    """Run the guard; what it did, or could not do, one text each."""
    done = world.step("guard", "-o", "json", **environment)
    assert done.code == code, done.err
    return [deed["text"] for deed in json.loads(done.out)]


def abandon(world: World, *arguments: str) -> None:
    """A rollout that is killed at a weight."""
    run = world.begin("rollout", "--bake", "60s", *arguments)
    world.await_weight(20)
    run.process.kill()
    run.end()


def test_an_abandoned_rollout_is_reverted_once_its_lease_has_run_out(world: World) -> None:
    world.deploy()
    before = world.virtual_service()
    abandon(world, "--steps", "20", "--run", "lost")

    assert deeds(world) == [], "its run may still live"
    assert world.weight() == 20
    world.age_lease()
    (told,) = deeds(world)

    assert "lost" in told and "20 %" in told and world.preview_namespace() in told
    assert_untouched(before, world.virtual_service())
    world.await_answers({"1"})
    assert deeds(world) == [], "a second time there is nothing to do"


def test_an_abandoned_promotion_brings_the_previous_image_back(world: World, proxy: Proxy) -> None:
    world.deploy()
    before, image = world.virtual_service(), world.production_image()
    proxy.choose = always(Fault(cut="after"), method="PUT", resource="deployments")  # so that it never gets further
    run = world.begin("promote", KUBECONFIG=str(proxy.kubeconfig))
    eventually(lambda: world.production_image() != image or run.process.poll() is not None)
    run.process.kill()
    run.end()
    world.age_lease()

    assert len(deeds(world)) == 1

    assert_untouched(before, world.virtual_service())
    assert world.production_image() == image


def test_a_live_rollout_is_left_alone(world: World) -> None:
    world.deploy()
    run = world.begin("rollout", "--steps", "20", "--bake", "4s")
    world.await_weight(20)
    while run.process.poll() is None:
        assert deeds(world) == []
    assert run.end().code == 0, run.err()
    world.await_answers({"2"})


def test_weights_without_a_record_are_set_back(world: World) -> None:
    world.deploy()
    before = world.virtual_service()
    assert world.step("shift", "30", "--bake", "0s").code == 0
    world.bed.api.patch("VirtualService", world.namespace, APP, {"metadata": {"annotations": {RECORD: None}}})
    assert world.weight() == 30

    (told,) = deeds(world)

    assert "record" in told
    assert_untouched(before, world.virtual_service())
    assert deeds(world) == []


def test_a_held_weight_is_taken_back_only_after_its_deadline(world: World) -> None:
    world.deploy()
    before = world.virtual_service()
    assert world.step("shift", "30", "--bake", "0s", "--deadline", "1h").code == 0
    assert deeds(world) == []
    assert world.step("shift", "40", "--bake", "0s", "--deadline", "0s").code in (0, 4)
    deeds(world)
    assert_untouched(before, world.virtual_service())


def test_the_preview_of_a_closed_pull_request_is_drained_and_deleted(world: World) -> None:
    world.configure(strategy={"budget": 60}, promote=None)
    for number in (5, 7):
        world.deploy(number)
        assert world.step("shift", "20", "--bake", "0s", "--pr", str(number)).code == 0
    history = world.history(5, 7)

    with provider(world):
        collected, told = deeds(world)

    assert "7" in collected and world.preview_namespace(7) in collected
    assert told.startswith("pull request 7 was told")
    world.await_gone(7)
    assert weights(world.virtual_service()) == {world.stable: 80, world.preview(5): 20}
    assert world.ready_pods(world.preview_namespace(5)), "the open one is left alone"
    world.assert_consistent(history, 5, 7)


def test_one_failure_does_not_stop_the_rest(world: World) -> None:
    world.configure(promote=None)
    for number in (4, 7):
        world.deploy(number)
    with provider(world):  # which has never heard of pull request 4
        told = deeds(world, code=6)
    assert len(told) == 3
    assert "could not be collected" in told[0] and "drained and deleted" in told[1]
    assert told[2].startswith("pull request 7 was told")
    world.await_gone(7)
    assert world.ready_pods(world.preview_namespace(4))


def test_11_a_pushed_commit_ends_the_rollout_before_the_next_increase(world: World) -> None:
    before = world.virtual_service()
    with provider(world) as repository:
        world.deploy(5, sha=repository.pulls[5].head)
        named = ("--config", ".pipeline-step.yaml")  # else the base branch is asked
        run = world.begin("rollout", "--pr", "5", "--steps", "20,60", "--bake", "3s", *named)
        eventually(lambda: world.weight(5) == 20 or run.process.poll() is not None)
        repository.push(5)
        done = run.end()
    assert done.code == 3, done.err
    assert repository.pulls[5].head[:7] in done.err
    assert_untouched(before, world.virtual_service())


def test_a_live_run_of_a_closed_pull_request_is_left_to_its_end(world: World) -> None:
    world.deploy(7)
    with provider(world):
        run = world.begin("shift", "20", "--pr", "7", "--bake", "4s", GIT_TOKEN="")
        world.await_weight(20)
        while run.process.poll() is None:
            told = deeds(world)
            assert told == [] or run.process.poll() is not None
        assert run.end().code == 0, run.err()


def test_a_preview_of_another_repository_is_not_ours_to_collect(build: Callable[..., World]) -> None:
    world, other = build(), build()
    other.deploy(7)
    with provider(world):
        assert deeds(world) == []
    assert other.ready_pods(other.preview_namespace(7))
