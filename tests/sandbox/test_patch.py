"""The patch formats, by the examples of their specifications and by what kubectl sends."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline_step.sandbox import patch
from pipeline_step.sandbox.kinds import CONFIG_MAP, DEPLOYMENT, SERVICE
from pipeline_step.sandbox.refusals import ApiError

RFC_7386 = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("target", "given", "wanted"), RFC_7386)
def test_merge_patch_as_in_the_appendix_of_rfc_7386(target: Any, given: Any, wanted: Any) -> None:
    assert patch.merge(target, given) == wanted


@pytest.mark.parametrize(
    ("target", "operations", "wanted"),
    [
        ({"foo": "bar"}, [{"op": "add", "path": "/baz", "value": "qux"}], {"baz": "qux", "foo": "bar"}),
        ({"foo": ["a", "b"]}, [{"op": "add", "path": "/foo/1", "value": "q"}], {"foo": ["a", "q", "b"]}),
        ({"foo": ["a"]}, [{"op": "add", "path": "/foo/-", "value": "b"}], {"foo": ["a", "b"]}),
        ({"baz": 1, "foo": 2}, [{"op": "remove", "path": "/baz"}], {"foo": 2}),
        ({"foo": [1, 2, 3]}, [{"op": "remove", "path": "/foo/1"}], {"foo": [1, 3]}),
        ({"foo": [1, 2]}, [{"op": "replace", "path": "/foo/0", "value": 9}], {"foo": [9, 2]}),
        ({"a": {"b": 1}, "c": {}}, [{"op": "move", "from": "/a/b", "path": "/c/d"}], {"a": {}, "c": {"d": 1}}),
        ({"a": 1}, [{"op": "copy", "from": "/a", "path": "/b"}], {"a": 1, "b": 1}),
        ({"a/b": 1}, [{"op": "test", "path": "/a~1b", "value": 1}], {"a/b": 1}),
    ],
)
def test_json_patch_as_in_rfc_6902(target: Any, operations: list[dict[str, Any]], wanted: Any) -> None:
    assert patch.json_patch(target, operations) == wanted


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "/missing"},
        {"op": "replace", "path": "/missing", "value": 1},
        {"op": "test", "path": "/a", "value": 2},
        {"op": "add", "path": "/a/b/c", "value": 1},
    ],
)
def test_a_json_patch_that_does_not_fit_is_refused(operation: dict[str, Any]) -> None:
    with pytest.raises(ApiError) as refused:
        patch.json_patch({"a": 1}, [operation])
    assert refused.value.code == 422


def containers(*names: str) -> dict[str, Any]:
    made = [{"name": name, "image": f"{name}:1"} for name in names]
    return {"spec": {"template": {"spec": {"containers": made}}}}


def inner(obj: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = obj["spec"]["template"]["spec"]["containers"]
    return found


def test_strategic_merge_changes_one_container_and_keeps_the_others() -> None:
    given = {"spec": {"template": {"spec": {"containers": [{"name": "b", "image": "b:2"}]}}}}
    merged = patch.strategic(DEPLOYMENT, containers("a", "b"), given)
    assert inner(merged) == [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:2"}]


def test_strategic_merge_deletes_an_item_and_orders_the_rest() -> None:
    given = {
        "spec": {
            "template": {
                "spec": {
                    "$setElementOrder/containers": [{"name": "c"}, {"name": "a"}],
                    "containers": [{"name": "b", "$patch": "delete"}, {"name": "c", "image": "c:9"}],
                }
            }
        }
    }
    merged = patch.strategic(DEPLOYMENT, containers("a", "b", "c"), given)
    assert inner(merged) == [{"name": "c", "image": "c:9"}, {"name": "a", "image": "a:1"}]


def test_strategic_merge_of_service_ports_is_by_port() -> None:
    held = {"spec": {"ports": [{"name": "http", "port": 80}, {"name": "admin", "port": 90}]}}
    merged = patch.strategic(SERVICE, held, {"spec": {"ports": [{"port": 90, "name": "metrics"}]}})
    assert merged["spec"]["ports"] == [{"name": "http", "port": 80}, {"name": "metrics", "port": 90}]


def test_strategic_merge_replaces_and_retains() -> None:
    held = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    given = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert patch.strategic(DEPLOYMENT, held, given) == {"spec": {"strategy": {"type": "Recreate"}}}
    replaced = patch.strategic(CONFIG_MAP, {"data": {"a": "1"}}, {"data": {"$patch": "replace", "b": "2"}})
    assert replaced == {"data": {"b": "2"}}


def test_strategic_merge_of_finalizers_is_a_union_and_can_delete() -> None:
    held = {"metadata": {"finalizers": ["a", "b"]}}
    given = {"metadata": {"finalizers": ["c"], "$deleteFromPrimitiveList/finalizers": ["a"]}}
    assert patch.strategic(CONFIG_MAP, held, given) == {"metadata": {"finalizers": ["b", "c"]}}


def test_no_patch_changes_what_it_is_given() -> None:
    held = containers("a", "b")
    before = repr(held)
    patch.strategic(DEPLOYMENT, held, containers("b", "c"))
    patch.merge(held, {"spec": {"replicas": 2, "template": {"spec": {"x": 1}}}})
    patch.json_patch(held, [{"op": "remove", "path": "/spec/template/spec/containers/0"}])
    assert repr(held) == before
