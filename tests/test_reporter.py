"""Who is told what, and that nobody is waited for."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline_step import lines, reporter
from pipeline_step.config import Config, Flags, load
from pipeline_step.errors import ConfigError, HttpError, Refused
from pipeline_step.lines import LogFormat
from pipeline_step.model import Counts, Hold, Measurement, Outcome, Rollout
from pipeline_step.reporter import STILL, Reporter
from pipeline_step.run import Event, Look
from pipeline_step.sinks import Story

FILE = """
app: shop
production: {namespace: prod, service: shop}
traffic: {istio: {virtual_service: shop}}
"""
ENVIRON = {"PULL_NUMBER": "35", "REPO_OWNER": "acme", "REPO_NAME": "shop", "PIPELINE_STEP_RUN": "r1"}
PATIENCE = 30.0  # seconds; far more than anything takes


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_790_000_000.0

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float, /) -> None:
        self.now += seconds


@pytest.fixture
def config() -> Config:
    return load(Flags(file=Path("step.yaml")), ENVIRON, FILE)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Story]]:
    """Makes a sink the only one, or one more, and gives the list of the stories that it was told."""
    table: dict[str, Any] = {}
    monkeypatch.setattr(reporter, "SINKS", table)

    def add(name: str = "a sink", every: float = 0.0, work: Callable[[], None] = lambda: None) -> list[Story]:
        stories: list[Story] = []

        def send(story: Story) -> None:
            stories.append(story)
            work()

        table[name] = SimpleNamespace(EVERY=every, connect=lambda *_: {name: send})
        return stories

    return add


def event(kind: str, weight: int = 5, **more: Any) -> Event:
    return Event(kind=kind, weight=weight, reason="because", **more)


def look(config: Config, weight: int = 5, outcome: Outcome = Outcome.UNDECIDED) -> Look:
    measurement = Measurement(gate="compare", outcome=outcome, reason="thinking", preview=Counts(total=3, bad=1))
    rollout = Rollout(preview=config.preview, run="r1", by="me", weight=weight, sha="abc")
    hold = Hold("5 % holds, 9 s of its bake left")
    return Look(rollout=rollout, measurements=[measurement], decision=hold, policy=config.policy)


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_every_sink_is_told_everything_once_and_that_it_is_over(
    config: Config, told: Callable[..., list[Story]]
) -> None:
    one, other = told("one"), told("other")
    run = Reporter(config, Clock(), "rollout")
    run.tell(event("shifted", sha="abc"))
    until(lambda: one and other)
    run.tell(event("promoted", 0))
    run.close()
    for stories in (one, other):
        assert [e.kind for story in stories for e in story.fresh] == ["shifted", "promoted"]
        assert [e.kind for e in stories[-1].events] == ["shifted", "promoted"]
        assert stories[-1].end is not None and stories[-1].end.outcome == "promoted"
        assert (stories[-1].sha, stories[-1].command) == ("abc", "rollout")
        assert stories[0].events[0].at == 1_790_000_000.0


def test_a_slow_sink_delays_no_other_and_the_end_not_for_long(
    config: Config,
    told: Callable[..., list[Story]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(reporter, "PATIENCE", 0.2)
    never = threading.Event()
    slow, quick = told("the slow one", work=lambda: bool(never.wait(PATIENCE))), told("the quick one")
    lines.begin(LogFormat.TEXT)
    run = Reporter(config, Clock())
    run.tell(event("shifted"))
    until(lambda: slow and quick)
    run.tell(event("reverted", 0))
    until(lambda: len(quick) == 2)
    run.close()
    assert len(slow) == 1
    assert "the slow one could not be told in time" in capsys.readouterr().err
    never.set()


def test_a_sink_that_fails_is_a_line_and_is_told_the_next(
    config: Config, told: Callable[..., list[Story]], capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise HttpError("it is down")

    stories = told("the chat", work=fail)
    lines.begin(LogFormat.TEXT)
    run = Reporter(config, Clock())
    run.tell(event("shifted"))
    until(lambda: stories)
    run.tell(event("reverted", 0))
    run.close()
    said = capsys.readouterr().err
    assert "shop #35 takes 5 % of production's requests: because" in said
    assert "the chat could not be told: it is down" in said
    assert [e.kind for e in stories[-1].events] == ["shifted", "reverted"]


def test_an_error_before_anything_is_told_as_the_end(config: Config, told: Callable[..., list[Story]]) -> None:
    stories = told()
    Reporter(config, Clock(), "shift").close(Refused("it is frozen"))
    assert stories[0].end is not None
    assert (stories[0].end.outcome, stories[0].end.reason, stories[0].end.exit) == ("refused", "it is frozen", 5)


def test_nobody_is_told_of_a_look_at_nothing(config: Config, told: Callable[..., list[Story]]) -> None:
    stories = told()
    Reporter(config, Clock()).close()
    assert stories == []


def test_looks_are_told_now_and_then_and_kept_where_something_changed(
    config: Config, told: Callable[..., list[Story]]
) -> None:
    stories, clock = told(every=15.0), Clock()
    run = Reporter(config, clock, "rollout")
    run.tell(event("shifted"))
    until(lambda: stories)
    for outcome in (Outcome.TOO_LITTLE, Outcome.TOO_LITTLE, Outcome.TOO_LITTLE, Outcome.PASS):
        clock.sleep(5)
        run.show(look(config, outcome=outcome))
    until(lambda: len(stories) == 2)
    run.close()
    at = [(one.at - 1_790_000_000, one.measurements[0].outcome) for one in stories[-1].looks]
    assert at == [(5, Outcome.TOO_LITTLE), (20, Outcome.PASS)]


def test_silence_is_broken_by_a_heartbeat(
    config: Config, told: Callable[..., list[Story]], capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    lines.begin(LogFormat.TEXT)
    run = Reporter(config, clock)
    run.tell(event("shifted"))
    for _ in range(int(2 * STILL / 10) + 1):
        clock.sleep(10)
        run.show(look(config))
    run.close()
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 3, said
    assert said[1].endswith("  5 %  shop #35 still takes 5 %: 5 % holds, 9 s of its bake left")


def test_lines_for_machines(config: Config, capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    lines.begin(LogFormat.JSON)
    run = Reporter(config, clock)
    run.tell(event("shifted", sha="abc", measurements=look(config).measurements))
    clock.sleep(STILL)
    run.show(look(config))
    lines.log.error("error: the plain one")
    run.close()
    shifted, heartbeat, plain = map(json.loads, capsys.readouterr().err.splitlines())
    assert shifted.pop("time").endswith("+00:00")
    assert shifted == {
        "level": "info",
        "message": "shop #35 takes 5 % of production's requests: because",
        "event": "shifted",
        "app": "shop",
        "namespace": "prod",
        "preview": "shop.jx-acme-shop-pr-35",
        "repository": "acme/shop",
        "pull_request": 35,
        "run": "r1",
        "sha": "abc",
        "weight": 5,
        "reason": "because",
        "gates": [
            {
                "gate": "compare",
                "outcome": "undecided",
                "reason": "thinking",
                "value": None,
                "stable": None,
                "preview": {"total": 3, "bad": 1},
            }
        ],
    }
    assert (heartbeat["event"], heartbeat["phase"], heartbeat["step"]) == ("heartbeat", "baking", 0)
    assert set(shifted) < set(heartbeat)
    assert (plain["level"], plain["message"]) == ("error", "error: the plain one")


def test_a_log_format_that_does_not_exist() -> None:
    from pipeline_step.config import log_format

    assert log_format("json", {}) is LogFormat.JSON
    assert log_format(None, {"PIPELINE_STEP_LOG_FORMAT": "json"}) is LogFormat.JSON
    assert log_format(None, {}) is LogFormat.TEXT
    with pytest.raises(ConfigError, match="PIPELINE_STEP_LOG_FORMAT='xml': expected one of text, json"):
        log_format(None, {"PIPELINE_STEP_LOG_FORMAT": "xml"})
