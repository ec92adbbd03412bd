"""The alerts of a configuration: read, and told of what was chosen."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from pipeline_step.errors import ConfigError, Exit, HttpError
from pipeline_step.report import WORDS
from pipeline_step.run import Result
from pipeline_step.sinks import alerts
from tests.gates.conftest import Site, site
from tests.sinks.story import FILE, PROMOTED, config, event, story

__all__ = ["site"]


def test_each_alert_is_told_by_itself(site: Callable[..., Site]) -> None:
    up = site(lambda *_: (200, {}, b""))
    text = FILE + f"alerts: [alertmanager: {{url: '{up.url}'}}, alertmanager: {{url: 'http://127.0.0.1:1'}}]\n"
    sends = alerts.connect(config(text), None)
    assert list(sends) == ["alerts[0] (alertmanager)", "alerts[1] (alertmanager)"]
    good, bad = sends.values()
    events = [event("shifted", 5, 10, url="http://shop.pr"), event("reverted", 0, 20)]
    good(story(config(text), events))
    told = [json.loads(body) for *_, body in up.seen]
    assert [[alert["labels"]["alertname"] for alert in one] for one in told] == [
        ["PipelineStepRolloutFailed", "PipelineStepTrafficUnknown"],
        ["PipelineStepTrafficUnknown", "PipelineStepRolloutFailed"],
    ]
    assert told[1][1]["annotations"]["preview"] == "http://shop.pr"
    with pytest.raises(HttpError, match="could not be reached"):
        bad(story(config(text), events))


def test_an_error_that_a_run_ends_with_is_heard_of() -> None:
    end = Result(outcome="traffic_unknown", reason="the API does not answer", exit=Exit.TRAFFIC_UNKNOWN)
    (news,) = alerts.heard(story(config(), [event("shifted", 5, 10)], fresh=[], end=end))
    assert (news.kind.value, news.event.weight, news.event.reason) == ("traffic_unknown", 5, "the API does not answer")
    (refused,) = alerts.heard(story(config(), [], end=Result(outcome="refused", reason="", exit=Exit.REFUSED)))
    assert refused.kind.value == "refused"
    over = Result(outcome="promoted", reason="")
    assert list(alerts.heard(story(config(), PROMOTED, fresh=[], end=over))) == []


def test_everything_that_is_told_can_be_chosen() -> None:
    assert set(alerts.KINDS) >= set(WORDS) - {"heartbeat"}


def test_a_variable_is_read_and_never_shown() -> None:
    text = FILE + "alerts: [apprise: {url_env: CHAT, on: [promoted]}]\n"
    found = config(text, CHAT="slack://s3cret")
    assert found.secrets == {"CHAT": "slack://s3cret"}
    assert "s3cret" not in repr(found)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("apprise: {url: 'slack://a/b/c'}", r"alerts\[0\].apprise.url: unknown key; did you mean url_"),
        ("apprise: {}", "give url_env or url_file: the address holds a secret"),
        ("apprise: {url_env: 'slack://a/b'}", r"alerts\[0\].apprise.url_env"),
        ("apprise: {url_env: A, on: [exploded]}", "valid: shifted, resumed, .*, promoted"),
        ("alertmanager: {url: somewhere}", "must begin with http"),
        ("smoke: {}", r"alerts\[0\].smoke: unknown key. Valid here: alertmanager, apprise"),
    ],
)
def test_mistakes(entry: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        config(FILE + f"alerts: [{{{entry}}}]\n")
