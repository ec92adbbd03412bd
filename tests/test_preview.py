"""Previews: names that never collide, clones that never share pods with production."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_step.errors import ConfigError
from pipeline_step.model import Backend
from pipeline_step.preview import clone, digest_of, fill, mark, pinned

DIGEST = "sha256:" + "ab" * 32


def workload() -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "shop",
            "namespace": "prod",
            "uid": "u",
            "resourceVersion": "5",
            "ownerReferences": [{}],
            "annotations": {"deployment.kubernetes.io/revision": "3", "team": "a"},
        },
        "spec": {
            "replicas": 9,
            "selector": {"matchLabels": {"app": "shop", "tier": "web"}},
            "template": {
                "metadata": {"labels": {"app": "shop", "tier": "web", "other": "kept"}},
                "spec": {
                    "serviceAccountName": "powerful",
                    "containers": [{"name": "app", "image": "r/shop:1", "env": [{"name": "A", "value": "b"}]}],
                },
            },
        },
        "status": {"replicas": 9},
    }


def service() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "shop", "namespace": "prod"},
        "spec": {
            "type": "LoadBalancer",
            "clusterIP": "10.0.0.1",
            "clusterIPs": ["10.0.0.1"],
            "selector": {"app": "shop"},
            "ports": [{"port": 80, "targetPort": 8080, "nodePort": 30080}],
        },
    }


def test_a_clone_in_another_namespace() -> None:
    original, front = workload(), service()
    preview = Backend(service="shop", namespace="pr-35")
    pods, cloned = clone(original, front, preview, "r/shop:pr", "", 1)
    assert (original, front) == (workload(), service()), "the input is never changed"
    assert pods["spec"]["selector"]["matchLabels"] == {"app": "shop", "tier": "web"}
    assert pods["spec"]["template"]["spec"]["containers"][0] == {
        "name": "app",
        "image": "r/shop:pr",
        "env": [{"name": "A", "value": "b"}],
    }
    assert pods["spec"]["replicas"] == 1
    assert pods["metadata"] == {"name": "shop", "annotations": {"team": "a"}}
    assert "status" not in pods
    assert "serviceAccountName" not in pods["spec"]["template"]["spec"]
    assert cloned["spec"] == {
        "type": "ClusterIP",
        "selector": {"app": "shop"},
        "ports": [{"port": 80, "targetPort": 8080}],
    }


def test_a_clone_beside_production_is_picked_by_no_service_of_the_other_side() -> None:
    pods, front = clone(workload(), service(), Backend(service="shop-pr-35", namespace="prod"), "r/shop:pr", "", 1)
    labels = pods["spec"]["template"]["metadata"]["labels"]
    assert labels["other"] == "kept"
    assert not service()["spec"]["selector"].items() <= labels.items()
    assert front["spec"]["selector"].items() <= labels.items()
    assert pods["spec"]["selector"]["matchLabels"].items() <= labels.items()
    production = workload()["spec"]["template"]["metadata"]["labels"]
    assert not front["spec"]["selector"].items() <= production.items()


def test_the_container_must_be_told_among_several() -> None:
    two = workload()
    two["spec"]["template"]["spec"]["containers"].append({"name": "sidecar", "image": "x"})
    preview = Backend(service="shop", namespace="pr-35")
    with pytest.raises(
        ConfigError, match=r"Deployment shop: production\.container is needed to choose among: app, sidecar"
    ):
        clone(two, service(), preview, "i", "", 1)
    with pytest.raises(ConfigError, match=r"container 'web' is not one of: app, sidecar"):
        clone(two, service(), preview, "i", "web", 1)
    assert clone(two, service(), preview, "i", "app", 1)[0]["spec"]["template"]["spec"]["containers"][1]["image"] == "x"


def test_a_preview_writes_into_its_own_namespace_only() -> None:
    preview = Backend(service="shop", namespace="pr-35")
    with pytest.raises(ConfigError, match=r"Deployment shop: namespace 'prod' is not the preview's own, 'pr-35'"):
        mark(workload(), preview, "shop", 35, "abc")
    mine = copy.deepcopy(workload())
    del mine["metadata"]["namespace"]
    marked = mark(mine, preview, "shop", 35, "abc")
    assert marked["metadata"]["namespace"] == "pr-35"
    for part in (marked["metadata"], marked["spec"]["template"]["metadata"]):
        assert part["labels"]["pipeline-step.dev/pull-request"] == "35"
        assert part["annotations"]["pipeline-step.dev/sha"] == "abc"


@given(st.text(max_size=200).filter(lambda text: any(c.isascii() and c.isalnum() for c in text)))
def test_names_are_dns_labels(owner: str) -> None:
    name = fill("jx-{owner}-pr-1", {"owner": owner})
    assert len(name) <= 63
    assert name == name.lower()
    assert all(c.isascii() and (c.isalnum() or c == "-") for c in name)
    assert name[0] != "-" != name[-1]


def test_names_that_are_cut_stay_apart() -> None:
    """Cut at the left, as jx-preview does, both would be the same."""
    long = "a-very-long-repository-name-that-goes-on-and-on-and-on-and-on"
    names = {fill("jx-{owner}-{repo}-pr-7", {"owner": owner, "repo": long}) for owner in ("alice", "bob")}
    assert len(names) == 2
    assert all(len(name) <= 63 for name in names)


@pytest.mark.parametrize(
    ("image", "by_digest"),
    [
        ("shop", f"shop@{DIGEST}"),
        ("shop:1.2", f"shop@{DIGEST}"),
        ("registry:5000/team/shop:1.2", f"registry:5000/team/shop@{DIGEST}"),
        (f"registry:5000/shop@{'sha256:' + '0' * 64}", f"registry:5000/shop@{DIGEST}"),
    ],
)
def test_images_by_digest(image: str, by_digest: str) -> None:
    assert pinned(image, DIGEST) == by_digest


def test_digests_are_read_from_any_image_id() -> None:
    assert digest_of(f"docker-pullable://r/shop@{DIGEST}") == DIGEST
    assert digest_of("r/shop:1") == ""
