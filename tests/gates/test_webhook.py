"""The webhook gate against a real server: what is sent, and what each answer means."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline_step.errors import ConfigError
from pipeline_step.gates import Sources, Subject, webhook
from pipeline_step.model import Counts, Measurement, Outcome
from tests.gates.conftest import BEGAN, Site

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def measure(subject: Subject, sources: Sources) -> Callable[..., Measurement]:
    def measure(**given: Any) -> Measurement:
        return webhook.measure("judge", msgspec.convert(given, webhook.Settings), subject, sources, {})

    return measure


def test_what_is_sent(measure: Callable[..., Measurement], site: Callable[..., Site], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0ken\n")
    (tmp_path / "secret").write_text("shh\n")
    server = site(lambda *_: (204, {}, b""))
    files = {"token_file": str(tmp_path / "token"), "secret_file": str(tmp_path / "secret")}
    measurement = measure(url=server.url + "/${preview_namespace}", metadata={"team": "shop"}, **files)
    assert (measurement.outcome, measurement.reason) == (
        Outcome.PASS,
        f"judge: {server.url}/pr-35 answered 204: content",
    )
    method, path, headers, body = server.seen[0]
    assert (method, path, headers["authorization"]) == ("POST", "/pr-35", "Bearer t0ken")
    assert json.loads(body) == {
        "gate": "judge",
        "preview": {"namespace": "pr-35", "service": "shop"},
        "stable": {"namespace": "production", "service": "shop"},
        "weight": 5,
        "began": BEGAN,
        "now": BEGAN + 60,
        "metadata": {"team": "shop"},
    }
    assert headers["x-pipeline-step-signature"] == "sha256=" + hmac.new(b"shh", body, hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    ("status", "body", "outcome", "words"),
    [
        (200, b'{"outcome": "pass"}', Outcome.PASS, "says pass"),
        (200, b'{"outcome": "fail", "reason": "cart is\\nempty"}', Outcome.FAIL, "judge: cart is empty"),
        (200, b'{"outcome": "wait"}', Outcome.WAITING, "says wait"),
        (200, b'{"outcome": "no_data"}', Outcome.NO_DATA, "says no_data"),
        (202, b"", Outcome.WAITING, "answered 202: not ready to judge yet"),
        (409, b'{"message": "cart is empty"}', Outcome.FAIL, "answered 409 (cart is empty)"),
        (412, b"", Outcome.FAIL, "answered 412"),
        (401, b"", Outcome.UNREACHABLE, "check that the token"),
        (403, b"", Outcome.UNREACHABLE, "403"),
        (404, b"", Outcome.UNREACHABLE, "404"),
        (429, b"", Outcome.UNREACHABLE, "its rate limit is used up"),
        (500, b"", Outcome.UNREACHABLE, "500"),
        (503, b"", Outcome.UNREACHABLE, "503"),
        (200, b'{"outcome": "maybe"}', Outcome.UNREACHABLE, "something unexpected"),
        (200, b'{"verdict": "pass"}', Outcome.UNREACHABLE, "something unexpected"),
        (200, b"{", Outcome.UNREACHABLE, "something unexpected"),
    ],
)
def test_what_each_answer_means(
    measure: Callable[..., Measurement],
    site: Callable[..., Site],
    status: int,
    body: bytes,
    outcome: Outcome,
    words: str,
) -> None:
    measurement = measure(url=site(lambda *_: (status, JSON, body)).url)
    assert measurement.outcome is outcome
    assert words in measurement.reason


def test_a_page_that_is_no_json_is_content(measure: Callable[..., Measurement], site: Callable[..., Site]) -> None:
    assert measure(url=site(lambda *_: (200, {"Content-Type": "text/plain"}, b"fine")).url).outcome is Outcome.PASS


def test_counts_and_values_come_along(measure: Callable[..., Measurement], site: Callable[..., Site]) -> None:
    answer = {"outcome": "pass", "value": 0.3, "preview": {"total": 50, "bad": 1}, "stable": {"total": 500}}
    measurement = measure(url=site(lambda *_: (200, JSON, json.dumps(answer).encode())).url)
    assert (measurement.value, measurement.preview) == (0.3, Counts(total=50, bad=1))
    assert measurement.stable == Counts(total=500)


def test_silence_is_unreachable(subject: Subject, hasty: Sources) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = webhook.Settings(url=f"http://127.0.0.1:{silent.getsockname()[1]}")
        assert webhook.measure("judge", settings, subject, hasty, {}).outcome is Outcome.UNREACHABLE


def test_secrets_are_read_and_masked(
    measure: Callable[..., Measurement], site: Callable[..., Site], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("t0ken-t0ken")
    echo = site(lambda *_: (500, JSON, b'{"message": "bad token t0ken-t0ken"}'))
    assert "bad token ***" in measure(url=echo.url, token_file=str(tmp_path / "token")).reason
    with pytest.raises(ConfigError, match="secret_file: /nowhere can't be read"):
        measure(url="http://a", secret_file="/nowhere")
