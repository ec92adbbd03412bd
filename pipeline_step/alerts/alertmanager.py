"""Alert `alertmanager`: Prometheus' own fires when a rollout went wrong, and is resolved by one that goes well.

API v2: https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from pipeline_step.alerts.settings import FAILURES, Transition
from pipeline_step.gates.query import check_url, secret
from pipeline_step.report import headline
from pipeline_step.settings import Duration, Strict, says, seconds

if TYPE_CHECKING:
    from pipeline_step.alerts import News, Tell
    from pipeline_step.config import Config

PATIENCE = 10.0  # seconds that one message may be repeated
FAILED, UNKNOWN = "PipelineStepRolloutFailed", "PipelineStepTrafficUnknown"
SEVERITIES = {FAILED: "warning", UNKNOWN: "critical"}
RESOLVES = {
    Transition.SHIFTED: (FAILED, UNKNOWN),
    Transition.RESUMED: (FAILED, UNKNOWN),
    Transition.HELD: (FAILED, UNKNOWN),
    Transition.PROMOTED: (FAILED, UNKNOWN),
    Transition.UNCHANGED: (FAILED, UNKNOWN),
    Transition.DELETED: (FAILED, UNKNOWN),
    Transition.REVERTED: (UNKNOWN,),
    Transition.INCONCLUSIVE: (UNKNOWN,),
    Transition.INTERRUPTED: (UNKNOWN,),
}
"""What is over with a transition; what never fired is not there to resolve."""


class Settings(Strict, frozen=True, kw_only=True):
    """Where Alertmanager is, and which transitions fire."""

    url: Annotated[str, says("its address, without /api")]
    on: Annotated[tuple[Transition, ...], msgspec.Meta(min_length=1, description="the transitions that fire")] = (
        *FAILURES,
        Transition.TRAFFIC_UNKNOWN,
    )
    lasts: Annotated[
        Duration, says("how long an alert fires, where no later rollout of the pull request resolves it")
    ] = "4h"
    labels: Annotated[dict[str, str], says("further labels, for routes to match")] = msgspec.field(default_factory=dict)
    token_file: Annotated[str, says("a file with a bearer token")] = ""

    def __post_init__(self) -> None:
        check_url(self.url)


def wanted(settings: Settings, kind: Transition) -> bool:
    """What fires, and what resolves that."""
    return kind in settings.on or kind in RESOLVES


def connect(settings: Settings, config: Config, secrets: Mapping[str, str]) -> Tell:
    """One message a transition; it says the same when it is repeated."""
    from pipeline_step.http import Http

    http = Http(timeout=(2, 5), patience=PATIENCE)

    def tell(news: News) -> None:
        headers = {}
        if settings.token_file:
            headers["Authorization"] = f"Bearer {secret(settings.token_file, 'alerts.alertmanager.token_file')}"
        url = f"{settings.url.rstrip('/')}/api/v2/alerts"
        http.request("POST", url, json=alerts(settings, config, news), headers=headers, idempotent=True)

    return tell


def alerts(settings: Settings, config: Config, news: News) -> list[dict[str, Any]]:
    """Pure: the alerts that a transition starts and ends."""
    over = [name for name in RESOLVES.get(news.kind, ()) if not (name == FAILED and news.kind in settings.on)]
    ended = [_alert(settings, config, news, name, news.event.at) for name in over]
    if news.kind not in settings.on:
        return ended
    name = UNKNOWN if news.kind is Transition.TRAFFIC_UNKNOWN else FAILED
    return [*ended, _alert(settings, config, news, name, news.event.at + seconds(settings.lasts))]


def _alert(settings: Settings, config: Config, news: News, name: str, ends: float) -> dict[str, Any]:
    """Labels are what an alert is known by, so they are the same for start and end."""
    app, number = config.file.app, config.pull.number
    own = {
        "alertname": name,
        "severity": SEVERITIES[name],
        "app": app,
        "namespace": config.target.stable.namespace,
        "pull_request": str(number),
    }
    annotations = {"summary": f"{app} #{number} {headline(news.event)}", "description": news.event.reason}
    annotations |= {"preview": news.preview} if news.preview else {}
    alert = {
        "labels": {**own, **settings.labels},
        "annotations": annotations,
        "startsAt": _time(news.event.at),
        "endsAt": _time(ends),
    }
    return alert | ({"generatorURL": news.run_url} if news.run_url else {})


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
