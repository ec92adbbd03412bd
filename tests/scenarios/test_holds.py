"""Waiting, and how it ends: pauses, freezes, sources that give no verdict, signals, an API that is away."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from .bed import eventually
from .watching import recorded
from .world import World, assert_untouched


@contextmanager
def metrics_server(values: list[float]) -> Iterator[str]:
    """A server that answers Prometheus' instant queries with these values, one series each; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            result = [{"metric": {}, "value": [time.time(), str(value)]} for value in values]
            body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def query(url: str) -> list[dict[str, object]]:
    return [{"prometheus": {"url": url, "query": "success", "min": 99}}]


def test_18_paused_time_is_not_counted(world: World) -> None:
    world.deploy()
    before = world.virtual_service()
    run = world.begin("rollout", "--steps", "20,40", "--bake", "2s", "--deadline", "6s")
    world.await_weight(20)

    paused = world.step("pause", "--reason", "looking at it", "--by", "alice")
    assert paused.code == 0, paused.err
    rollout = world.recorded()
    assert rollout and rollout["phase"] == "paused"
    eventually(lambda: time.time() > rollout["deadline"] + 1, "the deadline has passed")
    assert run.process.poll() is None, "a paused rollout outlives its deadline"
    assert world.weight() == 20
    assert world.step("resume").code == 0

    done = run.end()
    assert done.code == 0, done.err
    world.await_answers({"2"})
    assert_untouched(before, world.virtual_service())


def test_20_a_freeze_blocks_and_a_named_override_passes(world: World) -> None:
    world.deploy()
    before = world.virtual_service()
    assert world.step("freeze", "the shop is full", "--by", "bob").code == 0
    frozen = world.virtual_service()

    refused = world.step("rollout", "--steps", "50")

    assert refused.code == 5
    assert "frozen by bob (manual): the shop is full" in refused.err
    assert world.virtual_service()["metadata"]["resourceVersion"] == frozen["metadata"]["resourceVersion"]
    other = world.step("rollout", "--steps", "50", "--override", "winter")
    assert other.code == 5, "an override of another name passes nothing"
    passed = world.step("rollout", "--steps", "50", "--bake", "0s", "--override", "manual")
    assert passed.code == 0, passed.err
    world.await_answers({"2"})
    assert world.step("unfreeze").code == 0
    assert_untouched(before, world.virtual_service())


def test_23_a_metrics_server_that_is_away_holds_and_the_deadline_reverts(world: World) -> None:
    with metrics_server([100.0]) as url:
        world.configure(gates=query(url), strategy={"steps": [10, {"weight": 20, "bake": "3s"}, 60]})
        world.deploy()
        before, image = world.virtual_service(), world.production_image()
        history = world.history()
        run = world.begin("rollout", "--deadline", "12s")
        world.await_weight(20)
    # The server is gone, in mid-run.
    done = run.end()
    assert done.code == 4 and "the deadline passed at 20 %" in done.err, done.err
    assert done.seconds >= 12
    assert {r["weight"] for route in world.routes(history) for r in recorded(route).values()} == {10, 20}
    assert_untouched(before, world.virtual_service())
    assert world.production_image() == image, "nothing was promoted"
    world.await_answers({"1"})


@pytest.mark.parametrize(("policy", "code", "outcome"), [("hold", 4, "inconclusive"), ("revert", 3, "reverted")])
def test_24_an_empty_metric_follows_the_policy(world: World, policy: str, code: int, outcome: str) -> None:
    world.deploy()
    before = world.virtual_service()
    with metrics_server([]) as url:
        world.configure(gates=query(url), strategy={"on_no_data": policy})
        done = world.step("rollout", "--steps", "20,40", "--deadline", "3s", "-o", "json")
    assert (done.code, done.result["outcome"]) == (code, outcome), done.err
    assert_untouched(before, world.virtual_service())
    world.await_answers({"1"})


def test_24_an_empty_metric_may_be_told_to_pass(world: World) -> None:
    world.deploy()
    with metrics_server([]) as url:
        world.configure(gates=query(url), strategy={"on_no_data": "pass"})
        done = world.step("rollout", "--steps", "20,40")
    assert done.code == 0, done.err
    world.await_answers({"2"})


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_30_a_signal_reverts_within_the_grace(world: World, signum: signal.Signals, code: int) -> None:
    world.deploy()
    before = world.virtual_service()
    run = world.begin("rollout", "--steps", "40,60", "--bake", "60s")
    world.await_weight(40)
    world.await_answers({"1", "2"})

    sent = time.monotonic()
    run.send(signum)
    run.send(signum)  # an impatient second one must not disturb the way home
    done = run.end()

    assert done.code == code, done.err
    assert time.monotonic() - sent < 10, "a third of the 30 s that Kubernetes gives"
    assert_untouched(before, world.virtual_service())
    assert world.bed.api.list("Lease", world.namespace) == []
    world.await_answers({"1"})
