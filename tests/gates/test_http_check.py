"""The http gate against real servers."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from pipeline_step.gates import Sources, Subject, http_check
from pipeline_step.model import Measurement, Outcome
from tests.gates.conftest import Site


@pytest.fixture
def measure(subject: Subject, sources: Sources) -> Callable[..., Measurement]:
    def measure(**given: Any) -> Measurement:
        return http_check.measure("http", msgspec.convert(given, http_check.Settings), subject, sources, {})

    return measure


def test_a_good_answer_passes(measure: Callable[..., Measurement], site: Callable[..., Site]) -> None:
    server = site(lambda method, path, *_: (200, {}, b"release 35"))
    url = server.url + "/${preview_namespace}/healthz"
    measurement = measure(url=url, contains="release 35", headers={"Host": "shop.example"})
    assert measurement.outcome is Outcome.PASS
    assert measurement.reason.startswith(f"http: {server.url}/pr-35/healthz answered 200 in ")
    assert measurement.value is not None
    assert measurement.value > 0
    assert len(server.seen) == 1
    assert server.seen[0][2]["host"] == "shop.example"


def test_a_wrong_answer_fails_after_all_attempts(
    measure: Callable[..., Measurement], site: Callable[..., Site]
) -> None:
    server = site(lambda *_: (503, {}, b""))
    measurement = measure(url=server.url)
    assert measurement.outcome is Outcome.FAIL
    assert " answered 503 in " in measurement.reason
    assert measurement.reason.endswith("at the last of 3 attempts; needed 200 within 2s")
    assert len(server.seen) == 3
    assert measure(url=server.url, status=503).outcome is Outcome.PASS


def test_one_good_attempt_is_enough(measure: Callable[..., Measurement], site: Callable[..., Site]) -> None:
    statuses = iter([500, 200])
    assert measure(url=site(lambda *_: (next(statuses), {}, b"")).url).outcome is Outcome.PASS


def test_a_slow_answer_fails(measure: Callable[..., Measurement], site: Callable[..., Site]) -> None:
    def respond(*_: object) -> tuple[int, dict[str, str], bytes]:
        time.sleep(0.15)
        return 200, {}, b""

    url = site(respond).url
    measurement = measure(url=url, within="100ms", attempts=1)
    assert measurement.outcome is Outcome.FAIL
    assert measurement.reason.endswith("needed 200 within 100ms")
    assert measure(url=url, within="10s", attempts=1).outcome is Outcome.PASS


def test_another_text_fails(measure: Callable[..., Measurement], site: Callable[..., Site]) -> None:
    measurement = measure(url=site(lambda *_: (200, {}, b"release 34")).url, contains="release 35")
    assert measurement.outcome is Outcome.FAIL
    assert "without 'release 35'" in measurement.reason


def test_no_answer_is_the_previews_failure(measure: Callable[..., Measurement]) -> None:
    began = time.monotonic()
    measurement = measure(url="http://127.0.0.1:1/healthz")
    assert measurement.outcome is Outcome.FAIL
    assert "http: no answer: GET http://127.0.0.1:1/healthz: could not be reached" in measurement.reason
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"url": "shop/healthz"}, "must begin with http:// or https://"),
        ({"url": "http://${name}/"}, "unknown placeholder"),
        ({"url": "http://a", "attempts": 0}, "attempts is 0; valid: 1 to 10"),
        ({"url": "http://a", "status": 20}, "status 20 is no HTTP status; valid: 100 to 599"),
        ({"url": "http://a", "within": "0s"}, "'0s' is not a time such as"),
    ],
)
def test_wrong_settings_are_told_when_they_are_read(given: dict[str, Any], expected: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=expected):
        msgspec.convert(given, http_check.Settings)
