"""What anyone can do wrong: one clear sentence, the right exit code, and nothing of the user's is lost."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..bed import Bed, Obj
from ..watching import RECORD
from ..world import APP, Done, World, assert_untouched, to
from .proxy import Fault, Proxy, always, once


def sentence(done: Done, code: int, *words: str) -> None:
    """The run ended with this code, and its last line on standard error is one sentence with these words."""
    lines = done.err.strip().splitlines()
    assert done.code == code, done.err
    assert lines and lines[-1].startswith(("error: ", "Error: ")), done.err
    assert sum(line.startswith(("error: ", "Error: ")) for line in lines) == 1
    for word in words:
        assert word in lines[-1], done.err


CONFIGURATIONS: list[tuple[str, Callable[[str], str], tuple[str, ...]]] = [
    ("not YAML", lambda text: text + "gates: [\n", (".pipeline-step.yaml:", "not YAML")),
    ("a list", lambda text: "- 1\n", ("expected a mapping", "production")),
    ("an unknown key", lambda text: text + "colour: green\n", ("colour", "strategy")),
    ("a wrong type", lambda text: text.replace("bake: 0.5s", "bake: 12"), ("bake", "12")),
    ("steps that fall", lambda text: text.replace("- 10\n", "- 80\n"), ("steps must rise", "80")),
    ("no router", lambda text: text.replace("istio:", "nginx-plus:"), ("nginx-plus", "istio")),
]


@pytest.mark.parametrize(("change", "words"), [c[1:] for c in CONFIGURATIONS], ids=[c[0] for c in CONFIGURATIONS])
def test_a_wrong_configuration(world: World, change: Callable[[str], str], words: tuple[str, ...]) -> None:
    file = world.directory / ".pipeline-step.yaml"
    file.write_text(change(file.read_text()))
    sentence(world.step("rollout"), 2, *words)


def test_no_configuration_at_all(world: World) -> None:
    (world.directory / ".pipeline-step.yaml").unlink()
    sentence(world.step("status"), 2, ".pipeline-step.yaml", "no such file")


def test_no_cluster_to_talk_to(world: World, tmp_path: Path) -> None:
    sentence(world.step("rollout", KUBECONFIG=str(tmp_path / "absent")), 2, "KUBECONFIG")
    sentence(world.step("rollout", "--context", "mars"), 2, "'mars'")
    broken = tmp_path / "broken"
    broken.write_text("{clusters: [")
    done = world.step("rollout", KUBECONFIG=str(broken))
    sentence(done, 2, str(broken))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rollout", "--steps", "1,many"], ["--steps", "1,many"]),
        (["rollout", "--bake", "soon"], ["bake", "soon"]),
        (["rollout", "--repo", "croc"], ["--repo", "OWNER/NAME"]),
        (["shift", "101"], ["101"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_wrong_options(world: World, arguments: list[str], words: list[str]) -> None:
    sentence(world.step(*arguments), 2, *words)


def test_no_pull_request(world: World) -> None:
    sentence(world.step("rollout", PULL_NUMBER=""), 2, "--pr")


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [(401, 5, ["401", "credentials"]), (403, 5, ["403", "doctor"]), (404, 2, ["not found"])],
)
def test_an_api_that_refuses(world: World, proxy: Proxy, status: int, code: int, words: list[str]) -> None:
    world.deploy()
    before = world.virtual_service()
    proxy.choose = always(Fault(status=status))
    sentence(world.step("rollout", KUBECONFIG=str(proxy.kubeconfig)), code, *words)
    assert_untouched(before, world.virtual_service())


def test_an_api_that_fails_is_waited_for_and_then_named(world: World, bed: Bed, tmp_path: Path) -> None:
    """Side by side, since each waits as long as a storm at the API may last."""
    world.deploy()
    before = world.virtual_service()
    faults = {500: Fault(status=500), 429: Fault(status=429, retry_after=1), 0: Fault(cut="before")}
    proxies, runs = [], {}
    try:
        for status, fault in faults.items():
            folder = tmp_path / str(status)
            folder.mkdir()
            proxies.append(Proxy(bed.api, folder, always(fault)).__enter__())
            runs[status] = world.begin("rollout", KUBECONFIG=str(proxies[-1].kubeconfig))
        for status, run in runs.items():
            sentence(run.end(), 1, str(status) if status else "does not answer")
    finally:
        for proxy in proxies:
            proxy.__exit__(None, None, None)
    assert_untouched(before, world.virtual_service())


def test_a_conflict_is_no_failure(world: World, proxy: Proxy) -> None:
    world.deploy()
    proxy.choose = once(always(Fault(status=409), method="PUT", resource="virtualservices"))
    done = world.step("shift", "20", "--bake", "0s", KUBECONFIG=str(proxy.kubeconfig))
    assert done.code == 0, done.err
    assert len(proxy.done) == 1 and world.weight() == 20


def test_a_write_that_is_forbidden(world: World, proxy: Proxy) -> None:
    world.deploy()
    before = world.virtual_service()
    proxy.choose = always(Fault(status=403), method="PUT", resource="virtualservices")
    sentence(world.step("rollout", KUBECONFIG=str(proxy.kubeconfig)), 5, "403", "virtualservices", "doctor")
    assert_untouched(before, world.virtual_service())


def test_a_route_without_a_destination_of_production(build: Callable[..., World]) -> None:
    world = build(route={"http": [{"route": [to("elsewhere.example", port=443)]}]})
    world.deploy()
    before = world.virtual_service()
    sentence(world.step("rollout"), 2, "no route leads to", "elsewhere.example")
    assert_untouched(before, world.virtual_service())


def test_no_route(world: World) -> None:
    world.configure(traffic={"istio": {"virtual_service": "crok"}})
    world.deploy()
    sentence(world.step("rollout"), 2, "crok", "not found")


def test_no_namespace_of_production(world: World) -> None:
    world.deploy()
    world.configure(production={"namespace": f"{world.namespace}-gone"})
    sentence(world.step("rollout"), 2, f"{world.namespace}-gone", "not found")


def test_a_route_that_is_deleted_in_mid_run(world: World) -> None:
    world.deploy()
    run = world.begin("rollout", "--steps", "20", "--bake", "60s")
    world.await_weight(20)
    world.bed.api.delete("VirtualService", world.namespace, APP)
    done = run.end()
    assert "Traceback" not in done.err
    sentence(done, 2, "virtualservices", "not found")
    assert world.bed.api.find("VirtualService", world.namespace, APP) is None, "nothing is made up"


def test_a_record_that_nobody_can_read(world: World) -> None:
    world.deploy()
    api = world.bed.api
    before = api.patch("VirtualService", world.namespace, APP, {"metadata": {"annotations": {RECORD: "{}"}}})
    for command in (["rollout"], ["status"], ["revert"]):
        done = world.step(*command)
        assert done.code in (2, 6), done.err
        assert (RECORD in done.err and "delete the annotation" in done.err) or command == ["revert"], done.err
    assert world.virtual_service()["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


def test_a_route_that_another_controller_rewrites(world: World) -> None:
    world.deploy()
    owner = {"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "name": "croc", "uid": "1", "controller": True}
    change: Obj = {"metadata": {"ownerReferences": [owner]}}
    kind, namespace = "VirtualService", world.namespace
    # A real cluster's garbage collector takes an object away whose owner is not there, so keep it from that.
    change["metadata"]["finalizers"] = ["example.com/keep"]
    before = world.bed.api.patch(kind, namespace, APP, change)
    try:
        sentence(world.step("rollout"), 5, "Canary", "overwrite")
        after = world.virtual_service()
        assert after["spec"] == before["spec"] and after["metadata"]["annotations"] == before["metadata"]["annotations"]
    finally:
        world.bed.api.patch(kind, namespace, APP, {"metadata": {"finalizers": None, "ownerReferences": None}})


def test_a_preview_that_does_not_exist(world: World) -> None:
    before = world.virtual_service()
    sentence(world.step("rollout"), 4, "no ready pod")
    assert_untouched(before, world.virtual_service())
    assert world.bed.api.list("Lease", world.namespace) == []


def test_a_preview_that_never_gets_ready(world: World) -> None:
    world.manifest(START_DELAY="600")
    world.configure(preview={"ready_within": "3s"})
    before = world.virtual_service()
    sentence(world.step("preview", "--image", "localhost/sample:2"), 4, "not ready in time", world.preview_namespace())
    assert_untouched(before, world.virtual_service())


def test_a_preview_that_dies_says_its_last_words(world: World) -> None:
    world.manifest(CRASH="1")
    sentence(world.step("preview", "--image", "localhost/sample:2"), 4, "starts and dies", "CRASH=1")


def test_a_preview_without_an_image_or_with_wrong_manifests(world: World) -> None:
    sentence(world.step("preview"), 2, "--image")
    world.configure(preview={"clone": False, "manifests": "absent"})
    sentence(world.step("preview", "--image", "a:1"), 2, "absent")
    (world.directory / "preview.yaml").write_text("kind: Service\nmetadata: {name: '${COLOUR}'}\n")
    world.configure(preview={"manifests": "preview.yaml"})
    sentence(world.step("preview", "--image", "a:1"), 2, "preview.yaml:2", "${COLOUR}")


def test_a_commit_that_is_not_deployed(world: World) -> None:
    world.deploy(sha="aaaaaaa")
    before = world.virtual_service()
    sentence(world.step("rollout", "--sha", "bbbbbbb"), 5, "bbbbbbb", "aaaaaaa")
    assert_untouched(before, world.virtual_service())


def test_results_for_machines_are_there_also_for_a_refusal(world: World, tmp_path: Path) -> None:
    done = world.step("rollout", "-o", "json", "--results", str(tmp_path / "results"))
    assert done.code == 4
    result: Any = json.loads(done.out)
    assert "no ready pod" in result["reason"]
    assert (tmp_path / "results" / "outcome").exists()


@pytest.mark.sandbox
def test_a_port_of_the_sandbox_that_is_in_use(tmp_path: Path, sandbox_bed: Bed) -> None:
    world = World(sandbox_bed, tmp_path, "", {}, {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)})
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        for option in ("--api-port", "--gateway-port"):
            sentence(world.step("sandbox", option, port), 2, port, "another port")
