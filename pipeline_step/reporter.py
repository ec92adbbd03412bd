"""Tells people and machines what happens: a line at once, and every sink from a thread of its own.

A sink that is slow or down delays a message and never a decision, nor another sink's message: what has come together
meanwhile is sent at once, and the end of the run waits a bounded time for all of them.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline_step import lines, report
from pipeline_step.config import Config, Provider
from pipeline_step.errors import ConfigError, StepError
from pipeline_step.model import Measurement
from pipeline_step.run import Clock, Event, Look, Result
from pipeline_step.sinks import SINKS, Send, Sink, Story

if TYPE_CHECKING:
    from pipeline_step.cluster import Cluster
    from pipeline_step.gates import Conversation
    from pipeline_step.http import Http
    from pipeline_step.scm import Repository, Scm

PATIENCE = 20.0  # seconds that the end of a run waits for the last messages
STILL = 180.0  # seconds without a line after which one says that the rollout goes on


class Reporter:
    """One run's messages. `tell` and `show` write a line and return; `close` waits for what is still to be sent."""

    def __init__(
        self,
        config: Config,
        clock: Clock,
        command: str = "",
        conversation: Conversation | None = None,
        clusters: Mapping[str, Cluster] | None = None,
    ) -> None:
        self._config = config
        self._clusters = clusters or {}
        self._clock = clock
        self._command = command
        self._began = self._spoke = clock.time()
        self._events: list[Event] = []
        self._looks: list[Look] = []
        self._decisions: Counter[str] = Counter()
        self._end: Result | None = None
        self._ended = 0.0
        self._closing = False
        self._news = threading.Condition()
        self._threads = [
            threading.Thread(target=self._serve, args=(name, sink, send), name=name, daemon=True)
            for sink in SINKS.values()
            for name, send in sink.connect(config, conversation).items()
        ]
        for thread in self._threads:
            thread.start()
        if command:
            for doubt in config.telemetry.doubts:
                lines.say(doubt, level=logging.WARNING)

    def tell(self, event: Event) -> None:
        """Say it, and have it sent."""
        event = dataclasses.replace(event, at=self._clock.time())
        self._spoke = event.at
        app, number = self._config.file.app, self._config.pull.number
        lines.say(
            f"{app} #{number} {report.headline(event)}: {event.reason}",
            text=report.line(event, app, number, event.at),
            event=event.kind,
            **lines.subject(self._config),
            sha=event.sha or self._config.pull.sha,
            weight=event.weight,
            reason=event.reason,
            gates=lines.gates(event.measurements),
        )
        with self._news:
            self._events.append(event)
            self._news.notify_all()

    def show(self, look: Look) -> None:
        """Have a look sent to the sinks that want it; now and then a line says that it goes on."""
        look = dataclasses.replace(look, at=self._clock.time())
        if look.at - self._spoke >= STILL:
            self._spoke = look.at
            self._still(look)
        with self._news:
            if len(self._looks) > 1 and _alike(self._looks[-2], self._looks[-1]):
                self._looks.pop()
            self._looks.append(look)
            self._decisions[type(look.decision).__name__.lower()] += 1
            self._news.notify_all()

    def close(self, error: StepError | None = None) -> None:
        """Wait until everything is sent, for `PATIENCE` seconds at most; `error` is what the run ended with."""
        end = None
        if error is not None:
            end = Result(outcome=error.exit.name.lower(), reason=str(error), exit=error.exit)
        elif self._events:
            last = self._events[-1]
            end = Result(outcome=last.kind, reason=last.reason, weight=last.weight, sha=last.sha)
        with self._news:
            self._end, self._ended, self._closing = end, self._clock.time(), True
            self._news.notify_all()
        until = time.monotonic() + PATIENCE
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
            if thread.is_alive():
                lines.say(f"{thread.name} could not be told in time", level=logging.WARNING)

    def _still(self, look: Look) -> None:
        event = Event(kind="heartbeat", weight=look.rollout.weight, reason=look.decision.reason)
        app, number = self._config.file.app, self._config.pull.number
        lines.say(
            f"{app} #{number} {report.headline(event)}: {event.reason}",
            text=report.line(event, app, number, look.at),
            event=event.kind,
            **lines.subject(self._config),
            sha=look.rollout.sha,
            weight=event.weight,
            reason=event.reason,
            phase=look.rollout.phase.value,
            step=look.rollout.step,
            gates=lines.gates(look.measurements),
        )

    def _serve(self, name: str, sink: Sink, send: Send) -> None:
        """One sink's thread: all that is new, as often as there is something."""
        sent, heard = 0, self._began

        def due() -> bool:
            looked = self._looks[-1].at if self._looks else 0.0
            return self._closing or len(self._events) > sent or bool(sink.EVERY and looked >= heard + sink.EVERY)

        while True:
            with self._news:
                self._news.wait_for(due)
                closing = self._closing
                story = Story(
                    config=self._config,
                    command=self._command,
                    began=self._began,
                    events=tuple(self._events),
                    fresh=tuple(self._events[sent:]),
                    looks=tuple(self._looks),
                    decisions=dict(self._decisions),
                    end=self._end,
                    ended=self._ended,
                    clusters=self._clusters,
                )
            sent, heard = len(story.events), self._clock.time()
            if story.events or story.end:
                try:
                    send(story)
                except StepError as error:
                    lines.say(f"{name} could not be told: {error}", level=logging.WARNING)
            if closing:
                return


def _alike(one: Look, other: Look) -> bool:
    """Whether nothing changed from one look to the other but time and counts."""

    def found(measurements: Sequence[Measurement]) -> list[tuple[str, str]]:
        return [(measurement.gate, measurement.outcome.value) for measurement in measurements]

    return one.rollout.weight == other.rollout.weight and found(one.measurements) == found(other.measurements)


def conversation(config: Config) -> Conversation | None:
    """The pull request at its Git provider; None where no token or no pull request is given."""
    if not (config.provider.token and config.pull.number):
        return None
    from pipeline_step.gates import Conversation

    scm, http, repository = connect(config.provider)
    return Conversation(scm=scm, http=http, repository=repository, number=config.pull.number)


def connect(provider: Provider) -> tuple[Scm, Http, Repository]:
    """The provider's module, a session with its credentials, and the repository; raises `ConfigError`."""
    from pipeline_step.http import Http
    from pipeline_step.scm.remote import locate

    if not provider.remote:
        raise ConfigError("a Git token is set, but not which repository: give --repo OWNER/NAME, or set REPO_URL")
    scm, repository = locate(provider.remote, kind=provider.kind, server=provider.server)
    http = Http(
        headers=scm.credentials(repository, provider.token),
        secrets=[provider.token],
        patience=PATIENCE / 2,
    )
    return scm, http, repository
