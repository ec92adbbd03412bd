"""Many at the same time: nobody's update is lost, and what does not fit is refused."""

from __future__ import annotations

import pytest

from benchmarks import many
from pipeline_step.sandbox import Sandbox

from ..bed import Obj
from ..watching import MEMORY, recorded, weights
from ..world import APP, World, assert_untouched, service, to, virtual_service

COUNT = 8


def front(name: str) -> Obj:
    """A Service of another name in front of the same pods."""
    made = service()
    made["metadata"]["name"] = name
    return made


def test_previews_that_come_and_go_at_once_share_one_route(world: World) -> None:
    world.deploy(7)
    space = world.preview_namespace(7)
    for number in range(1, COUNT + 1):
        world.bed.api.create(front(f"preview-{number}"), space)
    world.configure(preview={"namespace": space, "service": "preview-{number}"}, strategy={"budget": 50}, promote=None)
    before = world.virtual_service()
    hosts = {number: f"preview-{number}.{space}.svc.cluster.local" for number in range(1, COUNT + 1)}

    runs = [world.begin("shift", str(number), "--bake", "0s", "--pr", str(number)) for number in hosts]
    for run in runs:
        assert run.end().code == 0, run.err()

    route = world.virtual_service()
    expected = {host: number for number, host in hosts.items()}
    assert weights(route) == {world.stable: 100 - sum(expected.values()), **expected}
    assert {host: rollout["weight"] for host, rollout in recorded(route).items()} == expected
    runs = [world.begin("revert", "--pr", str(number)) for number in hosts]
    for run in runs:
        assert run.end().code == 0, run.err()
    assert_untouched(before, world.virtual_service())


def test_targets_are_rolled_out_side_by_side(world: World) -> None:
    world.deploy(7)
    routes = {}
    for number in range(1, COUNT + 1):
        name = f"croc-{number}"
        world.bed.api.create(front(name), world.namespace)
        world.bed.api.create(front(f"{APP}-{number}"), world.preview_namespace(7))
        host = f"{name}.{world.namespace}.svc.cluster.local"
        route = virtual_service(f"{name}.{world.host}", {"http": [{"route": [to(host)]}]})
        route["metadata"]["name"] = name
        routes[name] = world.bed.api.create(route, world.namespace)
    runs = []
    for name in routes:
        world.configure(
            production={"service": name}, traffic={"istio": {"virtual_service": name}}, promote=None, app=name
        )
        (world.directory / f"{name}.yaml").write_text((world.directory / ".pipeline-step.yaml").read_text())
        runs.append(world.begin("rollout", "--steps", "10,30", "--bake", "0s", "--config", f"{name}.yaml"))
    for run in runs:
        assert run.end().code == 0, run.err()
    for name in routes:
        assert sorted(weights(world.bed.api.get("VirtualService", world.namespace, name)).values()) == [30, 70]
        assert world.step("revert", "--config", f"{name}.yaml").code == 0
        assert_untouched(routes[name], world.bed.api.get("VirtualService", world.namespace, name))


def test_a_record_that_does_not_fit_is_refused(world: World) -> None:
    world.deploy()
    full = {"metadata": {"annotations": {"notes": "x" * (255 * 1024 + 900)}}}
    before = world.bed.api.patch("VirtualService", world.namespace, APP, full)

    done = world.step("shift", "20", "--bake", "0s")

    assert done.code == 5
    assert "262144 are allowed" in done.err and "can't record" in done.err
    assert_untouched(before, world.virtual_service())
    assert MEMORY not in world.virtual_service()["metadata"]["annotations"]


@pytest.mark.sandbox
def test_the_benchmark_finds_every_update(sandbox: Sandbox) -> None:
    """The small version of benchmarks/many.py; it raises where a rollout does not stand at its weight."""
    many.targets(sandbox, 12)
    _, size = many.previews(sandbox, 60)
    assert size < 60 * 500
