"""Sink: the alerts of the configuration, each told of the transitions that it chose."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pipeline_step.alerts import ALERTS, Alert, News, Tell
from pipeline_step.alerts.settings import Transition
from pipeline_step.errors import Exit, StepError
from pipeline_step.settings import chosen

if TYPE_CHECKING:
    from pipeline_step.config import Config
    from pipeline_step.gates import Conversation
    from pipeline_step.sinks import Send, Story

EVERY = 0.0
KINDS = {kind.value: kind for kind in Transition}


def connect(config: Config, conversation: Conversation | None) -> dict[str, Send]:
    """Each alert by itself, so that a slow one delays no other."""
    sends: dict[str, Send] = {}
    for number, choice in enumerate(config.file.alerts):
        kind, settings = chosen(choice)
        tell = ALERTS[kind].connect(settings, config, config.secrets)
        sends[f"alerts[{number}] ({kind})"] = functools.partial(_send, ALERTS[kind], settings, tell)
    return sends


def _send(alert: Alert, settings: Any, tell: Tell, story: Story) -> None:
    """Every transition that it wants; one that can't be told leaves the others."""
    trouble: list[StepError] = []
    for news in heard(story):
        if alert.wanted(settings, news.kind):
            try:
                tell(news)
            except StepError as error:
                trouble.append(error)
    if trouble:
        raise trouble[0]


def heard(story: Story) -> Iterator[News]:
    """Pure: what is fresh, and last the error that the run ended with where it did."""
    failure = story.failure
    if failure and story.end and story.end.exit is Exit.TRAFFIC_UNKNOWN:
        failure = dataclasses.replace(failure, kind=Transition.TRAFFIC_UNKNOWN.value)
    url = next((event.url for event in reversed(story.events) if event.url), "")
    for event in [*story.fresh, *([failure] if failure else [])]:
        if kind := KINDS.get(event.kind):
            yield News(kind=kind, event=event, sha=story.sha, preview=url, run_url=story.config.provider.run_url)
