"""What belongs to the user's route and what to the step: delegates, other protocols, other fields, other writers."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable

import yaml

from .bed import Obj
from .watching import MEMORY, RECORD, bare, weights
from .world import APP, World, assert_untouched, to, virtual_service


def without_ours(route: Obj, protocol: str, position: int) -> Obj:
    """The stored route without what the step may write: the destinations of one route, and its annotations."""
    rest = copy.deepcopy(bare(route))
    del rest["spec"][protocol][position]["route"]
    for annotation in (RECORD, MEMORY):
        rest["metadata"].get("annotations", {}).pop(annotation, None)
    return rest


def test_4_a_delegate_keeps_its_empty_hosts_and_gateways(build: Callable[..., World]) -> None:
    world = build(route={"http": [{"match": [{"uri": {"prefix": "/"}}], "delegate": {"name": "croc-routes"}}]})
    leaf = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": "croc-routes"},
        "spec": {"http": [{"route": [to(world.stable)]}]},
    }
    before = world.bed.api.create(leaf, world.namespace)
    root = world.virtual_service()
    world.await_answers({"1"})
    world.deploy()

    done = world.step("shift", "50", "--bake", "0s")

    assert done.code == 0, done.err
    shifted = world.bed.api.get("VirtualService", world.namespace, "croc-routes")
    assert weights(shifted) == {world.stable: 50, world.preview(): 50}
    assert "hosts" not in shifted["spec"] and "gateways" not in shifted["spec"]
    world.await_answers({"1", "2"})
    assert world.step("revert").code == 0
    world.await_answers({"1"})
    assert_untouched(before, world.bed.api.get("VirtualService", world.namespace, "croc-routes"))
    assert world.virtual_service()["metadata"]["resourceVersion"] == root["metadata"]["resourceVersion"]


def test_13_only_the_chosen_tcp_or_tls_route_changes(build: Callable[..., World]) -> None:
    world = build()
    stable = world.stable
    spec = {
        "tcp": [
            {"match": [{"port": 9000}], "route": [to(stable)]},
            {"match": [{"port": 9001}], "route": [to(stable, 100)]},
        ],
        "tls": [
            {"match": [{"port": 443, "sniHosts": ["one.example"]}], "route": [to(stable)]},
            {"match": [{"port": 443, "sniHosts": ["two.example"]}], "route": [to(stable)]},
        ],
    }
    route = virtual_service(world.host, spec)
    route["metadata"]["name"] = "croc-wires"
    before = world.bed.api.create(route, world.namespace)
    world.deploy()

    for choice, protocol, position in (({"port": 9001}, "tcp", 1), ({"sni": "two.example"}, "tls", 1)):
        world.configure(traffic={"istio": {"virtual_service": "croc-wires", **choice}})
        done = world.step("shift", "30", "--bake", "0s")
        assert done.code == 0, done.err
        now = world.bed.api.get("VirtualService", world.namespace, "croc-wires")
        assert weights(now, position, protocol) == {stable: 70, world.preview(): 30}
        assert without_ours(now, protocol, position) == without_ours(before, protocol, position)
        assert world.step("revert").code == 0
        assert_untouched(before, world.bed.api.get("VirtualService", world.namespace, "croc-wires"))


def test_22_weights_that_git_sets_back_are_restored_and_reported(world: World) -> None:
    git = virtual_service(world.host, {"http": [{"route": [to(world.stable)]}]})
    world.bed.kubectl("apply", "-n", world.namespace, "-f", "-", text=yaml.safe_dump(git))
    world.deploy()
    before = world.virtual_service()
    run = world.begin("rollout", "--steps", "30", "--bake", "6s")
    world.await_weight(30)

    git["metadata"]["labels"]["release"] = "new"
    world.bed.kubectl("apply", "-n", world.namespace, "-f", "-", text=yaml.safe_dump(git))

    world.await_weight(30)
    done = run.end()
    assert done.code == 0, done.err
    assert done.err.count("was put back at 30 %") == 1
    after = world.virtual_service()
    assert after["metadata"]["labels"]["release"] == "new", "what Git changed stays"
    applied = "kubectl.kubernetes.io/last-applied-configuration"
    assert json.loads(after["metadata"]["annotations"][applied])["metadata"]["labels"]["release"] == "new"
    assert after["spec"] == before["spec"]
    assert set(after["metadata"]["annotations"]) == set(before["metadata"]["annotations"])


def test_26_other_routes_and_fields_stay_byte_for_byte(build: Callable[..., World]) -> None:
    world = build()
    stable = world.stable
    spec = {
        "exportTo": ["*"],
        "http": [
            {
                "name": "old-clients",
                "match": [{"headers": {"x-client": {"exact": "old"}}}],
                "route": [to(stable, 100)],
                "retries": {"attempts": 2, "perTryTimeout": "2s"},
            },
            {"name": "moved", "match": [{"uri": {"prefix": "/moved"}}], "redirect": {"uri": "/"}},
            {
                "name": "main",
                "route": [
                    {**to(stable, 90), "headers": {"response": {"set": {"x-side": "stable"}}}},
                    to("elsewhere.example", 10, 443),
                ],
                "timeout": "7s",
                "corsPolicy": {"allowOrigins": [{"exact": "https://croc.example"}], "maxAge": "24h"},
            },
        ],
    }
    world.bed.api.patch("VirtualService", world.namespace, APP, {"spec": spec})
    world.configure(traffic={"istio": {"virtual_service": APP, "route": "main"}})
    before = world.virtual_service()
    world.deploy()
    history = world.history()

    assert world.step("shift", "20", "--bake", "0s").code == 0
    shifted = world.virtual_service()
    assert weights(shifted, 2) == {stable: 72, "elsewhere.example": 8, world.preview(): 20}
    assert world.step("revert").code == 0
    assert_untouched(before, world.virtual_service())
    assert world.step("rollout", "--steps", "20,60", "--bake", "0s").code == 0

    assert_untouched(before, world.virtual_service())
    states = world.routes(history)
    assert len(states) > 4
    for state in states:
        assert without_ours(state, "http", 2) == without_ours(before, "http", 2)
