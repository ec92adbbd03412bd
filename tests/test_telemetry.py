"""What the environment says about where telemetry goes, and what is done about mistakes in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline_step.telemetry import Telemetry, telemetry_of


def test_an_empty_environment_sends_nothing_anywhere() -> None:
    assert telemetry_of({}) == Telemetry()


def test_everything_set() -> None:
    found = telemetry_of(
        {
            "PIPELINE_STEP_PUSHGATEWAY": "https://me:secret@push.example/base",
            "PIPELINE_STEP_METRICS_FILE": "/var/lib/metrics",
            "PIPELINE_STEP_CDEVENTS": "http://broker.example",
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/",
            "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20t0ken, x-scope = one",
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "x-scope=two",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=prod",
            "OTEL_SERVICE_NAME": "steps",
            "TRACEPARENT": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        }
    )
    assert found == Telemetry(
        pushgateway="https://me:secret@push.example/base",
        metrics_file=Path("/var/lib/metrics"),
        traces="http://collector:4318/v1/traces",
        headers={"authorization": "Bearer t0ken", "x-scope": "two"},
        resource={"deployment.environment.name": "prod", "service.name": "steps"},
        parent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        cdevents="http://broker.example",
    )
    for secret in ("secret", "t0ken"):
        assert secret not in repr(found)


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/own"}, "http://c:4318/own"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:9", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
            "http://c:9/v1/traces",
        ),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, ""),
    ],
)
def test_where_traces_go(environ: dict[str, str], url: str) -> None:
    found = telemetry_of(environ)
    assert (found.traces, found.doubts) == (url, ())


@pytest.mark.parametrize(
    ("environ", "doubt"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317"}, "port 4317 is of OTLP over gRPC"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}, "grpc"),
        ({"PIPELINE_STEP_PUSHGATEWAY": "user:pa55@host"}, "PIPELINE_STEP_PUSHGATEWAY: expected an address"),
        ({"K_SINK": "http://[::1"}, "K_SINK: expected an address such as http://host:port"),
        ({"OTEL_EXPORTER_OTLP_HEADERS": "pa55"}, "OTEL_EXPORTER_OTLP_HEADERS: expected a list such as key=value"),
    ],
)
def test_what_can_not_be_followed_is_a_doubt_and_no_error(environ: dict[str, str], doubt: str) -> None:
    found = telemetry_of(environ)
    assert doubt in found.doubts[0]
    assert "pa55" not in found.doubts[0]
    assert (found.traces, found.pushgateway, found.cdevents) == ("", "", "")
