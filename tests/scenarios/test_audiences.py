"""Which requests a preview gets: all at once, those that match, copies of them."""

from __future__ import annotations

from .bed import Obj, eventually
from .watching import weights
from .world import World, assert_untouched

MIRRORS = "pipeline-step.dev/mirrors"


def at_the_preview(world: World, **more: str) -> list[Obj]:
    """A gate that asks the preview by its Service's address, past the route."""
    service = world.bed.api.get("Service", world.preview_namespace(), "croc")
    return [{"http": {"url": f"http://{service['spec']['clusterIP']}/", **more}}]


def test_2_blue_green_moves_all_requests_after_its_gates_and_none_before(world: World) -> None:
    world.deploy()
    before = world.virtual_service()
    strategy = {"steps": "blue-green", "bake": "1s", "keep": "1h"}
    world.configure(strategy=strategy, gates=at_the_preview(world, contains="no release says this"))
    history = world.history()

    refused = world.step("rollout")

    assert refused.code == 3, refused.err
    assert [weights(route).get(world.preview(), 0) for route in world.routes(history)] == [0, 0, 0]
    assert_untouched(before, world.virtual_service())

    world.configure(gates=at_the_preview(world))
    image = world.production_image()
    run = world.begin("rollout")
    world.await_weight(100)
    world.await_answers({"2"})
    assert world.production_image() == image, "the old side is kept"
    assert world.step("revert").code == 0
    world.await_answers({"1"})
    assert run.end().code == 3
    assert_untouched(before, world.virtual_service())

    world.configure(strategy={"keep": "1s"})
    done = world.step("rollout")
    assert done.code == 0, done.err
    assert world.production_image() != image
    world.await_answers({"2"})
    assert_untouched(before, world.virtual_service())


def test_3_only_requests_that_match_reach_the_preview(world: World) -> None:
    world.deploy()
    before = world.virtual_service()
    world.configure(traffic={"istio": {"virtual_service": "croc", "match": {"headers": {"x-tester": "yes"}}}})

    done = world.step("shift", "50", "--bake", "0s")

    assert done.code == 0, done.err
    shifted = world.virtual_service()
    assert weights(shifted) == {world.stable: 50, world.preview(): 50}
    assert shifted["spec"]["http"][1] == before["spec"]["http"][0], "everybody else's route is not touched"
    eventually(lambda: set(world.answers(30, **{"x-tester": "yes"})) == {"1", "2"}, "those that match are shared")
    assert set(world.answers(60)) == {"1"}
    assert set(world.answers(60, **{"x-tester": "no"})) == {"1"}
    assert world.step("revert").code == 0
    assert_untouched(before, world.virtual_service())
    done = world.step("rollout")
    assert done.code == 0, done.err
    assert_untouched(before, world.virtual_service())


def test_3_a_cookie_chooses_the_preview(world: World) -> None:
    world.deploy()
    world.configure(traffic={"istio": {"virtual_service": "croc", "match": {"cookies": {"side": "new"}}}})
    assert world.step("shift", "100", "--bake", "0s").code == 0
    chosen = {"Cookie": "theme=dark; side=new; lang=en"}
    eventually(lambda: set(world.answers(20, **chosen)) == {"2"}, "the cookie chooses the preview")
    assert set(world.answers(20, Cookie="inside=new; side=newer")) == {"1"}


def test_15_a_mirror_gets_copies_and_is_removed(world: World) -> None:
    world.deploy()
    before = world.virtual_service()
    world.configure(traffic={"istio": {"virtual_service": "croc", "mirror": True}})

    done = world.step("shift", "100", "--bake", "0s")

    assert done.code == 0, done.err
    mirrors = world.virtual_service()["spec"]["http"][0]["mirrors"]
    assert [mirror["destination"]["host"] for mirror in mirrors] == [world.preview()]

    def copied() -> bool:
        assert set(world.answers(20)) == {"1"}, "the preview answers nobody"
        return sum(world.bed.counted("croc", world.preview_namespace()).values()) >= 20

    eventually(copied, "the preview gets copies")
    assert world.step("revert").code == 0
    assert_untouched(before, world.virtual_service())
    assert MIRRORS not in (world.virtual_service()["metadata"].get("annotations") or {})
    done = world.step("rollout")
    assert done.code == 0, done.err
    assert_untouched(before, world.virtual_service())
