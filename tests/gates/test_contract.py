"""What every gate that asks a metrics service must do, whatever the service: one table of documented answers.

The bodies follow the examples in each provider's own reference (the addresses stand in the modules).
"""

from __future__ import annotations

import json
import math
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from pipeline_step.errors import ConfigError
from pipeline_step.gates import (
    GATES,
    Sources,
    Subject,
    cloudwatch,
    datadog,
    dynatrace,
    graphite,
    influxdb,
    newrelic,
    prometheus,
    stackdriver,
)
from pipeline_step.model import Counts, Measurement, Outcome
from tests.gates.conftest import BEGAN, Site

SECRET = "s3cret-t0ken"
CREDENTIALS = f"[default]\naws_access_key_id = AKIDEXAMPLE\naws_secret_access_key = {SECRET}\n"


@dataclass(frozen=True)
class Provider:
    """A service: its gate, its settings, and its answer with these values, of which None is a gap."""

    gate: ModuleType
    settings: dict[str, Any]
    answer: Callable[[list[float | None]], str]
    secrets: tuple[str, ...] = ()
    content: str = "application/json"
    nan: bool = False  # whether the service's format can say NaN


def shown(value: float) -> str:
    return "NaN" if math.isnan(value) else f"{value:g}"


def prom(values: list[float | None]) -> str:
    result = [{"metric": {}, "value": [BEGAN, shown(v)]} for v in values if v is not None]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}})


def datadog_answer(values: list[float | None]) -> str:
    series = [
        {
            "metric": "shop.ok",
            "pointlist": [[1e12, 1.0], [1e12, value], [1e12, None]],
            "scope": f"pod:{n}",
            "unit": None,
        }
        for n, value in enumerate(values)
    ]
    return json.dumps({"status": "ok", "res_type": "time_series", "series": series, "query": "q", "message": ""})


def newrelic_answer(values: list[float | None]) -> str:
    results = [{"facet": f"pod-{n}", "percentage": value} for n, value in enumerate(values)]
    return json.dumps({"data": {"actor": {"account": {"nrql": {"results": results}}}}})


def graphite_answer(values: list[float | None]) -> str:
    return json.dumps(
        [{"target": f"t{n}", "tags": {}, "datapoints": [[1.0, 1], [v, 2], [None, 3]]} for n, v in enumerate(values)]
    )


def influxdb_answer(values: list[float | None]) -> str:
    lines = [",result,table,_start,_stop,_time,_value,host"]
    for table, value in enumerate(values):
        lines.append(f",_result,{table},2026-01-01T00:00:00Z,2026-01-01T01:00:00Z,2026-01-01T00:58:00Z,1,a")
        text = "" if value is None else shown(value)
        lines.append(f",_result,{table},2026-01-01T00:00:00Z,2026-01-01T01:00:00Z,2026-01-01T00:59:00Z,{text},a")
    return "\r\n".join(lines if values else []) + "\r\n\r\n"


def dynatrace_answer(values: list[float | None]) -> str:
    data = [{"dimensions": [f"s{n}"], "timestamps": [1], "values": [value]} for n, value in enumerate(values)]
    result = [{"metricId": "builtin:service.errors", "data": data}] if values else []
    return json.dumps({"totalCount": len(result), "nextPageKey": None, "resolution": "Inf", "result": result})


def cloudwatch_answer(values: list[float | None]) -> str:
    results = [
        {
            "Id": f"q{n}",
            "Label": "ok",
            "StatusCode": "Complete",
            "Timestamps": [BEGAN] * (0 if value is None else 2),
            "Values": [] if value is None else [value, 1.0],
        }
        for n, value in enumerate(values)
    ]
    return json.dumps({"MetricDataResults": results, "Messages": []})


PROVIDERS = {
    "prometheus": Provider(prometheus, {"url": "URL", "token_file": "TOKEN"}, prom, nan=True),
    "stackdriver": Provider(stackdriver, {"url": "URL", "project": "p", "token_file": "TOKEN"}, prom, nan=True),
    "datadog": Provider(datadog, {"url": "URL", "api_key_file": "TOKEN", "app_key_file": "TOKEN"}, datadog_answer),
    "newrelic": Provider(newrelic, {"url": "URL/graphql", "account": 7, "api_key_file": "TOKEN"}, newrelic_answer),
    "graphite": Provider(graphite, {"url": "URL", "password_file": "TOKEN"}, graphite_answer),
    "influxdb": Provider(
        influxdb, {"url": "URL", "org": "o", "token_file": "TOKEN"}, influxdb_answer, content="text/csv", nan=True
    ),
    "dynatrace": Provider(dynatrace, {"url": "URL", "token_file": "TOKEN"}, dynatrace_answer),
    "cloudwatch": Provider(
        cloudwatch,
        {"url": "URL", "region": "eu-central-1", "credentials_file": "CREDENTIALS"},
        cloudwatch_answer,
        content="application/x-amz-json-1.0",
    ),
}


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest) -> Provider:
    return PROVIDERS[request.param]


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "token").write_text(SECRET + "\n")
    (tmp_path / "credentials").write_text(CREDENTIALS)
    return {"TOKEN": str(tmp_path / "token"), "CREDENTIALS": str(tmp_path / "credentials")}


@pytest.fixture
def ask(
    provider: Provider, files: dict[str, str], subject: Subject, sources: Sources
) -> Iterator[Callable[..., Measurement]]:
    """Measure against a server at a URL."""

    def ask(url: str, /, *, over: Sources = sources, **given: Any) -> Measurement:
        values = {"URL": url, **files}
        settings = {"query": "q", "min": 99, **provider.settings, **given}
        for key, value in settings.items():
            if isinstance(value, str):
                for name, text in values.items():
                    value = value.replace(name, text) if value.startswith(name) else value
                settings[key] = value
        converted = msgspec.convert(settings, provider.gate.Settings)
        measurement: Measurement = provider.gate.measure("gate", converted, subject, over, {})
        assert SECRET not in measurement.reason
        assert measurement.reason.startswith("gate: ")
        assert "\n" not in measurement.reason
        return measurement

    yield ask


@pytest.fixture
def answering(
    provider: Provider, site: Callable[..., Site], ask: Callable[..., Measurement]
) -> Callable[..., Measurement]:
    """Measure against a server that answers with a status and a text."""

    def answering(text: str, status: int = 200, headers: dict[str, str] | None = None, **given: Any) -> Measurement:
        kind = {"Content-Type": provider.content, **(headers or {})}
        return ask(site(lambda *_: (status, kind, text.encode())).url, **given)

    return answering


def test_a_value_within_the_limits_passes(provider: Provider, answering: Callable[..., Measurement]) -> None:
    measurement = answering(provider.answer([99.5]))
    assert (measurement.outcome, measurement.value) == (Outcome.PASS, 99.5)
    assert measurement.reason == "gate: 99.5; needed at least 99"


def test_the_worst_series_counts(provider: Provider, answering: Callable[..., Measurement]) -> None:
    measurement = answering(provider.answer([99.5, 42, 99.9]))
    assert (measurement.outcome, measurement.value) == (Outcome.FAIL, 42)


def test_no_series_and_only_gaps_are_no_data(provider: Provider, answering: Callable[..., Measurement]) -> None:
    assert answering(provider.answer([])).outcome is Outcome.NO_DATA


def test_nan_and_gaps_are_no_values(provider: Provider, answering: Callable[..., Measurement]) -> None:
    if provider.nan:
        assert answering(provider.answer([math.nan])).outcome is Outcome.NO_DATA
        assert answering(provider.answer([math.nan, 98])).value == 98
    measurement = answering(provider.answer([None]))
    # Where a series goes on before its gap, its newest value is the one before.
    assert measurement.outcome is Outcome.NO_DATA or measurement.value == 1.0


def test_too_few_requests_are_too_little(provider: Provider, answering: Callable[..., Measurement]) -> None:
    measurement = answering(provider.answer([99.5]), requests_query="n", min_requests=100)
    assert (measurement.outcome, measurement.preview) == (Outcome.TOO_LITTLE, Counts(total=99.5))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 502, 503])
def test_a_refusal_is_unreachable(status: int, answering: Callable[..., Measurement]) -> None:
    text = json.dumps({"message": f"wrong: {SECRET}", "errors": [f"wrong: {SECRET}"]})
    began = time.monotonic()
    measurement = answering(text, status)
    assert measurement.outcome is Outcome.UNREACHABLE
    assert str(status) in measurement.reason
    assert time.monotonic() - began < 4


def test_a_rate_limit_is_told_with_its_wait(answering: Callable[..., Measurement]) -> None:
    measurement = answering("{}", 429, {"Retry-After": "120"})
    assert measurement.outcome is Outcome.UNREACHABLE
    assert "it asks to wait 120 s" in measurement.reason


@pytest.mark.parametrize(
    "text", ["", "<html>Log in</html>", "[1, 2", '{"status": "ok"', "null", "[[]]", '{"a": 1}', "42"]
)
def test_something_else_is_unreachable(text: str, provider: Provider, answering: Callable[..., Measurement]) -> None:
    measurement = answering(text)
    if provider.gate is influxdb and not text:
        assert measurement.outcome is Outcome.NO_DATA  # an empty CSV is its empty result
    else:
        assert measurement.outcome is Outcome.UNREACHABLE


def test_silence_is_unreachable_soon(ask: Callable[..., Measurement], hasty: Sources) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        assert ask(f"http://127.0.0.1:{silent.getsockname()[1]}", over=hasty).outcome is Outcome.UNREACHABLE
        assert ask("http://127.0.0.1:1", over=hasty).outcome is Outcome.UNREACHABLE
        assert time.monotonic() - began < 6


def test_a_secret_that_is_missing_is_named(provider: Provider, ask: Callable[..., Measurement], tmp_path: Path) -> None:
    key = next(key for key, value in provider.settings.items() if value in ("TOKEN", "CREDENTIALS"))
    (tmp_path / "empty").write_text("\n")
    for path, words in ((tmp_path / "nowhere", "can't be read"), (tmp_path / "empty", str(tmp_path / "empty"))):
        with pytest.raises(ConfigError, match=rf"{key}: .*{words}"):
            ask("http://127.0.0.1:1", **{key: str(path)})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"min": None}, "give min, max or both"),
        ({"min": 2, "max": 1}, "min 2 is above max 1"),
        ({"query": "${pod}"}, "unknown placeholder"),
        ({"url": "somewhere"}, "url 'somewhere' must begin with http:// or https://"),
    ],
)
def test_wrong_settings_are_told_when_they_are_read(
    given: dict[str, Any], expected: str, ask: Callable[..., Measurement]
) -> None:
    with pytest.raises(msgspec.ValidationError, match=expected):
        ask("http://127.0.0.1:1", **given)


def test_every_gate_that_asks_for_a_number_is_in_the_table() -> None:
    asking = {name for name, gate in GATES.items() if hasattr(gate, "measure_query")}
    assert asking == set(PROVIDERS)


def sent(gate: str, files: dict[str, str], subject: Subject, sources: Sources, site: Callable[..., Site]) -> Any:
    """What a service is asked, after a measurement that passes."""
    provider = PROVIDERS[gate]
    server = site(lambda *_: (200, {"Content-Type": provider.content}, provider.answer([100.0]).encode()))
    values = {"URL": server.url, "URL/graphql": f"{server.url}/graphql", **files}
    settings = {key: values.get(value, value) for key, value in provider.settings.items()}
    converted = msgspec.convert({"query": "ok{${preview_service}}", "min": 99, **settings}, provider.gate.Settings)
    assert provider.gate.measure("gate", converted, subject, sources, {}).outcome is Outcome.PASS
    method, path, headers, body = server.seen[0]
    parts = urlsplit(path)
    return method, parts.path, {key: value[0] for key, value in parse_qs(parts.query).items()}, headers, body


def test_datadog_is_asked_as_documented(
    files: dict[str, str], subject: Subject, sources: Sources, site: Callable[..., Site]
) -> None:
    method, path, params, headers, _ = sent("datadog", files, subject, sources, site)
    assert (method, path) == ("GET", "/api/v1/query")
    assert params == {"from": str(int(BEGAN) - 240), "to": str(int(BEGAN) + 60), "query": "ok{shop}"}
    assert (headers["dd-api-key"], headers["dd-application-key"]) == (SECRET, SECRET)


def test_newrelic_is_asked_as_documented(
    files: dict[str, str], subject: Subject, sources: Sources, site: Callable[..., Site]
) -> None:
    method, path, _, headers, body = sent("newrelic", files, subject, sources, site)
    assert (method, path, headers["api-key"]) == ("POST", "/graphql", SECRET)
    assert json.loads(body)["variables"] == {"account": 7, "nrql": "ok{shop}"}


def test_graphite_is_asked_as_documented(
    files: dict[str, str], subject: Subject, sources: Sources, site: Callable[..., Site]
) -> None:
    method, path, params, _, _ = sent("graphite", files, subject, sources, site)
    assert (method, path) == ("GET", "/render")
    assert params == {"target": "ok{shop}", "from": str(int(BEGAN)), "until": str(int(BEGAN) + 60), "format": "json"}


def test_influxdb_is_asked_as_documented(
    files: dict[str, str], subject: Subject, sources: Sources, site: Callable[..., Site]
) -> None:
    method, path, params, headers, body = sent("influxdb", files, subject, sources, site)
    assert (method, path, params, body) == ("POST", "/api/v2/query", {"org": "o"}, b"ok{shop}")
    assert (headers["authorization"], headers["accept"]) == (f"Token {SECRET}", "application/csv")
    assert headers["content-type"] == "application/vnd.flux"


def test_dynatrace_is_asked_as_documented(
    files: dict[str, str], subject: Subject, sources: Sources, site: Callable[..., Site]
) -> None:
    method, path, params, headers, _ = sent("dynatrace", files, subject, sources, site)
    assert (method, path, headers["authorization"]) == ("GET", "/api/v2/metrics/query", f"Api-Token {SECRET}")
    assert (params["metricSelector"], params["resolution"]) == ("ok{shop}", "Inf")
    assert (params["from"], params["to"]) == (f"{int(BEGAN)}000", f"{int(BEGAN) + 60}000")


def test_google_is_asked_as_documented_with_the_token_of_the_metadata_server(
    files: dict[str, str], subject: Subject, sources: Sources, site: Callable[..., Site]
) -> None:
    _, path, params, headers, _ = sent("stackdriver", files, subject, sources, site)
    assert path == "/v1/projects/p/location/global/prometheus/api/v1/query"
    assert (params["query"], headers["authorization"]) == ("ok{shop}", f"Bearer {SECRET}")

    def respond(method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        if path == "/computeMetadata/v1/instance/service-accounts/default/token":
            assert headers["metadata-flavor"] == "Google"
            return 200, {}, json.dumps({"access_token": "abc", "expires_in": 3599, "token_type": "Bearer"}).encode()
        return (200, {}, prom([100]).encode()) if headers["authorization"] == "Bearer abc" else (401, {}, b"")

    url = site(respond).url
    given = {"query": "q", "min": 99, "project": "p", "url": url, "metadata_url": url}
    settings = msgspec.convert(given, stackdriver.Settings)
    assert stackdriver.measure("gate", settings, subject, sources, {}).outcome is Outcome.PASS
    settings = msgspec.structs.replace(settings, metadata_url="http://127.0.0.1:1")
    measurement = stackdriver.measure("gate", settings, subject, sources, {})
    assert measurement.outcome is Outcome.UNREACHABLE
    assert "no access token: " in measurement.reason
    assert measurement.reason.endswith("outside of Google's cloud set token_file")


def test_cloudwatch_is_asked_as_documented(
    files: dict[str, str], subject: Subject, sources: Sources, site: Callable[..., Site]
) -> None:
    method, path, _, headers, body = sent("cloudwatch", files, subject, sources, site)
    assert (method, path) == ("POST", "/")
    assert headers["x-amz-target"] == "GraniteServiceVersion20100801.GetMetricData"
    assert headers["authorization"].startswith(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260921/eu-central-1/monitoring/"
    )
    asked = json.loads(body)
    assert asked["MetricDataQueries"] == [{"Id": "value", "Expression": "ok{shop}", "Period": 60}]
    assert (asked["StartTime"], asked["EndTime"]) == (int(BEGAN) - 240, int(BEGAN) + 60)


def test_cloudwatch_takes_the_role_of_a_service_account(
    files: dict[str, str], subject: Subject, sources: Sources, site: Callable[..., Site]
) -> None:
    assumed = """<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
      <AssumeRoleWithWebIdentityResult><Credentials>
        <SessionToken>tok</SessionToken><SecretAccessKey>key</SecretAccessKey>
        <Expiration>2026-10-24T23:00:23Z</Expiration><AccessKeyId>ASgeIAIOSFODNN7EXAMPLE</AccessKeyId>
      </Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"""
    sts = site(lambda *_: (200, {"Content-Type": "text/xml"}, assumed.encode()))
    server = site(lambda *_: (200, {}, cloudwatch_answer([100]).encode()))
    given = {
        "query": '[{"Id": "m", "MetricStat": {"Stat": "Sum"}}]',
        "min": 99,
        "region": "eu-central-1",
        "role_arn": "arn:aws:iam::1:role/r",
        "web_identity_token_file": files["TOKEN"],
        "sts_url": sts.url,
        "url": server.url,
    }
    settings = msgspec.convert(given, cloudwatch.Settings)
    assert cloudwatch.measure("gate", settings, subject, sources, {}).outcome is Outcome.PASS
    form = parse_qs(sts.seen[0][3].decode())
    assert (form["Action"], form["RoleArn"]) == (["AssumeRoleWithWebIdentity"], ["arn:aws:iam::1:role/r"])
    assert form["WebIdentityToken"] == [SECRET]
    assert server.seen[0][2]["x-amz-security-token"] == "tok"
    assert json.loads(server.seen[0][3])["MetricDataQueries"] == [{"Id": "m", "MetricStat": {"Stat": "Sum"}}]

    refusing = site(lambda *_: (200, {}, b"<html/>"))
    settings = msgspec.structs.replace(settings, sts_url=refusing.url)
    measurement = cloudwatch.measure("gate", settings, subject, sources, {})
    assert (measurement.outcome, "without credentials" in measurement.reason) == (Outcome.UNREACHABLE, True)


@pytest.mark.parametrize(
    ("gate", "text", "words"),
    [
        ("datadog", '{"status": "error", "error": "Error parsing query", "series": []}', "Error parsing query"),
        ("newrelic", '{"data": null, "errors": [{"message": "NRQL Syntax Error"}]}', "NRQL Syntax Error; correct the"),
        ("newrelic", '{"data": {"actor": {"account": null}}}', "knows no account 7"),
        (
            "newrelic",
            '{"data": {"actor": {"account": {"nrql": {"results": [{"a": 1, "b": 2}]}}}}}',
            "several values (a, b); select one",
        ),
        ("influxdb", "error,reference\r\nmemory limit exceeded,576\r\n", "memory limit exceeded; correct the"),
        ("influxdb", ",result,table,_value\r\n,_result,0,many\r\n", "a _value that is no number: 'many'"),
        ("influxdb", ",result,table,name\r\n,_result,0,a\r\n", "with no column _value, but: result, table, name"),
        (
            "cloudwatch",
            '{"MetricDataResults": [{"Id": "a", "StatusCode": "Forbidden", "Values": []}], "Messages": []}',
            "the account may not read a metric",
        ),
        (
            "cloudwatch",
            '{"MetricDataResults": [], "Messages": [{"Code": "MaxMetrics", "Value": "too many metrics"}]}',
            "too many metrics",
        ),
    ],
)
def test_an_error_in_a_successful_answer_is_unreachable(
    gate: str,
    text: str,
    words: str,
    files: dict[str, str],
    subject: Subject,
    sources: Sources,
    site: Callable[..., Site],
) -> None:
    provider = PROVIDERS[gate]
    values = {"URL": (url := site(lambda *_: (200, {}, text.encode())).url), "URL/graphql": url, **files}
    settings = {key: values.get(value, value) for key, value in provider.settings.items()}
    converted = msgspec.convert({"query": "q", "min": 99, **settings}, provider.gate.Settings)
    measurement = provider.gate.measure("gate", converted, subject, sources, {})
    assert measurement.outcome is Outcome.UNREACHABLE
    assert words in measurement.reason


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"region": "Frankfurt"}, "region 'Frankfurt' is no region such as eu-central-1"),
        ({"credentials_file": ""}, "give either credentials_file, or role_arn and web_identity_token_file"),
        ({"query": "[{"}, "query is no JSON list of MetricDataQueries"),
    ],
)
def test_cloudwatch_settings(given: dict[str, Any], expected: str) -> None:
    settings = {"query": "q", "min": 1, "region": "eu-central-1", "credentials_file": "f", **given}
    with pytest.raises(msgspec.ValidationError, match=expected):
        msgspec.convert(settings, cloudwatch.Settings)
