"""Permissions, and the Roles written from them: the shipped files are what `roles` prints, and neither says more."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline_step import cli
from pipeline_step.config import Config, Flags, load
from pipeline_step.model import Object, Ref
from pipeline_step.permissions import ACCOUNTS, Permission
from pipeline_step.roles import document, granted
from pipeline_step.sandbox import Sandbox

EXAMPLES = Path(__file__).parent.parent / "deploy" / "rbac"
FOLDERS = ("shared-namespace", "namespace-per-pull-request")
HOME = "pipelines"
ROUTE = Ref(group="networking.istio.io", resource="virtualservices", namespace="production", name="shop")
VIRTUAL_SERVICE = {
    "apiVersion": "networking.istio.io/v1",
    "kind": "VirtualService",
    "metadata": {"name": "shop", "namespace": "production"},
    "spec": {
        "hosts": ["shop.example"],
        "gateways": ["istio-system/public"],
        "http": [{"route": [{"destination": {"host": "shop.production.svc.cluster.local"}}]}],
    },
}


def config(file: Path, **environ: str) -> Config:
    return load(Flags(file=file, number=7, repository="acme/shop"), {"GIT_TOKEN": "given", **environ})


def changed(tmp_path: Path, **over: Any) -> Config:
    base = yaml.safe_load((EXAMPLES / "shared-namespace" / "pipeline-step.yaml").read_text())
    file = tmp_path / "c.yaml"
    file.write_text(yaml.safe_dump({**base, **over}))
    return config(file)


def printed(folder: str) -> str:
    file = EXAMPLES / folder / "pipeline-step.yaml"
    return document(config(file), {ROUTE: VIRTUAL_SERVICE}, HOME, tuple(ACCOUNTS))


def body(text: str) -> str:
    """Without the comment at the top of the file."""
    return text.partition("\n\n")[2]


def allowed(documents: list[Object], account: str, namespace: str, permission: Permission) -> bool:
    """Whether the account's Roles allow it, as the API server would decide."""
    ref = permission.ref
    place = ref.name if ref.resource == "namespaces" else ref.namespace
    bound = {
        (one["roleRef"]["name"], one["metadata"].get("namespace", ""))
        for one in documents
        if one["kind"].endswith("Binding") and one["subjects"][0]["name"] == f"pipeline-step-{account}"
    }
    return any(
        ref.group in rule["apiGroups"]
        and ref.resource in rule["resources"]
        and permission.verb in rule["verbs"]
        and ("resourceNames" not in rule or (ref.name in rule["resourceNames"] and bool(ref.name)))
        for one in documents
        if one["kind"] in ("Role", "ClusterRole")
        and (one["metadata"]["name"], one["metadata"].get("namespace", "")) in bound
        and one["metadata"].get("namespace", "") in ("", place)
        for rule in one["rules"]
    )


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_shipped_roles_are_what_roles_prints(folder: str) -> None:
    file = EXAMPLES / folder / "roles.yaml"
    assert body(file.read_text()) == printed(folder), (
        "permissions have changed; `python -m tests.test_roles` writes them"
    )


@pytest.mark.parametrize("folder", FOLDERS)
@pytest.mark.parametrize("account", ACCOUNTS)
def test_the_roles_allow_all_that_doctor_asks_for(folder: str, account: str) -> None:
    documents = list(yaml.safe_load_all(printed(folder)))
    example = config(EXAMPLES / folder / "pipeline-step.yaml")
    asked = granted(example, {ROUTE: VIRTUAL_SERVICE}, [account])[account]
    assert len(asked) > 5
    assert [one for one in asked if not allowed(documents, account, "", one)] == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_verb_of_each_role_is_one_that_doctor_asks_for(folder: str) -> None:
    documents = list(yaml.safe_load_all(printed(folder)))
    example = config(EXAMPLES / folder / "pipeline-step.yaml")
    for account, asked in granted(example, {ROUTE: VIRTUAL_SERVICE}, tuple(ACCOUNTS)).items():
        for one in documents:
            if one["kind"] not in ("Role", "ClusterRole") or f"pipeline-step-{account}-" not in one["metadata"]["name"]:
                continue
            for rule in one["rules"]:
                for resource in rule["resources"]:
                    for verb in rule["verbs"]:
                        assert any(
                            (p.ref.group, p.ref.resource, p.verb) == (rule["apiGroups"][0], resource, verb)
                            for p in asked
                        ), (account, resource, verb)


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_secrets_and_no_wildcards_and_no_cluster_wide_right_in_a_shared_namespace(folder: str) -> None:
    for one in yaml.safe_load_all(printed(folder)):
        for rule in one.get("rules", []):
            assert "secrets" not in rule["resources"]
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
    kinds = {one["kind"] for one in yaml.safe_load_all(printed("shared-namespace"))}
    assert kinds == {"ServiceAccount", "Role", "RoleBinding"}


def test_production_is_named_where_kubernetes_allows_it() -> None:
    roles = [one for one in yaml.safe_load_all(printed("shared-namespace")) if one["kind"] == "Role"]
    for one in roles:
        if one["metadata"]["namespace"] != "production":
            continue
        for rule in one["rules"]:
            if {"update", "delete", "patch"} & set(rule["verbs"]):
                assert rule["resourceNames"], rule  # a list and a create can't be named


def test_attack_previews_account_that_reaches_for_production_may_only_read() -> None:
    roles = [one for one in yaml.safe_load_all(printed("shared-namespace")) if one["kind"] == "Role"]
    own = [one for one in roles if one["metadata"] == {"name": "pipeline-step-preview-shop", "namespace": "production"}]
    assert {verb for rule in own[0]["rules"] for verb in rule["verbs"]} == {"get"}


def asked(tmp_path: Path, account: str, **over: Any) -> set[tuple[str, str]]:
    wanted = granted(changed(tmp_path, **over), {ROUTE: VIRTUAL_SERVICE}, [account])[account]
    return {(one.verb, str(one.ref)) for one in wanted}


def test_gates_ask_for_what_they_read(tmp_path: Path) -> None:
    proxies = {("get", "pods/proxy in previews"), ("get", "pods/proxy in production")}
    assert proxies <= asked(tmp_path, "shift", gates=[{"scrape": {}}])
    assert proxies <= asked(tmp_path, "shift", gates=[{"compare": {}}])
    from_elsewhere = {"prometheus": {"url": "http://prometheus"}}
    assert not proxies & asked(tmp_path, "shift", gates=[{"compare": from_elsewhere}])
    edge = {"proxy": "istio-system/gateway", "where": {"cluster": "${service}"}, "requests": "r"}
    through_proxy = asked(tmp_path, "shift", gates=[{"scrape": edge}])
    assert ("get", "pods/proxy in istio-system") in through_proxy
    assert not proxies & through_proxy
    job = asked(tmp_path, "shift", gates=[{"job": {"image": "load:1"}}])
    assert {("create", "jobs.batch in previews"), ("get", "jobs.batch in previews")} <= job


def test_what_is_not_configured_is_not_asked_for(tmp_path: Path) -> None:
    assert ("update", "deployments.apps production/shop") in asked(tmp_path, "shift")
    assert ("update", "deployments.apps production/shop") not in asked(tmp_path, "shift", promote=None)
    assert ("get", "deployments.apps production/shop") in asked(tmp_path, "preview")
    manifests = {"namespace": "previews", "manifests": "preview.yaml"}
    assert ("get", "deployments.apps production/shop") not in asked(tmp_path, "preview", preview=manifests)


def test_previews_that_share_a_target_have_leases_of_their_own(tmp_path: Path) -> None:
    assert ("update", "leases.coordination.k8s.io production/pipeline-step-shop") in asked(tmp_path, "shift")
    shared = asked(tmp_path, "shift", strategy={"budget": 30})
    assert ("update", "leases.coordination.k8s.io in production") in shared


def test_the_command_line_knows_the_accounts() -> None:
    assert tuple(ACCOUNTS) == cli.ACCOUNTS


@pytest.mark.sandbox
@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
def test_roles_prints_the_gateways_of_the_route_that_it_reads(tmp_path: Path) -> None:
    example = EXAMPLES.parent.parent / "examples" / "croc-hunter"
    with Sandbox() as sandbox:
        environ = {**os.environ, "KUBECONFIG": str(sandbox.kubeconfig), "HOME": str(tmp_path)}
        command = [sys.executable, "-m", "pipeline_step", "roles", "--pr", "35", "--repo", "carlossg/croc-hunter"]
        without = subprocess.run(command, cwd=example, env=environ, capture_output=True, text=True, timeout=60)
        assert "the route can't be read" in without.stderr
        assert without.returncode == 0
        apply = ["kubectl", "apply", "-f", "cluster.yaml"]
        subprocess.run(apply, cwd=example, env=environ, check=True, capture_output=True, timeout=60)
        with_route = subprocess.run(command, cwd=example, env=environ, capture_output=True, text=True, timeout=60)
    assert "resourceNames: [public-gateway]" in with_route.stdout
    assert "resourceNames: [public-gateway]" not in without.stdout


def write() -> None:
    """Bring the shipped files up to date."""
    for folder in FOLDERS:
        file = EXAMPLES / folder / "roles.yaml"
        head = (
            "# Printed by `pipeline-step roles` for the configuration beside this file: print yours the same way.\n"
            f"# The accounts live in the namespace {HOME}, where the pipelines run.\n\n"
        )
        file.write_text(head + printed(folder))


if __name__ == "__main__":
    write()
