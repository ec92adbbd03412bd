"""What stable's past teaches: from a history made here, and from a real Prometheus before the first look."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import msgspec
import pytest

from pipeline_step.gates import Sources, Subject, compare, watching
from pipeline_step.gates.history import History
from pipeline_step.gates.past import taught
from pipeline_step.judge import Evidence, Metric, MetricEvidence, Policy
from tests.gates.conftest import Answer, Site

ERRORS = Policy(metrics=(Metric(name="errors"),))


def failing(together: int, windows: int = 400) -> History:
    """Two pods of which one request in a thousand fails, so many of them `together`."""
    source = random.Random(1)
    rows = []
    for _ in range(windows):
        bad = [together * sum(source.random() < 0.001 for _ in range(250 // together)) for _ in range(2)]
        rows.append({name: (250.0, float(count), 0.0) for name, count in zip("ab", bad, strict=True)})
    return History(step=5.0, edges=(), windows=rows)


def test_the_past_tells_how_much_pods_differ_and_what_is_usual() -> None:
    steady, bursts = (taught(ERRORS, Evidence(), failing(together)).metrics["errors"] for together in (1, 5))
    assert steady.phi < 1.3
    assert bursts.phi > 3.5
    assert steady.recent_bad[0] / steady.recent_total == pytest.approx(0.001, rel=0.5)
    assert (steady.windows, steady.preview, steady.stable, steady.revert) == (0, (0, 0), (0, 0), ())


def test_what_the_judge_has_seen_is_not_taught_again() -> None:
    seen = MetricEvidence(windows=7, phi=2.0)
    assert taught(ERRORS, Evidence({"errors": seen}), failing(1)).metrics == {"errors": seen}


class Shop:
    """A pod of production's that has counted requests from the start on, one in fifty of them failed."""

    def __init__(self) -> None:
        self.began, self.good = time.monotonic(), 0

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        total = int(300 * (time.monotonic() - self.began))
        lines = [
            f'http_requests_total{{namespace="production",service="shop",code="{code}"}} {count}'
            for code, count in (("200", total - total // 50), ("503", total // 50))
        ]
        lines += [
            f'http_request_duration_seconds_bucket{{namespace="production",service="shop",le="{edge}"}} {count}'
            for edge, count in (("0.1", total // 2), ("0.5", total - total // 100), ("+Inf", total))
        ]
        preview = [line.replace("production", "pr-35") for line in lines if "duration" in line]
        return 200, {"Content-Type": "text/plain"}, "\n".join([*lines, *preview, ""]).encode()


def test_the_first_look_asks_a_real_prometheus_for_the_past(
    prometheus_server: Callable[..., str], site: Callable[..., Site], subject: Subject, sources: Sources
) -> None:
    pods = [site(Shop().answer).url for _ in range(2)]
    url = prometheus_server(pods, "count(http_requests_total) == 4")
    until = time.monotonic() + 40
    phi: dict[str, float] = {}
    while time.monotonic() < until and not (phi and phi["errors"] < 2.5 and phi["latency"] < 2.5):
        time.sleep(2)
        now = replace(subject, began=time.time(), now=time.time())
        settings = {"prometheus": {"url": url}, "latency": {"slower_than": "500ms"}, "past": "40s"}
        gate = msgspec.convert(settings, compare.Settings)
        found = compare.measure("compare", gate, now, sources, {})
        phi = {name: one["phi"] for name, one in found.counters["evidence"]["metrics"].items()}
    assert phi["errors"] < 2.5, "two windows or more that compare the pods"
    assert phi["latency"] < 2.5
    assert watching.spread(gate, now, sources.http)["errors"] < 2.5
    untaught = msgspec.structs.replace(gate, past="0s")
    before = compare.measure("compare", untaught, now, sources, {}).counters["evidence"]["metrics"]
    assert before["errors"]["df"] == 0
    assert watching.spread(untaught, now, sources.http) == {}


def test_a_past_that_cannot_be_read_delays_nothing(
    site: Callable[..., Site], subject: Subject, sources: Sources
) -> None:
    answer = (
        b'{"data": {"resultType": "vector", "result": [{"metric": {"pod": "a", "code": "200"}, "value": [1, "5"]}]}}'
    )

    def respond(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        return (400, {}, b"{}") if "query_range" in path else (200, {"Content-Type": "application/json"}, answer)

    gate = msgspec.convert({"prometheus": {"url": site(respond).url}}, compare.Settings)
    found = compare.measure("compare", gate, subject, sources, {})
    assert found.counters["evidence"]["metrics"]["errors"]["df"] == 0
    assert watching.spread(gate, subject, sources.http) == {}


def test_durations_that_are_too_many_leave_what_is_known_of_errors(
    site: Callable[..., Site], subject: Subject, sources: Sources
) -> None:
    rows = [
        {"metric": {"pod": pod, "code": code}, "values": [[5.0 * n, str(count * n)] for n in range(60)]}
        for pod in "ab"
        for code, count in (("200", 480), ("503", 20))
    ]
    edges = [("0.5", "480"), ("+Inf", "500")]

    def respond(method: str, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        kind = {"Content-Type": "application/json"}
        if "query_range" in path:
            if "bucket" in path:
                return 503, kind, b'{"status": "error", "error": "query timed out"}'
            return 200, kind, json.dumps({"data": {"resultType": "matrix", "result": rows}}).encode()
        named = [{"le": edge} for edge, _ in edges] if "bucket" in path else [{"code": "200"}]
        found = [{"metric": {"pod": "a", **labels}, "value": [300, "500"]} for labels in named]
        return 200, kind, json.dumps({"data": {"resultType": "vector", "result": found}}).encode()

    settings = {"prometheus": {"url": site(respond).url}, "latency": {"slower_than": "500ms"}}
    found = compare.measure("compare", msgspec.convert(settings, compare.Settings), subject, sources, {})
    metrics = found.counters["evidence"]["metrics"]
    assert (metrics["errors"]["df"], metrics["errors"]["phi"]) == (59, 1.0)
    assert metrics["latency"]["df"] == 0
