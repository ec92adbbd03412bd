"""Whole rollouts: promoted, reverted, repeated. The numbers are those of the peers' acceptance scenarios."""

from __future__ import annotations

import json

from .bed import eventually
from .watching import recorded
from .world import OTHER_IMAGE, PREVIEW_IMAGE, World, assert_untouched


def digest(world: World, namespace: str) -> str:
    """What the pods of a namespace run, as the kubelet says."""
    pods = world.bed.api.list("Pod", namespace, "app=croc")
    return str(pods[0]["status"]["containerStatuses"][0]["imageID"]).rpartition("@")[2]


def test_1_a_healthy_preview_is_promoted(world: World) -> None:
    world.configure(gates=[{"scrape": {"min_success": 99, "min_requests": 10}}], strategy={"steps": [20, 50]})
    before = world.virtual_service()
    assert world.step("preview", "--image", PREVIEW_IMAGE, "--sha", "abcdef1").code == 0
    reviewed = digest(world, world.preview_namespace())
    history = world.history()

    with world.bed.load(world.host) as counts:
        done = world.step("rollout", "-o", "json")
        world.await_answers({"2"})

    assert done.code == 0, done.err
    assert done.result["outcome"] == "promoted"
    assert set(counts) == {"1", "2"}, "every request was answered, by both sides"
    assert world.production_image() == f"localhost/sample@{reviewed}"
    assert set(world.answers(100)) == {"2"}
    assert_untouched(before, world.virtual_service())
    world.assert_consistent(history)
    shares = [sum(r["weight"] for r in recorded(route).values()) for route in world.routes(history)]
    assert sorted(set(shares)) == [0, 20, 50]
    leases = {lease["metadata"]["name"] for lease in world.bed.api.list("Lease", world.namespace)}
    assert leases == {"pipeline-step-history-croc"}, "what was promoted is remembered, and nothing is held"
    seen = world.bed.counted("croc", world.preview_namespace())
    assert set(seen) == {200} and seen[200] >= 20, "Envoy's own counters saw the preview serve"


def test_6_a_bad_image_fails_before_any_traffic(world: World) -> None:
    before = world.virtual_service()

    done = world.step("preview", "--image", "localhost/missing:1")

    assert done.code == 4
    assert "localhost/missing:1" in done.err and "can't be pulled" in done.err
    refused = world.step("rollout")
    assert refused.code == 4 and "no ready pod" in refused.err
    after = world.virtual_service()
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"], "nothing was written"
    assert set(world.answers(50)) == {"1"}


def test_7_errors_at_a_weight_take_the_traffic_back(world: World) -> None:
    world.configure(gates=[{"scrape": {"min_success": 99, "min_requests": 20}}], strategy={"bake": "30s"})
    world.deploy()
    before, image = world.virtual_service(), world.production_image()
    history = world.history()

    with world.bed.load(world.host):
        run = world.begin("rollout", "--steps", "25,50")
        world.await_answers({"1", "2"})
        break_preview(world)
        done = run.end()

    assert done.code == 3, done.err
    world.await_answers({"1"})
    assert_untouched(before, world.virtual_service())
    assert world.production_image() == image
    world.assert_consistent(history)


def break_preview(world: World, requests: int = 60) -> None:
    """Have the preview's pod answer with 500, past the gateway."""
    pod = world.bed.api.list("Pod", world.preview_namespace(), "app=croc")[0]["metadata"]["name"]
    proxy = f"/api/v1/namespaces/{world.preview_namespace()}/pods/{pod}:8080/proxy/status?code=500"
    for _ in range(requests):
        assert world.bed.api.send("GET", proxy).status_code == 500


def test_8_a_preview_that_production_runs_already_starts_nothing(world: World) -> None:
    world.deploy()
    assert world.step("rollout", "--steps", "50", "--bake", "0s").code == 0
    after_first = world.virtual_service()
    pods = {pod["metadata"]["uid"] for pod in world.bed.api.list("Pod", world.namespace)}

    done = world.step("rollout", "--steps", "50", "--bake", "60s", "-o", "json")

    assert done.code == 0 and done.result["outcome"] == "unchanged"
    now = world.virtual_service()
    assert now["metadata"]["resourceVersion"] == after_first["metadata"]["resourceVersion"]
    assert {pod["metadata"]["uid"] for pod in world.bed.api.list("Pod", world.namespace)} <= pods


def test_9_a_failed_run_can_be_retried(world: World) -> None:
    world.configure(gates=[{"scrape": {"min_success": 99, "min_requests": 10}}])
    before = world.virtual_service()
    world.manifest(FAIL_RATE="0.7")
    with world.bed.load(world.host):
        assert world.step("preview", "--image", PREVIEW_IMAGE).code == 0
        assert world.step("rollout", "--steps", "50").code == 3
        assert_untouched(before, world.virtual_service())
        world.manifest()
        assert world.step("preview", "--image", OTHER_IMAGE).code == 0
        done = world.step("rollout", "--steps", "50", "-o", "json")
    assert done.code == 0 and done.result["outcome"] == "promoted", done.err
    world.await_answers({"3"})
    assert_untouched(before, world.virtual_service())


def test_10_an_autoscaler_is_respected(world: World) -> None:
    scaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "croc"},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "croc"},
            "minReplicas": 1,
            "maxReplicas": 4,
        },
    }
    world.bed.api.create(scaler, world.namespace)
    wanted = world.bed.api.get("HorizontalPodAutoscaler", world.namespace, "croc")["spec"]
    world.deploy()

    run = world.begin("rollout", "--steps", "50", "--bake", "3s")
    world.await_weight(50)
    world.bed.kubectl("scale", "deployment/croc", "-n", world.namespace, "--replicas=3")
    done = run.end()

    assert done.code == 0, done.err
    found = world.bed.api.get("Deployment", world.namespace, "croc")
    assert found["spec"]["replicas"] == 3, "what the autoscaler asked for stays"
    world.await_ready(world.namespace, 3)
    held = world.bed.api.get("HorizontalPodAutoscaler", world.namespace, "croc")
    assert held["spec"] == wanted
    assert "pipeline-step" not in str(held["metadata"]), "and nothing of ours is on it"


def test_11_a_new_commit_supersedes_the_old_one(world: World) -> None:
    before = world.virtual_service()
    world.deploy(sha="aaaaaaa")
    history = world.history()
    run = world.begin("rollout", "--steps", "25,50", "--bake", "60s", "--sha", "aaaaaaa")
    world.await_weight(25)

    new = world.step("preview", "--image", OTHER_IMAGE, "--sha", "bbbbbbb")

    assert new.code == 0, new.err
    old = run.end()
    assert old.code == 3, old.err
    assert_untouched(before, world.virtual_service())
    world.await_answers({"1"})
    done = world.step("rollout", "--steps", "50", "--bake", "0s", "--sha", "bbbbbbb")
    assert done.code == 0, done.err
    world.await_answers({"3"})
    world.assert_consistent(history)
    shared = [recorded(route) for route in world.routes(history)]
    commits = [r["sha"] for one in shared for r in one.values()]
    assert commits.index("bbbbbbb") == len([sha for sha in commits if sha == "aaaaaaa"]), "never back to the old one"


def test_attack_image_is_changed_under_the_judged_commit(world: World) -> None:
    """Whoever may deploy previews gives the pods another image, and leaves the commit as it was reviewed."""
    before, image = world.virtual_service(), world.production_image()
    world.deploy(sha="aaaaaaa")
    run = world.begin("rollout", "--steps", "25,50", "--bake", "60s", "--sha", "aaaaaaa")
    world.await_weight(25)
    other = {"spec": {"template": {"spec": {"containers": [{"name": "croc", "image": OTHER_IMAGE}]}}}}
    world.bed.api.patch("Deployment", world.preview_namespace(), "croc", other)
    done = run.end()
    assert done.code == 3, done.err
    assert "which was not judged" in done.err
    assert_untouched(before, world.virtual_service())
    assert world.production_image() == image


def test_12_a_promotion_that_does_not_get_ready_brings_the_previous_image_back(world: World) -> None:
    api, namespace = world.bed.api, world.namespace
    api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "croc"}, "data": {}}, namespace)
    needs = [{"name": "croc", "envFrom": [{"configMapRef": {"name": "croc"}}]}]
    template = {"spec": {"template": {"spec": {"containers": needs}}}}
    world.bed.kubectl("patch", "deployment", "croc", "-n", namespace, f"--patch={json.dumps(template)}")
    world.deploy()
    eventually(lambda: api.get("Deployment", namespace, "croc")["status"].get("updatedReplicas") == 1)
    world.await_ready(namespace)
    before, image = world.virtual_service(), world.production_image()
    api.delete("ConfigMap", namespace, "croc")
    history = world.history()

    with world.bed.load(world.host) as counts:
        done = world.step("rollout", "--steps", "50", "--bake", "0s")

    assert done.code == 3, done.err
    assert "did not get ready" in done.err
    assert world.production_image() == image
    assert set(counts) <= {"1", "2"}, "no request was lost"
    world.await_answers({"1"})
    assert_untouched(before, world.virtual_service())
    promoting = [
        route for route in world.routes(history)
        for r in recorded(route).values() if r.get("phase") == "promoting"
    ]  # fmt: skip
    assert promoting and all(r["weight"] == 50 for route in promoting for r in recorded(route).values())


def test_14_traffic_leaves_a_preview_whose_pods_are_gone(world: World) -> None:
    before = world.virtual_service()
    world.deploy()
    run = world.begin("rollout", "--steps", "50", "--bake", "60s")
    world.await_weight(50)

    world.bed.kubectl("scale", "deployment/croc", "-n", world.preview_namespace(), "--replicas=0")

    done = run.end()
    assert done.code == 3, done.err
    assert "no ready pod" in done.err
    assert_untouched(before, world.virtual_service())
    world.await_answers({"1"})


def test_17_one_of_two_gates_is_enough_to_abort(world: World) -> None:
    host, port = world.bed.gateway
    passing = {"http": {"url": f"http://{host}:{port}/", "headers": {"Host": world.host}}}
    failing = {"scrape": {"min_success": 99, "min_requests": 10}}
    world.configure(gates=[passing, failing], strategy={"bake": "30s"})
    world.deploy(FAIL_RATE="0.5")
    before = world.virtual_service()
    with world.bed.load(world.host):
        done = world.step("rollout", "--steps", "30,60")
    assert done.code == 3, done.err
    assert "scrape" in done.err
    assert_untouched(before, world.virtual_service())
