"""Tells people what happens: a line at once, and the pull request from a thread of its own.

A provider that is slow or down delays a message and never a decision: only the newest state is sent, and the end of
the run waits a bounded time for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline_step import report
from pipeline_step.config import Config, Provider
from pipeline_step.errors import ConfigError, StepError
from pipeline_step.run import Clock, Event

if TYPE_CHECKING:
    from pipeline_step.gates import Conversation
    from pipeline_step.http import Http
    from pipeline_step.scm import Repository, Scm

PATIENCE = 20.0  # seconds that the end of a run waits for the last message


class Reporter:
    """One run's messages. `say` writes a line for people; `close` waits for what is still to be sent."""

    def __init__(
        self, config: Config, clock: Clock, say: Callable[[str], None], conversation: Conversation | None
    ) -> None:
        self._config = config
        self._clock = clock
        self._say = say
        self._conversation = conversation
        self._events: list[Event] = []
        self._sent = 0
        self._news = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._send_all, name="reporter", daemon=True)
        if conversation:
            self._thread.start()

    def tell(self, event: Event) -> None:
        """Say it, and have it sent."""
        config = self._config
        self._say(report.line(event, config.file.app, config.pull.number, self._clock.time()))
        if event.kind not in report.QUIET:
            with self._news:
                self._events.append(event)
                self._news.notify()

    def close(self) -> None:
        """Wait until the last event is sent, for `PATIENCE` seconds at most."""
        if not self._conversation:
            return
        with self._news:
            self._closing = True
            self._news.notify()
        self._thread.join(PATIENCE)

    def _send_all(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._closing or len(self._events) > self._sent)
                events = list(self._events)
            if len(events) == self._sent:
                return
            try:
                self._send(events)
            except StepError as error:
                self._say(f"the pull request could not be told: {error}")
            self._sent = len(events)

    def _send(self, events: list[Event]) -> None:
        from pipeline_step.scm import Status

        assert self._conversation
        scm, http, repository = self._conversation.scm, self._conversation.http, self._conversation.repository
        config, event = self._config, events[-1]
        sha = event.sha or next((e.sha for e in reversed(events) if e.sha), config.pull.sha)
        if sha:
            status = Status(
                state=report.state(event),
                context=f"pipeline-step/{config.file.app}",
                description=f"{report.headline(event)}: {event.reason}",
                url=config.provider.run_url,
            )
            scm.set_status(http, repository, sha, status)
        number = config.pull.number
        marker = report.marker(config.file.app, number)
        body = report.comment(
            config.file.app,
            number,
            events,
            config.provider.run_url,
            limit=scm.COMMENT_LIMIT,
            html=scm.RENDERS_HTML,
        )
        scm.upsert_comment(http, repository, number, marker, body)


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
