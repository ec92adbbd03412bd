"""Two rollouts on one production service."""

from __future__ import annotations

from .bed import eventually
from .watching import weights
from .world import World, assert_untouched


def test_27_the_second_rollout_is_refused_with_the_holders_name(world: World) -> None:
    world.deploy(7)
    world.deploy(8)
    before = world.virtual_service()
    first = world.begin("rollout", "--steps", "20", "--bake", "60s", "--by", "alice")
    world.await_weight(20)
    held = world.virtual_service()

    second = world.step("rollout", "--steps", "20", "--pr", "8", "--by", "bob")

    assert second.code == 5
    assert "alice" in second.err and world.preview_namespace(7) in second.err
    assert world.virtual_service()["metadata"]["resourceVersion"] == held["metadata"]["resourceVersion"]
    # The holder dies: its lease keeps the second out until it has run out, its record even then.
    first.process.kill()
    first.end()
    assert world.step("rollout", "--steps", "20", "--pr", "8", "--by", "bob").code == 5
    world.age_lease()
    late = world.step("rollout", "--steps", "20", "--pr", "8", "--by", "bob")
    assert late.code == 5 and "alice" in late.err
    assert world.weight(7) == 20 and world.weight(8) == 0
    assert world.step("revert").code == 0
    done = world.step("rollout", "--steps", "20", "--bake", "0s", "--pr", "8", "--by", "bob")
    assert done.code == 0, done.err
    assert_untouched(before, world.virtual_service())


def test_27_rollouts_share_within_the_budget(world: World) -> None:
    world.configure(strategy={"budget": 30}, promote=None)
    for number in (7, 8, 9):
        world.deploy(number, image=f"localhost/sample:{number % 2 + 2}")
    before = world.virtual_service()
    runs = [world.begin("shift", weight, "--pr", pr) for weight, pr in (("20", "7"), ("10", "8"))]
    for run in runs:
        done = run.end()
        assert done.code == 0, done.err
    shared = weights(world.virtual_service())
    assert shared == {world.stable: 70, world.preview(7): 20, world.preview(8): 10}
    eventually(lambda: len(set(world.answers(60))) == 3, "all three sides answer")

    third = world.step("shift", "1", "--pr", "9")

    assert third.code == 5
    assert "budget of 30 %" in third.err and world.preview_namespace(7) in third.err
    assert weights(world.virtual_service()) == shared
    assert world.step("revert", "--pr", "7").code == 0
    assert weights(world.virtual_service()) == {world.stable: 90, world.preview(8): 10}
    assert world.step("revert", "--pr", "8").code == 0
    assert_untouched(before, world.virtual_service())
