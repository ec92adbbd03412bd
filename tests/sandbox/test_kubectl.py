"""The real kubectl against the sandbox."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from sandbox_client import deployment, service

from pipeline_step.sandbox import Sandbox

Obj = dict[str, Any]
Run = Callable[..., str]
pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed"),
]


def manifests(namespace: str, image: str = "croc:1", weight: int = 90) -> str:
    route = {
        "apiVersion": "networking.istio.io/v1alpha3",
        "kind": "VirtualService",
        "metadata": {"name": "web"},
        "spec": {
            "hosts": ["web.example.org"],
            "http": [
                {
                    "route": [
                        {"destination": {"host": "web"}, "weight": weight},
                        {"destination": {"host": "other"}, "weight": 100 - weight},
                    ]
                }
            ],
        },
    }
    objects = [deployment("web", image), service("web"), route]
    for obj in objects:
        obj["metadata"]["namespace"] = namespace
    return yaml.safe_dump_all(objects)


@pytest.mark.parametrize("side", ["--server-side=false", "--server-side"])
def test_apply_then_apply_again_then_delete(kubectl: Run, namespace: str, side: str) -> None:
    kubectl("apply", side, "-f", "-", text=manifests(namespace))
    kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=20s")
    again = kubectl("apply", side, "-f", "-", text=manifests(namespace))
    assert again.count("unchanged" if side.endswith("false") else "serverside-applied") == 3
    kubectl("apply", side, "-f", "-", text=manifests(namespace, "croc:2", 10))
    kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=20s")
    found = yaml.safe_load(kubectl("-n", namespace, "get", "vs", "web", "-o", "yaml"))
    assert [d["weight"] for d in found["spec"]["http"][0]["route"]] == [10, 90]
    pods = kubectl("-n", namespace, "get", "pods", "-l", "app=web", "-o", "jsonpath={..image}")
    assert "croc:2" in pods
    kubectl("delete", "-f", "-", text=manifests(namespace))
    kubectl("-n", namespace, "wait", "--for=delete", "pods", "-l", "app=web", "--timeout=20s")
    assert "No resources found" in kubectl("-n", namespace, "get", "deploy,svc,vs,rs,pods")


def test_client_side_apply_removes_what_was_left_out(kubectl: Run, namespace: str) -> None:
    first = deployment("web", A="1", B="2")
    second = deployment("web", A="3")
    kubectl("-n", namespace, "apply", "-f", "-", text=yaml.safe_dump(first))
    kubectl("-n", namespace, "apply", "-f", "-", text=yaml.safe_dump(second))
    found = kubectl("-n", namespace, "get", "deploy", "web", "-o", "jsonpath={..env}")
    assert found == '[{"name":"A","value":"3"}]'


def test_server_side_apply_conflicts_with_another_manager(kubectl: Run, namespace: str) -> None:
    text = yaml.safe_dump({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}})
    kubectl("-n", namespace, "apply", "--server-side", "--field-manager=helm", "-f", "-", text=text)
    other = text.replace("'1'", "'2'")
    said = kubectl("-n", namespace, "apply", "--server-side", "-f", "-", text=other, fails=True)
    assert 'conflict with "helm"' in said
    kubectl("-n", namespace, "apply", "--server-side", "--force-conflicts", "-f", "-", text=other)
    assert kubectl("-n", namespace, "get", "cm", "c", "-o", "jsonpath={.data.a}") == "2"


def test_scale_patch_annotate_wait_and_logs(kubectl: Run, namespace: str) -> None:
    here = ("-n", namespace)
    kubectl(*here, "apply", "-f", "-", text=manifests(namespace))
    kubectl(*here, "wait", "--for=condition=Available", "deployment/web", "--timeout=20s")
    kubectl(*here, "scale", "deployment/web", "--replicas=2")
    kubectl(*here, "rollout", "status", "deployment/web", "--timeout=20s")
    kubectl(*here, "patch", "vs", "web", "--type=json", "-p", '[{"op":"add","path":"/spec/hosts/-","value":"b"}]')
    kubectl(*here, "patch", "deploy", "web", "-p", '{"spec":{"template":{"metadata":{"labels":{"x":"y"}}}}}')
    kubectl(*here, "annotate", "vs", "web", "note=1")
    kubectl(*here, "rollout", "restart", "deployment/web")
    kubectl(*here, "rollout", "status", "deployment/web", "--timeout=20s")
    assert "listening on" in kubectl(*here, "logs", "deployment/web")
    table = kubectl(*here, "get", "deploy", "web")
    assert table.splitlines()[0].split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert table.splitlines()[1].split()[:4] == ["web", "2/2", "2", "2"]
    assert '["web.example.org","b"]' in kubectl(*here, "get", "vs", "web", "-o", "jsonpath={.spec.hosts}")


def test_errors_are_shown_in_the_servers_words(kubectl: Run, namespace: str) -> None:
    said = kubectl("-n", namespace, "get", "vs", "none", fails=True)
    assert 'Error from server (NotFound): virtualservices.networking.istio.io "none" not found' in said
    said = kubectl("-n", "nowhere", "apply", "-f", "-", text=yaml.safe_dump(service("x")), fails=True)
    assert "Error from server (NotFound)" in said
    assert 'namespaces "nowhere" not found' in said


def test_deleting_a_namespace_waits_until_all_is_gone(kubectl: Run, sandbox: Sandbox) -> None:
    text = "apiVersion: v1\nkind: Namespace\nmetadata: {name: kubectl-going}\n"
    kubectl("apply", "-f", "-", text=text)
    kubectl("apply", "-f", "-", text=manifests("kubectl-going"))
    kubectl("-n", "kubectl-going", "rollout", "status", "deployment/web", "--timeout=20s")
    kubectl("delete", "namespace", "kubectl-going", "--timeout=20s")
    assert "NotFound" in kubectl("get", "namespace", "kubectl-going", fails=True)


def test_the_other_contexts_lead_to_the_same_cluster(kubectl: Run, namespace: str) -> None:
    assert namespace in kubectl("--context", "europe", "get", "namespaces")


def test_what_may_be_done_is_asked_of_the_server(kubectl: Run, sandbox: Sandbox, namespace: str) -> None:
    rule = sandbox.deny(verb="delete", resource="deployments", namespace=namespace)
    assert kubectl("-n", namespace, "auth", "can-i", "get", "pods").strip() == "yes"
    assert kubectl("-n", namespace, "auth", "can-i", "delete", "deployments.apps", fails=True).startswith("no")
    sandbox.allow(rule)


def test_namespaces_and_deployments_can_be_created_by_command(kubectl: Run) -> None:
    kubectl("create", "namespace", "kubectl-made")
    kubectl("-n", "kubectl-made", "create", "deployment", "web", "--image=croc:1", "--port=8080")
    kubectl("-n", "kubectl-made", "expose", "deployment", "web", "--port=80", "--target-port=8080")
    kubectl("-n", "kubectl-made", "rollout", "status", "deployment/web", "--timeout=20s")
    kubectl("delete", "namespace", "kubectl-made", "--timeout=20s")
