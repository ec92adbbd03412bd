"""The record on the routed object: round trips, what can't be read, and where it ends."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_step import record
from pipeline_step.errors import ConfigError, Refused
from pipeline_step.model import Backend, Phase, Rollout

NAMES = st.text("abc-", min_size=1, max_size=8)
BACKENDS = st.builds(
    Backend, service=NAMES, namespace=NAMES, port=st.none() | st.integers(1, 65535), subset=st.none() | NAMES
)
TIMES = st.floats(0, 4e9, allow_nan=False)
ROLLOUTS = st.builds(
    Rollout,
    preview=BACKENDS,
    run=st.text(max_size=8),
    by=st.text(max_size=8),
    pull_request=st.integers(0, 10**6),
    sha=st.text("0123456789abcdef", max_size=40),
    digest=st.sampled_from(["", "sha256:" + "0" * 64]),
    phase=st.sampled_from(Phase),
    step=st.integers(0, 50),
    weight=st.integers(0, 100),
    began=TIMES,
    since=TIMES,
    deadline=TIMES,
    paused=TIMES,
    shares=st.booleans(),
    previous=st.text(max_size=8),
    reason=st.text(max_size=20),
    counters=st.dictionaries(st.text(max_size=4), st.dictionaries(st.text(max_size=4), st.integers()), max_size=2),
)


def routed(**metadata: Any) -> dict[str, Any]:
    return {"kind": "VirtualService", "metadata": {"name": "shop", "namespace": "prod", **metadata}, "spec": {"a": 1}}


@given(st.lists(ROLLOUTS, max_size=4))
def test_what_is_written_is_read(rollouts: list[Rollout]) -> None:
    by_key = {str(rollout.preview): rollout for rollout in rollouts}
    assert record.read(record.write(routed(), by_key)) == by_key


@pytest.mark.parametrize("metadata", [{}, {"annotations": {"team": "a"}, "labels": {"x": "y"}}])
def test_without_rollouts_the_object_is_as_it_was(metadata: dict[str, Any]) -> None:
    original = routed(**metadata)
    rollout = Rollout(preview=Backend(service="s", namespace="n"), run="r", by="b")
    marked = record.write(original, {"s.n": rollout})
    assert original == routed(**metadata), "the input is never changed"
    assert record.write(marked, {}) == original


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{", "can't be read"),
        ("[]", "can't be read"),
        ('{"version": 1, "rollouts": [{}]}', "can't be read"),
        ('{"version": 2, "rollouts": []}', "version 2, but this program reads 1"),
    ],
)
def test_a_record_of_someone_else_is_one_clear_error(text: str, error: str) -> None:
    with pytest.raises(ConfigError, match=rf"VirtualService prod/shop: annotation {record.ANNOTATION}.*{error}"):
        record.read(routed(annotations={record.ANNOTATION: text}))


def test_too_many_rollouts_are_refused_before_the_server_does() -> None:
    def many(count: int) -> dict[str, Rollout]:
        return {
            f"shop.pr-{n}": Rollout(
                preview=Backend(service="shop", namespace=f"pr-{n}"),
                run=f"{n:08x}",
                by="someone",
                pull_request=n,
                sha="0123456789abcdef" * 2 + "01234567",
                digest="sha256:" + "0" * 64,
                weight=0,
                began=1.8e9,
                since=1.8e9,
                deadline=1.8e9,
            )
            for n in range(count)
        }

    assert len(record.read(record.write(routed(), many(500)))) == 500
    with pytest.raises(Refused, match=r"prod/shop can't record 1500 rollouts: .* 262144 are allowed"):
        record.write(routed(), many(1500))


def test_the_record_is_compact() -> None:
    rollout = Rollout(preview=Backend(service="s", namespace="n"), run="r", by="b", weight=5)
    marked = record.write(routed(), {"s.n": rollout})
    assert json.loads(marked["metadata"]["annotations"][record.ANNOTATION])["rollouts"] == [
        {"preview": {"service": "s", "namespace": "n"}, "run": "r", "by": "b", "weight": 5}
    ]
