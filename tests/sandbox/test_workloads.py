"""Deployments whose pods are processes: roll-out, failure, probes, digests, proxies."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import requests
from sandbox_client import Client, deployment

from pipeline_step.sandbox import Sandbox
from pipeline_step.sandbox.images import digest_of, parse

Obj = dict[str, Any]
Wait = Callable[..., Any]


def deployments(namespace: str) -> str:
    return f"/apis/apps/v1/namespaces/{namespace}/deployments"


def pods(client: Client, namespace: str, app: str = "web") -> list[Obj]:
    found: list[Obj] = client.get(f"/api/v1/namespaces/{namespace}/pods?labelSelector=app={app}")["items"]
    return found


def waiting(pod: Obj) -> str:
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return statuses[0]["state"].get("waiting", {}).get("reason", "") if statuses else ""


def condition(obj: Obj, kind: str) -> Obj:
    found = [c for c in (obj.get("status") or {}).get("conditions") or [] if c["type"] == kind]
    return found[0] if found else {"status": "", "reason": ""}


def set_image(client: Client, namespace: str, name: str, image: str) -> None:
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}}
    path = f"{deployments(namespace)}/{name}"
    code, body = client.send("PATCH", path, patch, "application/strategic-merge-patch+json")
    assert code == 200, body


def test_a_deployment_becomes_pods_that_answer(client: Client, namespace: str, deploy: Wait) -> None:
    made = deploy("web", image="registry.example.org/croc:1.2", replicas=2)
    status = made["status"]
    assert (status["replicas"], status["updatedReplicas"], status["readyReplicas"]) == (2, 2, 2)
    assert status["observedGeneration"] == made["metadata"]["generation"]
    assert condition(made, "Available")["status"] == "True"
    found = pods(client, namespace)
    addresses = {pod["status"]["podIP"] for pod in found}
    assert len(addresses) == 2
    assert all(re.fullmatch(r"127\.\d+\.\d+\.\d+", address) for address in addresses)
    for pod in found:
        answer = requests.get(f"http://{pod['status']['podIP']}:8080/", timeout=5).json()
        assert answer["release"] == "1.2"
        assert (answer["pod"], answer["namespace"]) == (pod["metadata"]["name"], namespace)
        running = pod["status"]["containerStatuses"][0]
        assert running["image"] == "registry.example.org/croc:1.2"
        assert running["imageID"] == f"registry.example.org/croc@{digest_of('registry.example.org/croc', '1.2')}"


def test_the_digest_that_runs_can_be_deployed_and_is_the_same_release(
    sandbox: Sandbox, client: Client, namespace: str, deploy: Wait
) -> None:
    sandbox.images.build("croc:special", {"COMMIT": "abc123"})
    deploy("web", image="croc:special")
    image_id = pods(client, namespace)[0]["status"]["containerStatuses"][0]["imageID"]
    deploy("copy", image=image_id)
    pod = pods(client, namespace, "copy")[0]
    assert pod["status"]["containerStatuses"][0]["imageID"] == image_id
    answer = requests.get(f"http://{pod['status']['podIP']}:8080/", timeout=5).json()
    assert (answer["release"], answer["commit"]) == ("special", "abc123")


@pytest.mark.parametrize(
    ("reference", "repository", "tag"),
    [
        ("croc", "croc", "latest"),
        ("host:5000/a/croc:1.0", "host:5000/a/croc", "1.0"),
        ("host:5000/croc", "host:5000/croc", "latest"),
        (f"croc@sha256:{'a' * 64}", "croc", ""),
        (f"croc:1@sha256:{'a' * 64}", "croc", "1"),
    ],
)
def test_image_references(reference: str, repository: str, tag: str) -> None:
    image = parse(reference)
    assert image is not None
    assert (image.repository, image.tag) == (repository, tag)
    assert not reference.endswith("a" * 64) or image.digest == f"sha256:{'a' * 64}"


@pytest.mark.parametrize("reference", ["", "Croc:1", "croc@sha256:12", "croc:1:2x/"])
def test_malformed_image_references(reference: str) -> None:
    assert parse(reference) is None


def test_a_roll_out_never_has_fewer_ready_pods_than_allowed(
    client: Client, namespace: str, deploy: Wait, eventually: Wait
) -> None:
    deploy("web", image="croc:1", replicas=4)
    set_image(client, namespace, "web", "croc:2")
    least, most = 4, 0

    def done() -> bool:
        nonlocal least, most
        found = [pod for pod in pods(client, namespace) if not pod["metadata"].get("deletionTimestamp")]
        least = min(least, sum(condition(pod, "Ready")["status"] == "True" for pod in found))
        most = max(most, len(found))
        status = client.get(f"{deployments(namespace)}/web")["status"]
        return bool(status.get("updatedReplicas") == 4 == status["replicas"] == status.get("availableReplicas"))

    eventually(done, 20)
    assert least >= 3
    assert most <= 5
    made = client.get(f"{deployments(namespace)}/web")
    assert made["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
    assert condition(made, "Progressing")["reason"] == "NewReplicaSetAvailable"
    sets = client.get(f"/apis/apps/v1/namespaces/{namespace}/replicasets")["items"]
    assert sorted(s["spec"]["replicas"] for s in sets) == [0, 4]


def test_going_back_to_an_earlier_template_uses_its_replica_set(
    client: Client, namespace: str, deploy: Wait, eventually: Wait
) -> None:
    deploy("web", image="croc:1")
    set_image(client, namespace, "web", "croc:2")
    path = f"/apis/apps/v1/namespaces/{namespace}/replicasets"
    eventually(lambda: len(client.get(path)["items"]) == 2)
    set_image(client, namespace, "web", "croc:1")
    eventually(lambda: client.get(f"{deployments(namespace)}/web")["status"].get("replicas") == 1)
    assert len(client.get(path)["items"]) == 2


def test_a_missing_image_waits_in_back_off_and_the_old_pods_stay(
    client: Client, namespace: str, deploy: Wait, eventually: Wait
) -> None:
    deploy("web")
    set_image(client, namespace, "web", "registry.example.org/missing:1")
    seen: set[str] = set()

    def both() -> bool:
        seen.update(waiting(pod) for pod in pods(client, namespace))
        return {"ErrImagePull", "ImagePullBackOff"} <= seen

    eventually(both)
    ready = [pod for pod in pods(client, namespace) if condition(pod, "Ready")["status"] == "True"]
    assert [pod["spec"]["containers"][0]["image"] for pod in ready] == ["croc:1"]


def test_a_crashing_container_is_restarted_with_back_off(client: Client, namespace: str, eventually: Wait) -> None:
    client.create(deployments(namespace), deployment("web", CRASH="1"))
    eventually(lambda: any(waiting(pod) == "CrashLoopBackOff" for pod in pods(client, namespace)))
    eventually(lambda: pods(client, namespace)[0]["status"]["containerStatuses"][0]["restartCount"] > 0, seconds=5)
    status = pods(client, namespace)[0]["status"]["containerStatuses"][0]
    assert status["lastState"]["terminated"]["exitCode"] == 1
    name = pods(client, namespace)[0]["metadata"]["name"]
    log = requests.get(f"{client.url}/api/v1/namespaces/{namespace}/pods/{name}/log", timeout=5).text
    assert "panic: CRASH=1" in log


def test_a_roll_out_past_its_deadline_says_so(client: Client, namespace: str, eventually: Wait) -> None:
    slow = deployment("web", START_DELAY="60")
    slow["spec"]["progressDeadlineSeconds"] = 1
    client.create(deployments(namespace), slow)

    def reason() -> bool:
        made = client.get(f"{deployments(namespace)}/web")
        return bool(condition(made, "Progressing")["reason"] == "ProgressDeadlineExceeded")

    eventually(reason)
    made = client.get(f"{deployments(namespace)}/web")
    assert condition(made, "Available")["reason"] == "MinimumReplicasUnavailable"
    assert made["status"]["unavailableReplicas"] == 1


def test_scaling_to_zero_ends_the_processes_and_the_endpoints(
    client: Client, namespace: str, deploy: Wait, eventually: Wait
) -> None:
    deploy("web", replicas=2)
    address = pods(client, namespace)[0]["status"]["podIP"]
    path = f"{deployments(namespace)}/web"
    client.send("PATCH", f"{path}/scale", {"spec": {"replicas": 0}}, "application/merge-patch+json")
    eventually(lambda: not pods(client, namespace))
    slices = client.get(f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices")["items"]
    assert [s["endpoints"] for s in slices] == [[]]
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://{address}:8080/", timeout=1)


def test_variables_come_from_fields_and_config(client: Client, namespace: str, eventually: Wait) -> None:
    client.create(f"/api/v1/namespaces/{namespace}/configmaps", {"metadata": {"name": "c"}, "data": {"r": "7"}})
    made = deployment("web")
    made["spec"]["template"]["spec"]["containers"][0]["env"] = [
        {"name": "RELEASE", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "r"}}},
        {"name": "COMMIT", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
    ]
    client.create(deployments(namespace), made)
    eventually(lambda: client.get(f"{deployments(namespace)}/web").get("status", {}).get("readyReplicas"))
    name = pods(client, namespace)[0]["metadata"]["name"]
    answer = client.get(f"/api/v1/namespaces/{namespace}/pods/{name}:8080/proxy/")
    assert (answer["release"], answer["commit"]) == ("7", "web")


def test_a_variable_from_a_missing_secret_is_a_config_error(client: Client, namespace: str, eventually: Wait) -> None:
    made = deployment("web")
    secret = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "none", "key": "t"}}}
    made["spec"]["template"]["spec"]["containers"][0]["env"] = [secret]
    client.create(deployments(namespace), made)
    eventually(lambda: any(waiting(pod) == "CreateContainerConfigError" for pod in pods(client, namespace)))


def test_pods_and_services_are_reached_through_the_api(client: Client, namespace: str, deploy: Wait) -> None:
    deploy("web", image="croc:9")
    name = pods(client, namespace)[0]["metadata"]["name"]
    base = f"/api/v1/namespaces/{namespace}"
    assert client.get(f"{base}/services/web:http/proxy/")["release"] == "9"
    assert client.get(f"{base}/services/web:80/proxy/")["release"] == "9"
    answer = requests.get(f"{client.url}{base}/pods/{name}:http/proxy/status?code=418", timeout=5)
    assert answer.status_code == 418
    metrics = requests.get(f"{client.url}{base}/pods/{name}:8080/proxy/metrics", timeout=5).text
    assert 'http_requests_total{code="418",method="GET"} 1' in metrics
    code, status = client.send("GET", f"{base}/pods/{name}:9/proxy/")
    assert (code, status["reason"]) == (503, "ServiceUnavailable")
    code, status = client.send("GET", f"{base}/services/none:80/proxy/")
    assert (code, status["message"]) == (404, 'services "none" not found')


def test_a_deleted_pod_is_terminating_first_and_no_endpoint_then(
    client: Client, namespace: str, deploy: Wait, eventually: Wait
) -> None:
    deploy("web")
    pod = pods(client, namespace)[0]
    name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
    code, marked = client.send("DELETE", f"/api/v1/namespaces/{namespace}/pods/{name}")
    assert (code, marked["metadata"]["deletionGracePeriodSeconds"]) == (200, 30)
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"

    def ready_uids() -> list[str]:
        endpoints = client.get(slices)["items"][0]["endpoints"]
        return [e["targetRef"]["uid"] for e in endpoints if e["conditions"]["ready"]]

    eventually(lambda: uid not in ready_uids(), seconds=1)
    eventually(lambda: len(ready_uids()) == 1)
    eventually(lambda: client.send("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")[0] == 404)


def test_an_unready_pod_is_no_endpoint(client: Client, namespace: str, deploy: Wait, eventually: Wait) -> None:
    deploy("web")
    set_image(client, namespace, "web", "croc:2")
    patch = {
        "spec": {
            "template": {"spec": {"containers": [{"name": "app", "readinessProbe": {"httpGet": {"path": "/nowhere"}}}]}}
        }
    }
    client.send("PATCH", f"{deployments(namespace)}/web", patch, "application/strategic-merge-patch+json")
    eventually(lambda: any(condition(p, "Ready")["status"] == "False" for p in pods(client, namespace)))
    slices = client.get(f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices")["items"]
    assert sum(e["conditions"]["ready"] for e in slices[0]["endpoints"]) >= 1


def test_deleting_a_deployment_takes_its_pods_along(
    client: Client, namespace: str, deploy: Wait, eventually: Wait
) -> None:
    deploy("web", replicas=2)
    client.send("DELETE", f"{deployments(namespace)}/web", {"propagationPolicy": "Foreground"})
    eventually(lambda: client.send("GET", f"{deployments(namespace)}/web")[0] == 404)
    assert pods(client, namespace) == []
