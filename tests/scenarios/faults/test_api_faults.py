"""The API server refuses, cuts connections, hangs or is away: there is one final state, and it is said truly."""

from __future__ import annotations

import random
import signal
import threading
import time
from itertools import groupby

import pytest

from ..bed import eventually
from ..watching import recorded
from ..world import World, assert_untouched
from .proxy import Asked, Choice, Fault, Proxy, always, for_some_time, once

STORM = (
    (0.10, Fault(status=500)),
    (0.05, Fault(status=429, retry_after=1)),
    (0.08, Fault(cut="before")),
    (0.08, Fault(cut="after")),
    (0.05, Fault(delay=0.5)),
)


def storm(seed: int) -> Choice:
    """A third of all requests go wrong in one way or another, and writes conflict too."""
    rng, lock = random.Random(seed), threading.Lock()

    def choose(asked: Asked) -> Fault | None:
        with lock:
            drawn = rng.random()
        if asked.method == "PUT" and drawn > 0.9:
            return Fault(status=409)
        for share, fault in STORM:
            drawn -= share
            if drawn < 0:
                return fault
        return None

    return choose


@pytest.mark.parametrize("seed", [1, 2])
def test_25_a_storm_at_the_api_ends_in_one_final_state(world: World, proxy: Proxy, seed: int) -> None:
    world.deploy()
    before = world.virtual_service()
    history = world.history()
    proxy.choose = storm(seed)

    done = world.step("rollout", "--steps", "10,30,60", KUBECONFIG=str(proxy.kubeconfig))

    assert done.code == 0, done.err
    assert len(proxy.done) >= 5, "the storm did blow"
    assert_untouched(before, world.virtual_service())
    world.assert_consistent(history)
    shares = [r["weight"] for route in world.routes(history) for r in recorded(route).values()]
    assert [share for share, _ in groupby(shares)] == [10, 30, 60]
    world.await_answers({"2"})


def test_25_a_hanging_request_costs_time_and_not_the_rollout(world: World, proxy: Proxy) -> None:
    world.deploy()
    proxy.choose = once(always(Fault(delay=30), method="PUT", resource="virtualservices"))
    done = world.step("rollout", "--steps", "50", "--bake", "0s", KUBECONFIG=str(proxy.kubeconfig))
    assert done.code == 0, done.err
    assert [fault.delay for _, fault in proxy.done] == [30]
    assert done.seconds < 30
    world.await_answers({"2"})


def test_25_the_deadline_is_kept_when_the_api_comes_back_after_it(world: World, proxy: Proxy) -> None:
    world.deploy()
    before, image = world.virtual_service(), world.production_image()
    kubeconfig = str(proxy.kubeconfig)
    run = world.begin("rollout", "--steps", "20,60", "--bake", "4s", "--deadline", "5s", KUBECONFIG=kubeconfig)
    world.await_weight(20)
    proxy.choose = for_some_time(always(Fault(status=500)), 6)

    done = run.end()

    assert done.code == 4 and "the deadline passed at 20 %" in done.err, done.err
    assert_untouched(before, world.virtual_service())
    assert world.production_image() == image


def test_28_a_revert_is_retried_until_the_api_is_back(world: World, proxy: Proxy) -> None:
    world.deploy()
    before = world.virtual_service()
    run = world.begin("rollout", "--steps", "20", "--bake", "60s", KUBECONFIG=str(proxy.kubeconfig))
    world.await_weight(20)
    proxy.choose = for_some_time(always(Fault(cut="before")), 5)

    run.send(signal.SIGTERM)
    done = run.end()

    assert done.code == 143, done.err
    assert done.seconds >= 5
    assert_untouched(before, world.virtual_service())
    world.await_answers({"1"})


def test_28_traffic_is_called_unknown_while_the_api_is_away_and_the_guard_heals_it(world: World, proxy: Proxy) -> None:
    world.configure(strategy={"revert_within": "5s"})
    world.deploy()
    before = world.virtual_service()
    run = world.begin("rollout", "--steps", "20", "--bake", "60s", KUBECONFIG=str(proxy.kubeconfig))
    world.await_weight(20)
    proxy.choose = always(Fault(cut="before"))

    run.send(signal.SIGTERM)
    done = run.end()

    assert done.code == 6
    assert "can't be confirmed" in done.err and "guard" in done.err
    assert world.weight() == 20, "nothing was claimed that is not so"
    world.age_lease()
    healed = world.step("guard")
    assert healed.code == 0, healed.err
    assert_untouched(before, world.virtual_service())
    world.await_answers({"1"})


@pytest.mark.parametrize("when", ["before", "after"])
def test_30_a_signal_in_the_middle_of_the_first_write_strands_nothing(world: World, proxy: Proxy, when: str) -> None:
    """The write reaches the API server late (before), or its answer does not reach the step any more (after)."""
    world.deploy()
    before = world.virtual_service()
    late = Fault(delay=1.5) if when == "before" else Fault(cut="after")
    proxy.choose = once(always(late, method="PUT", resource="virtualservices"))
    run = world.begin("rollout", "--steps", "20", "--bake", "60s", KUBECONFIG=str(proxy.kubeconfig))
    eventually(lambda: proxy.done or run.process.poll() is not None)

    run.send(signal.SIGTERM)
    done = run.end()

    assert done.code == 143, done.err
    time.sleep(2)  # long enough for the late write to have reached the server
    assert_untouched(before, world.virtual_service())


def test_30_a_signal_in_the_middle_of_a_promotion_brings_the_previous_image_back(world: World, proxy: Proxy) -> None:
    world.deploy()
    before, image = world.virtual_service(), world.production_image()
    proxy.choose = once(always(Fault(delay=1.5), method="PUT", resource="deployments"))
    run = world.begin("rollout", "--steps", "20", "--bake", "0s", KUBECONFIG=str(proxy.kubeconfig))
    eventually(lambda: proxy.done or run.process.poll() is not None)

    run.send(signal.SIGTERM)
    done = run.end()

    assert done.code == 143, done.err
    time.sleep(2)
    assert_untouched(before, world.virtual_service())
    assert world.production_image() == image
    world.await_ready(world.namespace)
    world.await_answers({"1"})
