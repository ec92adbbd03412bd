"""Server-side apply: ownership, removal, conflicts."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline_step.sandbox import apply, managed_fields
from pipeline_step.sandbox.kinds import CONFIG_MAP, DEPLOYMENT, SERVICE, VIRTUAL_SERVICE, Kind
from pipeline_step.sandbox.managed_fields import Writer
from pipeline_step.sandbox.refusals import ApiError

Obj = dict[str, Any]


def fresh() -> Obj:
    return {"metadata": {"name": "x"}}


def applied(kind: Kind, live: Obj, wanted: Obj, manager: str = "me", force: bool = False) -> Obj:
    writer = Writer(manager, kind.api_version())
    return apply.apply(kind, live, {"metadata": {"name": "x"}, **wanted}, writer, force)


def owned(obj: Obj, manager: str) -> Obj:
    found = [entry for entry in obj["metadata"]["managedFields"] if entry["manager"] == manager]
    assert len(found) <= 1
    tree: Obj = found[0]["fieldsV1"] if found else {}
    return tree


def test_a_field_applied_before_and_left_out_now_is_removed() -> None:
    first = applied(CONFIG_MAP, fresh(), {"data": {"a": "1", "b": "2"}})
    second = applied(CONFIG_MAP, first, {"data": {"a": "1"}})
    assert second["data"] == {"a": "1"}
    assert owned(second, "me") == {"f:data": {"f:a": {}}}


def test_a_field_that_another_manager_owns_too_stays() -> None:
    live = applied(CONFIG_MAP, fresh(), {"data": {"a": "1", "b": "2"}})
    live = applied(CONFIG_MAP, live, {"data": {"b": "2"}}, manager="other")
    live = applied(CONFIG_MAP, live, {"data": {"a": "1"}})
    assert live["data"] == {"a": "1", "b": "2"}
    live = applied(CONFIG_MAP, live, {"data": {}}, manager="other")
    assert live["data"] == {"a": "1"}


def test_another_value_for_an_owned_field_is_a_conflict_that_names_owner_and_field() -> None:
    live = applied(CONFIG_MAP, fresh(), {"data": {"a": "1"}}, manager="helm")
    with pytest.raises(ApiError) as refused:
        applied(CONFIG_MAP, live, {"data": {"a": "2"}})
    assert refused.value.code == 409
    assert refused.value.message == 'Apply failed with 1 conflict: conflict with "helm": .data.a'
    cause = {"reason": "FieldManagerConflict", "message": 'conflict with "helm"', "field": ".data.a"}
    assert refused.value.status()["details"]["causes"] == [cause]


def test_force_takes_the_field_over() -> None:
    live = applied(CONFIG_MAP, fresh(), {"data": {"a": "1", "b": "1"}}, manager="helm")
    live = applied(CONFIG_MAP, live, {"data": {"a": "2"}}, force=True)
    assert live["data"] == {"a": "2", "b": "1"}
    assert owned(live, "helm") == {"f:data": {"f:b": {}}}
    assert owned(live, "me") == {"f:data": {"f:a": {}}}


def test_the_same_value_is_shared_without_conflict() -> None:
    live = applied(CONFIG_MAP, fresh(), {"data": {"a": "1"}}, manager="helm")
    live = applied(CONFIG_MAP, live, {"data": {"a": "1"}})
    assert owned(live, "helm") == owned(live, "me") == {"f:data": {"f:a": {}}}


def container(name: str, **more: Any) -> Obj:
    return {"name": name, "image": f"{name}:1", **more}


def workload(*containers: Obj) -> Obj:
    return {"spec": {"template": {"spec": {"containers": list(containers)}}}}


def test_containers_merge_by_name_and_one_left_out_goes() -> None:
    live = applied(DEPLOYMENT, fresh(), workload(container("a"), container("b")))
    live = applied(DEPLOYMENT, live, workload(container("sidecar")), manager="injector")
    live = applied(DEPLOYMENT, live, workload(container("a")))
    names = [c["name"] for c in live["spec"]["template"]["spec"]["containers"]]
    assert sorted(names) == ["a", "sidecar"]


def test_ports_merge_by_port_and_protocol_where_tcp_is_the_default() -> None:
    live = applied(SERVICE, fresh(), {"spec": {"ports": [{"port": 80, "targetPort": 1}]}})
    live["spec"]["ports"][0]["protocol"] = "TCP"
    live = applied(SERVICE, live, {"spec": {"ports": [{"port": 80, "targetPort": 2}]}})
    assert live["spec"]["ports"] == [{"port": 80, "targetPort": 2, "protocol": "TCP"}]


def test_the_http_routes_of_a_virtual_service_are_one_value() -> None:
    live = applied(VIRTUAL_SERVICE, fresh(), {"spec": {"hosts": ["a"], "http": [{"name": "one"}]}}, "helm")
    with pytest.raises(ApiError, match=r'conflict with "helm": \.spec\.http'):
        applied(VIRTUAL_SERVICE, live, {"spec": {"http": [{"name": "two"}]}})


def test_a_plain_update_owns_what_it_changed_and_takes_it_from_others() -> None:
    live = applied(CONFIG_MAP, fresh(), {"data": {"a": "1", "b": "1"}}, manager="helm")
    changed = {**live, "data": {"a": "2", "b": "1"}, "metadata": dict(live["metadata"])}
    managed_fields.record_update(CONFIG_MAP, live, changed, Writer("edit", "v1"))
    assert owned(changed, "edit") == {"f:data": {"f:a": {}}}
    assert owned(changed, "helm") == {"f:data": {"f:b": {}}}
    with pytest.raises(ApiError, match=r'conflict with "edit" using v1: \.data\.a'):
        applied(CONFIG_MAP, changed, {"data": {"a": "1", "b": "1"}}, manager="helm")


def test_field_trees_read_back_as_they_were_written() -> None:
    wanted = workload(container("a", ports=[{"containerPort": 80}], env=[{"name": "X", "value": "1"}]))
    wanted["metadata"] = {"finalizers": ["a/b"], "labels": {"app.kubernetes.io/name": "x"}}
    fields = managed_fields.fields_of(DEPLOYMENT, wanted)
    assert managed_fields.from_tree(managed_fields.to_tree(fields)) == fields
    assert ("f:metadata", "f:labels", "f:app.kubernetes.io/name") in fields


def test_apply_does_not_change_what_it_is_given() -> None:
    live = applied(DEPLOYMENT, fresh(), workload(container("a"), container("b")))
    before = repr(live)
    applied(DEPLOYMENT, live, workload(container("b", image="b:2")))
    assert repr(live) == before
