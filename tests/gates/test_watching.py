"""Stable alone, watched before anything is shifted: what the first measurement then begins with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from pipeline_step.cluster import Cluster
from pipeline_step.gates import Sources, Subject, compare, watching
from pipeline_step.http import Http
from pipeline_step.model import Outcome
from tests.gates.conftest import BEGAN, Api, Pod, Site

GATE = msgspec.convert({"past": "2m"}, compare.Settings)


@pytest.fixture
def api() -> Api:
    return Api(pods={("production", "shop-a"): Pod(), ("production", "shop-b"): Pod(), ("pr-35", "shop-c"): Pod()})


@pytest.fixture
def sources(api: Api, connect: Callable[..., Cluster], site: Callable[..., Site]) -> Sources:
    return Sources(clusters={"test": connect(site(api.respond).url)}, http=Http(patience=0.5))


def test_what_was_watched_is_where_the_judge_begins(api: Api, sources: Sources, subject: Subject) -> None:
    one, other, preview = api.pods.values()
    assert isinstance(one, Pod)
    assert isinstance(other, Pod)
    assert isinstance(preview, Pod)
    counters: Any = {}
    for number in range(24):
        now = replace(subject, began=BEGAN, now=BEGAN + 5 * number)
        counters = json.loads(json.dumps(watching.watched(GATE, now, sources, counters)))
        one.serve(good=199, bad=1)
        other.serve(good=199, bad=1)
        preview.serve(bad=5)
    known = watching.known_before(GATE, counters)
    later = replace(subject, weight=10, began=BEGAN + 130, now=BEGAN + 130)
    first = compare.measure("compare", GATE, later, sources, known)
    assert first.outcome is Outcome.NO_DATA, "what was counted before the first look is nobody's fault"
    errors = first.counters["evidence"]["metrics"]["errors"]
    assert errors["phi"] < 1.2
    assert errors["recent_total"] == pytest.approx(23 * 400, rel=0.5)
    assert errors["windows"] == 0
    one.serve(good=390, bad=2)
    preview.serve(good=30, bad=10)
    second = compare.measure("compare", GATE, replace(later, now=BEGAN + 135), sources, first.counters)
    assert second.outcome is Outcome.FAIL
    assert second.reason.startswith("compare: REVERT after 5 s at 10 %: preview 10/40 failed")


def test_stable_that_cannot_be_read_teaches_nothing(api: Api, sources: Sources, subject: Subject) -> None:
    api.pods.clear()
    assert watching.watched(GATE, subject, sources, {}) == {}
    assert watching.known_before(GATE, {}) == {}


def test_only_what_is_given_is_waited_for() -> None:
    assert compare.past_of(GATE) == 120
    assert compare.past_of(compare.Settings()) == 0
    assert compare.past_of(msgspec.convert({"prometheus": {"url": "http://p"}}, compare.Settings)) == 1800
