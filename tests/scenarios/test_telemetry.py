"""What a whole rollout tells machines."""

from __future__ import annotations

import json
from collections.abc import Callable

from tests.gates.conftest import Site, site
from tests.sinks.test_cdevents import check
from tests.sinks.test_metrics import samples
from tests.sinks.test_traces import read

from .world import World

__all__ = ["site"]


def test_every_line_of_a_rollout_is_an_object(world: World) -> None:
    world.deploy(sha="abcdef1")
    done = world.step("rollout", "--log-format", "json")
    assert done.code == 0, done.err
    lines = [json.loads(line) for line in done.err.splitlines()]
    assert [line["event"] for line in lines] == ["shifted", "shifted", "promoting", "promoted"]
    assert [line["weight"] for line in lines] == [10, 50, 50, 0]
    assert {(line["app"], line["pull_request"], line["level"]) for line in lines} == {("croc", 7, "info")}
    refused = world.step("rollout", "--pr", "8", PIPELINE_STEP_LOG_FORMAT="json")
    assert refused.code == 4
    (line,) = [json.loads(line) for line in refused.err.splitlines()]
    assert line["level"] == "error"
    assert "no ready pod" in line["message"]


def test_metrics_traces_and_events_of_a_promotion(world: World, site: Callable[..., Site]) -> None:
    world.deploy(sha="abcdef1")
    receiver = site(lambda *_: (200, {}, b"{}"))
    file = world.directory / "step.prom"
    done = world.step(
        "rollout",
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.url,
        PIPELINE_STEP_CDEVENTS=f"{receiver.url}/events",
        PIPELINE_STEP_METRICS_FILE=str(file),
    )
    assert done.code == 0, done.err
    assert "could not be told" not in done.err
    spans = [name for _, path, _, body in receiver.seen if path == "/v1/traces" for name in read(body)]
    assert sorted(spans) == ["promotion", "rollout croc", "step 10 %", "step 50 %"]
    events = [json.loads(body) for _, path, _, body in receiver.seen if path == "/events"]
    assert [check(event) for event in events] == [
        "taskrun.started",
        "service.published",
        "service.published",
        "service.upgraded",
        "taskrun.finished",
    ]
    assert "pkg:oci/sample@sha256%3A" in events[3]["subject"]["content"]["artifactId"]
    found = samples(file.read_text())
    assert found["pipeline_step_outcome outcome=promoted"] == 1
    assert found["pipeline_step_traffic_ratio side=stable"] == 1
    assert found["pipeline_step_decisions_total decision=advance"] == 1


def test_telemetry_that_is_down_or_mistaken_delays_nothing(world: World) -> None:
    world.deploy()
    done = world.step(
        "rollout",
        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4317",
        PIPELINE_STEP_CDEVENTS="http://127.0.0.1:1",
        PIPELINE_STEP_PUSHGATEWAY="http://127.0.0.1:1",
    )
    assert done.code == 0, done.err
    for words in ("the metrics could not be told", "the CDEvents could not be told", "OTLP over gRPC"):
        assert words in done.err
    assert set(world.answers()) == {"2"}
