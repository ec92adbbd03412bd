"""The arithmetic of roll-outs, played through by a model in which pods become available at random."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pipeline_step.sandbox.rolling import limits, scaled

Obj = dict[str, Any]


def deployment(replicas: int, surge: int | str, unavailable: int | str, kind: str = "RollingUpdate") -> Obj:
    strategy: Obj = {"type": kind}
    if kind == "RollingUpdate":
        strategy["rollingUpdate"] = {"maxSurge": surge, "maxUnavailable": unavailable}
    return {"spec": {"replicas": replicas, "strategy": strategy}}


def replica_set(name: str, replicas: int, available: int) -> Obj:
    meta = {"name": name, "annotations": {"deployment.kubernetes.io/revision": name}}
    return {"metadata": meta, "spec": {"replicas": replicas}, "status": {"availableReplicas": available}}


shares = st.one_of(st.integers(0, 5), st.integers(0, 100).map(lambda n: f"{n}%"))


@given(
    replicas=st.integers(1, 12),
    surge=shares,
    unavailable=shares,
    arrivals=st.lists(st.integers(0, 3), min_size=1, max_size=20),
)
def test_a_roll_out_ends_and_keeps_within_its_limits(
    replicas: int, surge: int | str, unavailable: int | str, arrivals: list[int]
) -> None:
    wanted = deployment(replicas, surge, unavailable)
    most, missing = limits(wanted)
    new, old = replica_set("2", 0, 0), replica_set("1", replicas, replicas)
    for turn in range(200):
        for held, count in scaled(wanted, new, [old], old_pods=0):
            held["spec"]["replicas"] = count
            held["status"]["availableReplicas"] = min(held["status"]["availableReplicas"], count)
        assert new["spec"]["replicas"] + old["spec"]["replicas"] <= replicas + most
        available = new["status"]["availableReplicas"] + old["status"]["availableReplicas"]
        assert available >= replicas - missing
        if (new["status"]["availableReplicas"], old["spec"]["replicas"]) == (replicas, 0):
            return
        arrived = arrivals[turn % len(arrivals)] if turn < 100 else 1
        new["status"]["availableReplicas"] = min(new["spec"]["replicas"], new["status"]["availableReplicas"] + arrived)
    raise AssertionError("the roll-out does not end")


@given(replicas=st.integers(1, 12), surge=shares, unavailable=shares)
def test_new_pods_that_never_come_leave_enough_of_the_old(
    replicas: int, surge: int | str, unavailable: int | str
) -> None:
    wanted = deployment(replicas, surge, unavailable)
    new, old = replica_set("2", 0, 0), replica_set("1", replicas, replicas)
    for _ in range(30):
        for held, count in scaled(wanted, new, [old], old_pods=0):
            held["spec"]["replicas"] = count
            held["status"]["availableReplicas"] = min(held["status"]["availableReplicas"], count)
    assert old["status"]["availableReplicas"] >= replicas - limits(wanted)[1]


def test_broken_old_pods_go_first() -> None:
    wanted = deployment(4, 1, 0)
    new, broken, healthy = replica_set("3", 0, 0), replica_set("2", 1, 0), replica_set("1", 4, 4)
    counts = {held["metadata"]["name"]: count for held, count in scaled(wanted, new, [broken, healthy], 5)}
    assert counts == {"3": 0, "2": 0, "1": 4}


def test_recreate_waits_until_the_old_pods_have_gone() -> None:
    wanted = deployment(3, 0, 0, "Recreate")
    new, old = replica_set("2", 0, 0), replica_set("1", 3, 3)
    assert scaled(wanted, new, [old], old_pods=3) == [(old, 0)]
    assert scaled(wanted, new, [old], old_pods=0) == [(new, 3)]


def test_a_change_of_size_alone_is_done_at_once() -> None:
    new = replica_set("1", 2, 2)
    assert scaled(deployment(7, 0, 1), new, [], old_pods=0) == [(new, 7)]
    assert scaled(deployment(0, "25%", "25%"), new, [], old_pods=0) == [(new, 0)]
