"""A promotion through Git killed with SIGKILL at a random moment: the next run or the guard ends it, either way.

8 times by default; PIPELINE_STEP_PROMOTION_KILLS says how often. The seed is the number of the round.
"""

from __future__ import annotations

import os
import random
import time

import pytest

from ..bed import eventually
from ..gitops import Environment, followed
from ..test_gitops import pushing
from ..world import OTHER_IMAGE, PREVIEW_IMAGE, World, assert_untouched
from .test_kills import reviewed

KILLS = int(os.environ.get("PIPELINE_STEP_PROMOTION_KILLS", "8"))
PARTS = 2
MINUTE = 60.0


@pytest.mark.timeout(240 + 40 * KILLS)
@pytest.mark.parametrize("part", range(PARTS))
def test_21_a_promotion_killed_anywhere_is_ended_within_a_minute(world: World, part: int) -> None:
    environment = pushing(world)
    world.deploy(7, PREVIEW_IMAGE)
    world.deploy(8, OTHER_IMAGE)
    original = world.virtual_service()
    with followed(world, environment):
        undisturbed = world.step("rollout")
        assert undisturbed.code == 0, undisturbed.err
        for seed in range(part, KILLS, PARTS):
            rng = random.Random(seed)
            number = 8 if environment.image() == reviewed(world, 7) else 7
            before = environment.image()

            work = ("revert", "--to", "previous") if rng.random() < 0.25 and environment.commits() else ("rollout",)
            arguments = [*work, "--pr", str(number), "--run", f"first-{seed}"]
            if work == ("rollout",):
                arguments += ["--override", "bad-sha"]
            run = world.begin(*arguments)
            time.sleep(rng.uniform(0.3, undisturbed.seconds))
            run.process.kill()
            run.end()

            began = time.monotonic()
            if rng.random() < 0.5:
                again = [*arguments, "--run", f"second-{seed}"] if rng.random() < 0.5 else arguments
                world.age_lease()
                done = world.step(*again)
                assert done.code in (0, 5), f"seed {seed}: {done.err}"
            else:
                world.age_lease()
                eventually(lambda: world.step("guard").code == 0, f"seed {seed}: the guard ends it", MINUTE)
            settled(world, environment, f"seed {seed}")
            assert time.monotonic() - began < 2 * MINUTE, f"seed {seed}: a minute, on a machine with other work"

            assert_untouched(original, world.virtual_service())
            assert environment.image() in {before, reviewed(world, number), *environment.applied}, f"seed {seed}"


def settled(world: World, environment: Environment, what: str) -> None:
    """Git and the cluster say the same, and nothing is under way."""
    eventually(lambda: environment.image() == world.production_image(), f"{what}: production follows Git", MINUTE)
    world.await_ready(world.namespace)
    assert world.recorded(7) is None and world.recorded(8) is None, what
    assert world.weight(7) == world.weight(8) == 0, what
