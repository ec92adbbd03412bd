"""The API over HTTP: what it accepts, what it refuses, and in which words."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest
import requests
from sandbox_client import Client

from pipeline_step.sandbox import Sandbox

Obj = dict[str, Any]
ISTIO = "/apis/networking.istio.io"


def config_maps(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps"


def virtual_services(namespace: str, version: str = "v1beta1") -> str:
    return f"{ISTIO}/{version}/namespaces/{namespace}/virtualservices"


def route(name: str, *hosts: str, version: str = "v1beta1") -> Obj:
    """A VirtualService; a custom kind must name itself."""
    typed = {"apiVersion": f"networking.istio.io/{version}", "kind": "VirtualService"}
    return {**typed, "metadata": {"name": name}, "spec": {"hosts": list(hosts or ("x",))}}


def config(name: str, **data: str) -> Obj:
    return {"metadata": {"name": name}, "data": data}


def test_a_created_object_has_what_the_server_gives_it(client: Client, namespace: str) -> None:
    made = client.create(virtual_services(namespace), route("x", "x"))
    meta = made["metadata"]
    assert (made["apiVersion"], made["kind"]) == ("networking.istio.io/v1beta1", "VirtualService")
    assert meta["generation"] == 1
    assert meta["uid"]
    assert meta["creationTimestamp"].endswith("Z")
    assert meta["managedFields"][0]["manager"] == "sandbox-tests"


def test_one_object_answers_under_each_version(client: Client, namespace: str) -> None:
    client.create(virtual_services(namespace, "v1alpha3"), route("x", version="v1alpha3"))
    for version in ("v1", "v1beta1", "v1alpha3"):
        found = client.get(f"{virtual_services(namespace, version)}/x")
        assert found["apiVersion"] == f"networking.istio.io/{version}"
        listed = client.get(virtual_services(namespace, version))["items"]
        assert [item["apiVersion"] for item in listed] == [f"networking.istio.io/{version}"]


def test_refusals_are_status_objects_in_the_servers_words(client: Client, namespace: str) -> None:
    path = config_maps(namespace)
    client.create(path, config("taken"))
    asked = [
        ("GET", f"{path}/none", None, 404, "NotFound", 'configmaps "none" not found'),
        ("POST", path, config("taken"), 409, "AlreadyExists", 'configmaps "taken" already exists'),
        ("POST", config_maps("nowhere"), config("x"), 404, "NotFound", 'namespaces "nowhere" not found'),
        (
            "GET",
            f"{virtual_services(namespace)}/a",
            None,
            404,
            "NotFound",
            'virtualservices.networking.istio.io "a" not found',
        ),
        (
            "PUT",
            f"{path}/taken",
            config("other"),
            400,
            "BadRequest",
            "the name of the object (other) does not match the name on the URL (taken)",
        ),
    ]
    for method, where, body, code, reason, message in asked:
        got, status = client.send(method, where, body)
        assert (got, status["code"], status["reason"], status["message"]) == (code, code, reason, message)
        assert (status["kind"], status["status"]) == ("Status", "Failure")


def test_a_path_that_is_not_served_is_a_plain_404(client: Client) -> None:
    answer = requests.get(f"{client.url}/apis/no.such.group/v1/things", timeout=5)
    assert (answer.status_code, answer.text) == (404, "404 page not found\n")


def test_a_custom_kind_must_name_itself(client: Client, namespace: str) -> None:
    code, status = client.send("POST", virtual_services(namespace), {"metadata": {"name": "x"}})
    assert (code, status["reason"]) == (400, "BadRequest")
    assert status["message"].startswith(
        "the object provided is unrecognized (must be of type VirtualService): Object 'Kind' is missing in "
    )


@pytest.mark.parametrize(
    ("http", "message"),
    [
        ([{"route": [{"weight": 1}]}], "spec.http[0].route[0].destination: Required value"),
        (
            [{"route": [{"destination": {"host": "a"}, "weight": "1"}]}],
            'spec.http[0].route[0].weight: Invalid value: "string": spec.http[0].route[0].weight in body must be '
            'of type integer: "string"',
        ),
        ({}, 'spec.http: Invalid value: "object": spec.http in body must be of type array: "object"'),
    ],
)
def test_a_route_of_the_wrong_shape_is_refused_with_its_field(
    client: Client, namespace: str, http: Any, message: str
) -> None:
    body = {**route("x"), "spec": {"http": http}}
    code, status = client.send("POST", virtual_services(namespace), body)
    assert (code, status["reason"]) == (422, "Invalid")
    assert message in status["message"]


def test_a_replace_from_an_old_version_is_a_conflict(client: Client, namespace: str) -> None:
    path = f"{virtual_services(namespace)}/x"
    first = client.create(virtual_services(namespace), route("x", "a"))
    code, second = client.send("PUT", path, {**first, "spec": {"hosts": ["b"]}})
    assert (code, second["metadata"]["generation"]) == (200, 2)
    code, status = client.send("PUT", path, {**first, "spec": {"hosts": ["c"]}})
    assert (code, status["reason"]) == (409, "Conflict")
    assert status["message"] == (
        'Operation cannot be fulfilled on virtualservices.networking.istio.io "x": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
    assert client.get(path)["spec"] == {"hosts": ["b"]}


def test_without_a_version_a_built_in_kind_is_replaced_and_a_custom_one_is_refused(
    client: Client, namespace: str
) -> None:
    client.create(config_maps(namespace), config("x"))
    code, _ = client.send("PUT", f"{config_maps(namespace)}/x", config("x", a="1"))
    assert code == 200
    client.create(virtual_services(namespace), route("x", "a"))
    code, status = client.send("PUT", f"{virtual_services(namespace)}/x", route("x", "b"))
    assert (code, status["reason"]) == (422, "Invalid")
    assert "metadata.resourceVersion: Invalid value: 0: must be specified for an update" in status["message"]


def test_a_write_that_changes_nothing_makes_no_version(client: Client, namespace: str) -> None:
    made = client.create(config_maps(namespace), config("x", a="1"))
    code, same = client.send("PUT", f"{config_maps(namespace)}/x", made)
    assert (code, same["metadata"]["resourceVersion"]) == (200, made["metadata"]["resourceVersion"])


def test_two_hundred_increments_by_four_writers_lose_none(client: Client, namespace: str) -> None:
    path = f"{config_maps(namespace)}/counter"
    client.create(config_maps(namespace), config("counter", value="0"))
    conflicts: list[int] = []

    def work() -> None:
        for _ in range(50):
            while True:
                held = client.get(path)
                held["data"]["value"] = str(int(held["data"]["value"]) + 1)
                code, _ = client.send("PUT", path, held)
                if code == 200:
                    break
                conflicts.append(code)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.get(path)["data"]["value"] == "200"
    assert set(conflicts) <= {409}
    assert conflicts


def test_a_watch_from_a_version_misses_nothing(client: Client, namespace: str) -> None:
    version = client.get(config_maps(namespace))["metadata"]["resourceVersion"]
    wanted = []
    for number in range(20):
        client.create(config_maps(namespace), config(f"c{number}"))
        wanted.append(("ADDED", f"c{number}"))
        if number == 10:
            url = f"{client.url}{config_maps(namespace)}?watch=1&resourceVersion={version}&timeoutSeconds=5"
            stream = requests.get(url, stream=True, timeout=10)
    client.send("DELETE", f"{config_maps(namespace)}/c3")
    wanted.append(("DELETED", "c3"))
    seen = []
    for line in stream.iter_lines():
        event = json.loads(line)
        seen.append((event["type"], event["object"]["metadata"]["name"]))
        if len(seen) == len(wanted):
            break
    stream.close()
    assert seen == wanted


def test_a_watch_with_a_selector_shows_what_enters_and_leaves_it(client: Client, namespace: str) -> None:
    path = config_maps(namespace)
    version = client.get(path)["metadata"]["resourceVersion"]
    client.create(path, {"metadata": {"name": "x", "labels": {"on": "no"}}})
    for value in ("yes", "no"):
        body = {"metadata": {"labels": {"on": value}}}
        client.send("PATCH", f"{path}/x", body, "application/merge-patch+json")
    url = f"{client.url}{path}?watch=1&resourceVersion={version}&labelSelector=on%3Dyes&timeoutSeconds=1"
    events = [json.loads(line)["type"] for line in requests.get(url, timeout=10).iter_lines()]
    assert events == ["ADDED", "DELETED"]


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("labelSelector=a=1", ["x", "y"]),
        ("labelSelector=a=1,b!=2", ["x"]),
        ("labelSelector=a in (1,2)", ["x", "y", "z"]),
        ("labelSelector=a notin (1)", ["w", "z"]),
        ("labelSelector=!a", ["w"]),
        ("labelSelector=b", ["y"]),
        ("fieldSelector=metadata.name=z", ["z"]),
        ("fieldSelector=metadata.name!=z", ["w", "x", "y"]),
    ],
)
def test_selectors(client: Client, namespace: str, selector: str, names: list[str]) -> None:
    labels = {"x": {"a": "1"}, "y": {"a": "1", "b": "2"}, "z": {"a": "2"}, "w": {}}
    for name, held in labels.items():
        client.create(config_maps(namespace), {"metadata": {"name": name, "labels": held}})
    found = client.get(f"{config_maps(namespace)}?{selector}")["items"]
    held_names = [item["metadata"]["name"] for item in found if item["metadata"]["name"] in labels]
    assert held_names == sorted(names)


def test_items_of_a_built_in_list_carry_no_kind_and_those_of_a_custom_one_do(client: Client, namespace: str) -> None:
    client.create(config_maps(namespace), config("x"))
    client.create(virtual_services(namespace), route("x", "x"))
    assert "kind" not in client.get(config_maps(namespace))["items"][0]
    assert client.get(virtual_services(namespace))["items"][0]["kind"] == "VirtualService"


def test_the_status_is_changed_by_its_own_path_only(client: Client, namespace: str) -> None:
    path = f"{virtual_services(namespace)}/x"
    made = client.create(virtual_services(namespace), route("x", "x"))
    _, replaced = client.send("PUT", path, {**made, "status": {"seen": True}})
    assert "status" not in replaced
    _, changed = client.send("PUT", f"{path}/status", {**made, "spec": {"hosts": ["y"]}, "status": {"seen": True}})
    assert (changed["spec"], changed["status"]) == ({"hosts": ["x"]}, {"seen": True})
    assert changed["metadata"]["generation"] == 1


def test_generated_names_differ(client: Client, namespace: str) -> None:
    names = {
        client.create(config_maps(namespace), {"metadata": {"generateName": "run-"}})["metadata"]["name"]
        for _ in range(20)
    }
    assert len(names) == 20
    assert all(name.startswith("run-") and len(name) == 9 for name in names)


def test_a_finalizer_holds_a_deleted_object(client: Client, namespace: str) -> None:
    path = f"{config_maps(namespace)}/x"
    client.create(config_maps(namespace), {"metadata": {"name": "x", "finalizers": ["example.org/hold"]}})
    code, held = client.send("DELETE", path)
    assert (code, bool(held["metadata"]["deletionTimestamp"])) == (200, True)
    assert client.get(path)["metadata"]["finalizers"] == ["example.org/hold"]
    client.send("PATCH", path, {"metadata": {"finalizers": None}}, "application/merge-patch+json")
    assert client.send("GET", path)[0] == 404


@pytest.mark.parametrize("precondition", ["uid", "resourceVersion"])
def test_a_delete_with_a_precondition_that_does_not_hold_is_a_conflict(
    client: Client, namespace: str, precondition: str
) -> None:
    made = client.create(config_maps(namespace), config("x"))
    path = f"{config_maps(namespace)}/x"
    code, status = client.send("DELETE", path, {"preconditions": {precondition: "1"}})
    assert (code, status["reason"]) == (409, "Conflict")
    label, moral = {
        "uid": ("UID", "The object might have been deleted and then recreated"),
        "resourceVersion": ("ResourceVersion", "The object might have been modified"),
    }[precondition]
    held = made["metadata"][precondition]
    assert status["message"] == (
        f'Operation cannot be fulfilled on ConfigMap "x": the {label} in the precondition (1) does not match '
        f"the {label} in record ({held}). {moral}"
    )
    right = {"preconditions": {precondition: made["metadata"][precondition]}}
    assert client.send("DELETE", path, right)[0] == 200


def dependent(name: str, owner: Obj) -> Obj:
    meta = owner["metadata"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": meta["name"], "uid": meta["uid"]}
    return {"metadata": {"name": name, "ownerReferences": [reference]}}


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
def test_dependents_go_with_their_owner(
    client: Client, namespace: str, eventually: Callable[..., Any], policy: str
) -> None:
    owner = client.create(config_maps(namespace), config("owner"))
    child = client.create(config_maps(namespace), dependent("child", owner))
    client.create(config_maps(namespace), dependent("grandchild", child))
    client.send("DELETE", f"{config_maps(namespace)}/owner", {"propagationPolicy": policy})
    names = ("owner", "child", "grandchild")
    eventually(lambda: all(client.send("GET", f"{config_maps(namespace)}/{name}")[0] == 404 for name in names))


def test_orphans_stay_without_the_reference(client: Client, namespace: str, eventually: Callable[..., Any]) -> None:
    owner = client.create(config_maps(namespace), config("owner"))
    client.create(config_maps(namespace), dependent("child", owner))
    client.send("DELETE", f"{config_maps(namespace)}/owner", {"propagationPolicy": "Orphan"})
    eventually(lambda: client.send("GET", f"{config_maps(namespace)}/owner")[0] == 404)
    assert "ownerReferences" not in client.get(f"{config_maps(namespace)}/child")["metadata"]


def test_a_namespace_takes_its_objects_along_and_nothing_new_comes_in(
    client: Client, eventually: Callable[..., Any]
) -> None:
    client.create("/api/v1/namespaces", {"metadata": {"name": "going"}})
    held = {"metadata": {"name": "x", "finalizers": ["example.org/hold"]}}
    client.create(config_maps("going"), held)
    client.send("DELETE", "/api/v1/namespaces/going")
    eventually(lambda: client.get(f"{config_maps('going')}/x")["metadata"].get("deletionTimestamp"))
    assert client.get("/api/v1/namespaces/going")["status"]["phase"] == "Terminating"
    code, status = client.send("POST", config_maps("going"), config("late"))
    assert (code, status["reason"]) == (403, "Forbidden")
    assert "because it is being terminated" in status["message"]
    path = f"{config_maps('going')}/x"
    client.send("PATCH", path, [{"op": "remove", "path": "/metadata/finalizers"}], "application/json-patch+json")
    eventually(lambda: client.send("GET", "/api/v1/namespaces/going")[0] == 404)


def test_a_custom_kind_takes_no_strategic_merge_patch(client: Client, namespace: str) -> None:
    client.create(virtual_services(namespace), route("x", "x"))
    media = "application/strategic-merge-patch+json"
    code, status = client.send("PATCH", f"{virtual_services(namespace)}/x", {}, media)
    assert (code, status["reason"]) == (415, "UnsupportedMediaType")


def test_server_side_apply_creates_then_changes(client: Client, namespace: str) -> None:
    path = f"{virtual_services(namespace)}/x?fieldManager=me"
    body = {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "VirtualService",
        "metadata": {"name": "x", "annotations": {"a": "1"}},
        "spec": {"hosts": ["x"]},
    }
    code, made = client.send("PATCH", path, body, "application/apply-patch+yaml")
    assert (code, made["metadata"]["managedFields"][0]["operation"]) == (201, "Apply")
    body["metadata"] = {"name": "x"}
    code, changed = client.send("PATCH", path, body, "application/apply-patch+yaml")
    assert (code, changed["metadata"].get("annotations") or {}) == (200, {})


def test_a_lease_needs_microseconds_and_may_be_made_by_put(client: Client, namespace: str) -> None:
    path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/x"
    lease = {"metadata": {"name": "x"}, "spec": {"holderIdentity": "me", "renewTime": "2026-01-01T00:00:00Z"}}
    code, status = client.send("PUT", path, lease)
    assert (code, status["reason"]) == (400, "BadRequest")
    lease["spec"]["renewTime"] = "2026-01-01T00:00:00.000000Z"
    assert client.send("PUT", path, lease)[0] == 201
    assert client.send("PUT", path, lease)[0] == 422


def test_wrong_names_and_labels_are_refused_with_their_field(client: Client, namespace: str) -> None:
    code, status = client.send("POST", config_maps(namespace), config("Not_A_Name"))
    assert (code, status["details"]["causes"][0]["field"]) == (422, "metadata.name")
    body = {"metadata": {"name": "x", "labels": {"sha": "a" * 64}}}
    code, status = client.send("POST", config_maps(namespace), body)
    assert (code, status["details"]["causes"][0]["field"]) == (422, "metadata.labels")
    code, status = client.send("POST", "/api/v1/namespaces", {"metadata": {"name": "n" * 64}})
    assert (code, status["details"]["causes"][0]["message"]) == (
        422,
        f'Invalid value: "{"n" * 64}": must be no more than 63 characters',
    )


def test_a_denied_call_is_a_403_and_shows_in_an_access_review(sandbox: Sandbox, client: Client, namespace: str) -> None:
    rule = sandbox.deny(verb="update", resource="virtualservices", namespace=namespace)
    made = client.create(virtual_services(namespace), route("x", "x"))
    code, status = client.send("PUT", f"{virtual_services(namespace)}/x", made)
    assert (code, status["reason"]) == (403, "Forbidden")
    assert status["message"] == (
        'virtualservices.networking.istio.io "x" is forbidden: User "sandbox" cannot update resource '
        f'"virtualservices" in API group "networking.istio.io" in the namespace "{namespace}"'
    )
    asked = {"group": "networking.istio.io", "resource": "virtualservices", "namespace": namespace}
    reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"

    def allowed(verb: str) -> bool:
        body = client.create(reviews, {"spec": {"resourceAttributes": {**asked, "verb": verb}}})
        return bool(body["status"]["allowed"])

    assert (allowed("get"), allowed("update")) == (True, False)
    sandbox.allow(rule)
    assert allowed("update")
    assert client.send("PUT", f"{virtual_services(namespace)}/x", made)[0] == 200


def test_failures_come_as_often_as_asked(sandbox: Sandbox, client: Client, namespace: str) -> None:
    sandbox.fail(429, times=2, verb="list", resource="configmaps", namespace=namespace, retry_after=1)
    answers = [requests.get(client.url + config_maps(namespace), timeout=5) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [429, 429, 200]
    assert answers[0].headers["Retry-After"] == "1"
    assert answers[0].json()["reason"] == "TooManyRequests"


def test_the_log_of_requests_says_who_did_what(sandbox: Sandbox, client: Client, namespace: str) -> None:
    before = len(sandbox.requests)
    client.create(config_maps(namespace), config("x"))
    client.get(f"{config_maps(namespace)}/x")
    client.get(config_maps(namespace))
    client.send("PUT", f"{config_maps(namespace)}/x", config("x", a="1"))
    client.send("DELETE", f"{config_maps(namespace)}/none")
    log = [r for r in sandbox.requests[before:] if r.namespace == namespace]
    assert [(r.verb, r.resource, r.name, r.status) for r in log] == [
        ("create", "configmaps", "", 201),
        ("get", "configmaps", "x", 200),
        ("list", "configmaps", "", 200),
        ("update", "configmaps", "x", 200),
        ("delete", "configmaps", "none", 404),
    ]
    assert {r.user_agent for r in log} == {"sandbox-tests/1"}


def test_a_dry_run_changes_nothing(client: Client, namespace: str) -> None:
    code, _ = client.send("POST", f"{config_maps(namespace)}?dryRun=All", config("x"))
    assert code == 201
    assert client.send("GET", f"{config_maps(namespace)}/x")[0] == 404


def test_the_kubeconfig_has_the_extra_contexts(sandbox: Sandbox) -> None:
    text = sandbox.kubeconfig.read_text()
    assert "name: sandbox" in text
    assert "name: europe" in text
    assert sandbox.url in text
