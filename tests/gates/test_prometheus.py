"""The prometheus gate: answers in the server's format, and the real server where it is installed."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
import pytest

from pipeline_step.errors import ConfigError
from pipeline_step.gates import Sources, Subject, prometheus
from pipeline_step.model import Counts, Measurement, Outcome
from tests.gates.conftest import Pod, Site

QUERY = '100 * sum(rate(http_requests_total{namespace="${preview_namespace}",code!~"5.."}[${window}]))'


def settings(**given: Any) -> prometheus.Settings:
    return msgspec.convert({"url": "http://127.0.0.1:1", "query": QUERY, "min": 99, **given}, prometheus.Settings)


def vector(*values: str) -> bytes:
    """The documented answer to an instant query that gives a vector."""
    result = [{"metric": {"pod": f"p{n}"}, "value": [1435781451.781, value]} for n, value in enumerate(values)]
    return json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()


@pytest.fixture
def measure(site: Callable[..., Site], subject: Subject, sources: Sources) -> Callable[..., Measurement]:
    """Measure against a server with one answer."""

    def measure(body: bytes, status: int = 200, **given: Any) -> Measurement:
        server = site(lambda *_: (status, {"Content-Type": "application/json"}, body))
        return prometheus.measure("success", settings(url=server.url, **given), subject, sources, {})

    return measure


@pytest.mark.parametrize(
    ("values", "limits", "outcome", "reason"),
    [
        (["99.5"], {}, Outcome.PASS, "success: 99.5; needed at least 99"),
        (["98.9"], {}, Outcome.FAIL, "success: 98.9; needed at least 99"),
        (["99"], {}, Outcome.PASS, "success: 99; needed at least 99"),
        (["99.5", "97", "99.9"], {}, Outcome.FAIL, "success: 97, the worst of 3 series; needed at least 99"),
        (["0.2", "0.7"], {"min": None, "max": 0.5}, Outcome.FAIL, "0.7, the worst of 2 series; needed at most 0.5"),
        (["3", "-8", "12"], {"min": 0, "max": 10}, Outcome.FAIL, "-8, the worst of 3 series; needed 0 to 10"),
        (["+Inf"], {"min": None, "max": 0.5}, Outcome.FAIL, "success: inf; needed at most 0.5"),
        (["NaN", "99.5"], {}, Outcome.PASS, "success: 99.5; needed at least 99"),
        (["NaN"], {}, Outcome.NO_DATA, "the query has no value; it finds no series, or divides by zero requests"),
        ([], {}, Outcome.NO_DATA, "the query has no value"),
    ],
)
def test_the_worst_value_counts(
    measure: Callable[..., Measurement], values: list[str], limits: dict[str, Any], outcome: Outcome, reason: str
) -> None:
    measurement = measure(vector(*values), **limits)
    assert measurement.outcome is outcome
    assert reason in measurement.reason


def test_a_scalar_is_a_value_too(measure: Callable[..., Measurement]) -> None:
    body = b'{"status": "success", "data": {"resultType": "scalar", "result": [1435781451.781, "99.25"]}}'
    assert measure(body).value == 99.25


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (
            400,
            b'{"status":"error","errorType":"bad_data","error":"1:5: parse error"}',
            "parse error); correct the gate's",
        ),
        (
            422,
            b'{"status":"error","errorType":"execution","error":"many-to-many"}',
            "many-to-many); correct the gate's",
        ),
        (401, b"", "give the server's token in token_file"),
        (403, b"", "403"),
        (404, b"", "404"),
        (429, b"", "its rate limit is used up"),
        (500, b"", "500"),
        (503, b'{"status":"error","errorType":"timeout","error":"query timed out"}', "query timed out"),
        (200, b"<html>log in</html>", "something unexpected"),
        (200, b'{"status":"success","data":{"resultType":"matrix","result":[]}}', "something unexpected"),
        (200, b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{}}]}}', "something unexpected"),
        (200, b'{"status":"success","data":{"resultType":"vector","result":[{"value":[1,"x"]}]}}', "no number"),
    ],
)
def test_a_server_that_does_not_say_is_unreachable(
    measure: Callable[..., Measurement], status: int, body: bytes, words: str
) -> None:
    measurement = measure(body, status)
    assert measurement.outcome is Outcome.UNREACHABLE
    assert words in measurement.reason


def test_a_server_that_is_down_or_silent_is_unreachable_soon(subject: Subject, hasty: Sources) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        for url in ("http://127.0.0.1:1", f"http://127.0.0.1:{silent.getsockname()[1]}"):
            assert prometheus.measure("p", settings(url=url), subject, hasty, {}).outcome is Outcome.UNREACHABLE
        assert time.monotonic() - began < 6


def test_requests_below_the_minimum_are_too_little(
    site: Callable[..., Site], subject: Subject, sources: Sources
) -> None:
    def respond(method: str, path: str, *_: object) -> tuple[int, dict[str, str], bytes]:
        query = parse_qs(urlsplit(path).query)["query"][0]
        return 200, {}, vector("12", "7") if query.startswith("sum(increase") else vector("20")

    given = settings(url=site(respond).url, requests_query="sum(increase(x[${window}]))")
    measurement = prometheus.measure("p", given, subject, sources, {})
    assert (measurement.outcome, measurement.preview) == (Outcome.TOO_LITTLE, Counts(total=19))
    assert measurement.reason == "p: 19 requests of the preview; needed at least 20 to judge"
    enough = msgspec.structs.replace(given, min_requests=19)
    assert prometheus.measure("p", enough, subject, sources, {}).outcome is Outcome.FAIL


def test_the_token_is_sent_and_the_query_is_resolved(
    site: Callable[..., Site], subject: Subject, sources: Sources, tmp_path: Path
) -> None:
    server = site(lambda *_: (200, {}, vector("100")))
    (tmp_path / "token").write_text("s3cret\n")
    given = settings(url=server.url + "/prom/", window="5m", token_file=str(tmp_path / "token"))
    assert prometheus.measure("p", given, subject, sources, {}).outcome is Outcome.PASS
    _, path, headers, _ = server.seen[0]
    assert urlsplit(path).path == "/prom/api/v1/query"
    expected = '100 * sum(rate(http_requests_total{namespace="pr-35",code!~"5.."}[5m]))'
    assert parse_qs(urlsplit(path).query)["query"] == [expected]
    assert headers["authorization"] == "Bearer s3cret"
    with pytest.raises(ConfigError, match="token_file: /nowhere can't be read"):
        prometheus.measure("p", settings(token_file="/nowhere"), subject, sources, {})


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"min": None}, "give min, max or both"),
        ({"min": 5, "max": 4}, "min 5 is above max 4"),
        ({"url": "prometheus:9090"}, "must begin with http:// or https://"),
        (
            {"query": "up{ns='${namespace}'}"},
            r"unknown placeholder \$\{namespace\}. Valid: \$\{preview_namespace\}, .*window",
        ),
        ({"query": "label_replace(up, 'a', '$1', 'b', '(.*)')"}, r"write \$\$ for the sign itself"),
    ],
)
def test_wrong_settings_are_told_when_they_are_read(given: dict[str, Any], expected: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=expected):
        settings(**given)


@pytest.fixture
def real(prometheus_server: Callable[..., str], site: Callable[..., Site]) -> str:
    """The URL of a real server that has read a pod's metrics."""
    pod = Pod()
    pod.serve(good=95, bad=5)
    return prometheus_server([site(lambda *_: (200, {}, pod.text.encode())).url], "http_requests_total")


def test_the_real_server(real: str, subject: Subject, sources: Sources) -> None:
    url = real
    share = '100 * sum(http_requests_total{code!~"5.."}) / sum(http_requests_total)'
    measurement = prometheus.measure("p", settings(url=url, query=share), subject, sources, {})
    assert (measurement.outcome, measurement.value) == (Outcome.FAIL, 95)
    total = settings(url=url, query="scalar(sum(http_requests_total))", max=100, min=100)
    assert prometheus.measure("p", total, subject, sources, {}).outcome is Outcome.PASS
    nothing = settings(url=url, query="absent_metric", min=0)
    assert prometheus.measure("p", nothing, subject, sources, {}).outcome is Outcome.NO_DATA
    zero = settings(url=url, query="sum(http_requests_total * 0) / sum(http_requests_total * 0)", min=0)
    assert prometheus.measure("p", zero, subject, sources, {}).outcome is Outcome.NO_DATA
    wrong = prometheus.measure("p", settings(url=url, query="sum("), subject, sources, {})
    assert wrong.outcome is Outcome.UNREACHABLE
    assert re.search(r"answered 400 \(.*parse error.*\); correct the gate's query", wrong.reason)
    several = settings(url=url, query="http_requests_total", min=50)
    assert prometheus.measure("p", several, subject, sources, {}).value == 5
