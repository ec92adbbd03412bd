"""Alertmanager: what a real one makes of what it is sent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import requests

from pipeline_step.alerts import News, alertmanager
from pipeline_step.alerts.settings import Transition
from pipeline_step.errors import HttpError
from tests.gates.conftest import Site, site
from tests.sinks.programs import serving
from tests.sinks.story import BEGAN, config, event

__all__ = ["site"]


def settings(**given: Any) -> alertmanager.Settings:
    return msgspec.convert({"url": "http://alertmanager.example", **given}, alertmanager.Settings)


def news(kind: str, at: float = BEGAN, reason: str = "too many errors") -> News:
    told = event(kind, 0, at - BEGAN, reason=reason)
    return News(kind=Transition(kind), event=told, run_url="https://tekton.example/run-1")


def states(kind: str, **given: Any) -> dict[str, bool]:
    """Which alerts a transition sends, and whether they fire."""
    sent = alertmanager.alerts(settings(**given), config(), news(kind))
    return {alert["labels"]["alertname"]: alert["endsAt"] > alert["startsAt"] for alert in sent}


def test_what_fires_and_what_is_over() -> None:
    failed, unknown = "PipelineStepRolloutFailed", "PipelineStepTrafficUnknown"
    assert states("reverted") == {unknown: False, failed: True}
    assert states("unproven") == {failed: True}
    assert states("traffic_unknown") == {unknown: True}
    assert states("promoted") == {failed: False, unknown: False}
    assert states("interrupted") == {unknown: False}
    assert states("held", on=["held"]) == {unknown: False, failed: True}
    assert not alertmanager.wanted(settings(), Transition.PAUSED)


def test_an_alert_in_full() -> None:
    given = settings(lasts="30m", labels={"team": "shop"})
    _, alert = alertmanager.alerts(given, config(), news("reverted"))
    assert alert == {
        "labels": {
            "alertname": "PipelineStepRolloutFailed",
            "severity": "warning",
            "app": "shop",
            "namespace": "prod",
            "pull_request": "35",
            "team": "shop",
        },
        "annotations": {"summary": "shop #35 was reverted", "description": "too many errors"},
        "startsAt": "2026-09-21T14:13:20.000+00:00",
        "endsAt": "2026-09-21T14:43:20.000+00:00",
        "generatorURL": "https://tekton.example/run-1",
    }


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "config.yml").write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    flags = [f"--config.file={tmp_path / 'config.yml'}", f"--storage.path={tmp_path}", "--cluster.listen-address="]
    with serving(
        "prometheus-alertmanager", lambda address: [f"--web.listen-address={address}", *flags], tmp_path, "/-/ready"
    ) as url:
        yield url


def firing(url: str) -> list[str]:
    alerts = requests.get(f"{url}/api/v2/alerts", timeout=10).json()
    return [alert["labels"]["alertname"] for alert in alerts if alert["status"]["state"] == "active"]


def test_a_real_alertmanager_fires_until_a_later_rollout_goes_well(server: str) -> None:
    tell = alertmanager.connect(settings(url=server), config(), {})
    now = time.time()
    tell(news("reverted", now - 60))
    assert firing(server) == ["PipelineStepRolloutFailed"]
    tell(news("traffic_unknown", now - 50))
    assert sorted(firing(server)) == ["PipelineStepRolloutFailed", "PipelineStepTrafficUnknown"]
    tell(news("reverted", now - 40))
    assert firing(server) == ["PipelineStepRolloutFailed"]
    tell(news("promoted", now - 1))
    assert firing(server) == []


def test_one_that_refuses(site: Callable[..., Site], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0ken\n")
    refusing = site(lambda *_: (400, {"Content-Type": "application/json"}, b'{"message":"start time after end"}'))
    tell = alertmanager.connect(settings(url=refusing.url, token_file=str(tmp_path / "token")), config(), {})
    with pytest.raises(HttpError, match=r"answered 400 \(start time after end\)"):
        tell(news("reverted"))
    assert refusing.seen[0][2]["authorization"] == "Bearer t0ken"
