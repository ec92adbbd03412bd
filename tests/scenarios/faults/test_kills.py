"""The step killed with SIGKILL at a random moment, and run again: nothing is lost, nothing is done twice.

30 times by default; PIPELINE_STEP_KILLS says how often. The seed is the number of the round, so a failure repeats.
"""

from __future__ import annotations

import os
import random
import time
from itertools import groupby

import pytest

from ..watching import History, agrees, weights
from ..world import APP, OTHER_IMAGE, PREVIEW_IMAGE, World, assert_untouched, ready

KILLS = int(os.environ.get("PIPELINE_STEP_KILLS", "30"))
PARTS = 6
STEPS = [10, 30, 60]
START = 0.1  # seconds that every run needs at least before it can have done anything


@pytest.mark.timeout(120 + 20 * KILLS)
@pytest.mark.parametrize("part", range(PARTS))
def test_21_killed_at_any_point_the_next_run_ends_it_right(world: World, part: int) -> None:
    world.configure(strategy={"steps": STEPS, "bake": "0.2s"})
    world.deploy(7, PREVIEW_IMAGE)
    world.deploy(8, OTHER_IMAGE)
    original = world.virtual_service()
    undisturbed = world.step("rollout")
    assert undisturbed.code == 0, undisturbed.err
    for seed in range(part, KILLS, PARTS):
        rng = random.Random(seed)
        number = 8 if world.production_image() == reviewed(world, 7) else 7
        end = rng.choice((end_by_running_again, end_by_running_again, end_by_guard, end_by_deleting))
        image = world.production_image()
        history = world.history(number)

        killed_within(undisturbed.seconds, world, rng, "rollout", "--pr", str(number), "--run", "first")
        assert agrees(world.virtual_service(), world.stable), f"seed {seed}"
        end(world, rng, number)

        assert_untouched(original, world.virtual_service())
        taken = steps_taken(world, history, number)
        assert taken == sorted(set(taken)) and set(taken) <= set(STEPS), f"seed {seed}: {taken}"
        world.assert_consistent(history, number)
        assert_no_share_without_pods(world, history, number)
        assert world.production_image() in (image, reviewed(world, number)), f"seed {seed}"
        world.await_ready(world.namespace)


def killed_within(seconds: float, world: World, rng: random.Random, *arguments: str) -> None:
    """Start the step, and kill it at a moment that is as likely as any other in that time."""
    run = world.begin(*arguments)
    time.sleep(rng.uniform(START, seconds))
    run.process.kill()
    run.end()


def end_by_running_again(world: World, rng: random.Random, number: int) -> None:
    """Run it again: as the same run, or as another when the lease of the first has run out; perhaps kill that too."""
    if rng.random() < 0.3:
        killed_within(2.0, world, rng, "rollout", "--pr", str(number), "--run", "first")
    run = rng.choice(("first", "second"))
    if run == "second":
        world.age_lease()
    done = world.step("rollout", "--pr", str(number), "--run", run)
    assert done.code == 0, done.err
    assert world.production_image() == reviewed(world, number)


def end_by_guard(world: World, rng: random.Random, number: int) -> None:
    """Nobody runs it again, and the guard comes by."""
    world.age_lease()
    done = world.step("guard")
    assert done.code == 0, done.err + done.out


def end_by_deleting(world: World, rng: random.Random, number: int) -> None:
    """The preview is deleted, by a step that is killed too and run again; then it is there once more."""
    killed_within(1.0, world, rng, "preview", "--delete", "--pr", str(number))
    done = world.step("preview", "--delete", "--pr", str(number))
    assert done.code == 0, done.err
    world.await_gone(number)
    world.deploy(number, PREVIEW_IMAGE if number == 7 else OTHER_IMAGE)


def steps_taken(world: World, history: History, number: int) -> list[int]:
    """The preview's percentages in the order in which they were stored, without the zeros between."""
    shares = [weights(route).get(world.preview(number), 0) for route in world.routes(history)]
    return [share for share, _ in groupby(shares) if share]


def assert_no_share_without_pods(world: World, history: History, number: int) -> None:
    """At no version of the cluster did the preview have a share while none of its pods was ready."""
    routes = history.changes("VirtualService", world.namespace)
    share = 0
    endpoints: set[str] = set()
    slices = history.changes("EndpointSlice", world.preview_namespace(number))
    for change in sorted([*routes, *slices], key=lambda change: change.version):
        if change.object["kind"] == "VirtualService":
            share = weights(change.object).get(world.preview(number), 0)
        else:
            endpoints = set() if change.type == "DELETED" else ready([change.object])
        assert endpoints or not share, f"{share} % at version {change.version} without a ready pod"


def reviewed(world: World, number: int) -> str:
    """The preview's image, by digest."""
    pod = world.bed.api.list("Pod", world.preview_namespace(number), f"app={APP}")[0]
    digest = str(pod["status"]["containerStatuses"][0]["imageID"]).rpartition("@")[2]
    return f"localhost/sample@{digest}"
