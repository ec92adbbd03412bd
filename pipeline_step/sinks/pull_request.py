"""Sink: the pull request at its Git provider gets a commit status, one comment edited in place, and deployments.

The status is written where it changes, the comment once for each transition, so that a whole rollout stays within the
twelve writes that a provider should be asked for.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from pipeline_step import lines, owed, report, sticky
from pipeline_step.errors import HttpError, StepError
from pipeline_step.history import merged
from pipeline_step.scm import Deployment, DeploymentState, State, Status

if TYPE_CHECKING:
    from pipeline_step.cluster import Cluster
    from pipeline_step.config import Config
    from pipeline_step.gates import Conversation
    from pipeline_step.run import Event
    from pipeline_step.sinks import Send, Story

EVERY = 0.0
PATIENCE = 5.0  # seconds to write down what is owed
UNDER_WAY = "the rollout is under way; the comment says how far"


def connect(config: Config, conversation: Conversation | None) -> dict[str, Send]:
    """Only the newest state is sent, with the history; nothing where no token or no pull request is given."""
    return {"the pull request": Told(config, conversation).send} if conversation else {}


class Told:
    """One pull request, and what one run has told it; `history` are lines of earlier runs that were not told."""

    def __init__(self, config: Config, at: Conversation, history: Sequence[str] = ()) -> None:
        self._config = config
        self._at = at
        self._state: State | None = None
        self._deployed: DeploymentState | None = None
        self._owing = False
        self._older = history

    def send(self, story: Story) -> None:
        """Tell what is new. Raises `StepError`; then it is owed, or told with the next transition."""
        fresh = [event for event in story.fresh if event.kind not in report.QUIET]
        events = [event for event in story.events if event.kind not in report.QUIET]
        if failure := story.failure:
            fresh, events = [*fresh, failure], [*events, failure]
        if fresh:
            url = next((event.url for event in reversed(events) if event.url), "")
            events = [*events[:-1], dataclasses.replace(events[-1], sha=story.sha, url=url)]
            self.deliver(events, next(iter(story.clusters.values()), None))

    def deliver(self, events: Sequence[Event], ledger: Cluster | None) -> None:
        """Tell the newest of these, with a history of all; what ends a rollout is owed until it was told."""
        newest = events[-1]
        state = report.state(newest)
        history = self._history(events)
        if ledger and state and (state is not State.PENDING or not self._owing):
            self._owe(ledger, newest, history)
        self._status(newest, state)
        app, scm = self._config.file.app, self._at.scm
        subject = sticky.Subject(
            app=app,
            number=self._at.number,
            stable=self._config.target.stable,
            preview=self._config.preview,
            run_url=self._config.provider.run_url,
        )
        scm.upsert_comment(
            self._at.http,
            self._at.repository,
            self._at.number,
            report.marker(app, self._at.number),
            lambda before: sticky.comment(
                subject, events, before, history, limit=scm.COMMENT_LIMIT, html=scm.RENDERS_HTML
            ),
        )
        self._deployment(newest)
        if ledger and state and state is not State.PENDING:
            with suppress(StepError):  # then guard tells it once more, which changes nothing
                owed.settle(ledger.hurried(PATIENCE), self._config.target, self._key, newest.at)

    @property
    def _key(self) -> str:
        return f"{self._at.repository}#{self._at.number}"

    def _history(self, events: Sequence[Event]) -> list[str]:
        """This run's lines; the first says who asked for it, and so does each failure."""
        asker = report.asker(self._config.pull)
        own = [report.entry(event, "" if at and event.kind != "refused" else asker) for at, event in enumerate(events)]
        return merged(self._older, own)

    def _owe(self, ledger: Cluster, newest: Event, history: Sequence[str]) -> None:
        debt = owed.Debt(
            number=self._at.number,
            run=self._config.run,
            kind=newest.kind,
            weight=newest.weight,
            reason=newest.reason[:1000],
            at=newest.at,
            sha=newest.sha,
            url=newest.url,
            lines=tuple(history[-owed.LINES :]),
        )
        with suppress(StepError):  # it is told all the same, only not by guard where that fails
            older = owed.owe(ledger.hurried(PATIENCE), self._config.target, self._key, debt)
            self._owing = True
            self._older = older.lines if older else self._older

    def _status(self, newest: Event, state: State | None) -> None:
        if not (newest.sha and state) or state is self._state:
            return
        said = UNDER_WAY if state is State.PENDING else f"{report.headline(newest)}: {newest.reason}"
        context, url = f"pipeline-step/{self._config.file.app}", self._config.provider.run_url
        status = Status(state=state, context=context, description=said, url=url)
        self._at.scm.set_status(self._at.http, self._at.repository, newest.sha, status)
        self._state = state

    def _deployment(self, newest: Event) -> None:
        """The preview's environment, or production's; a provider that has none, or refuses, changes nothing else."""
        found = deployment(self._config, newest)
        if found is None or found.state is self._deployed or not self._config.file.comments.deployments:
            return
        try:
            self._at.scm.set_deployment(self._at.http, self._at.repository, found)
            self._deployed = found.state
        except HttpError as error:
            lines.say(f"the deployment could not be told: {error}", level=logging.WARNING)
            self._deployed = found.state


def deployment(config: Config, event: Event) -> Deployment | None:
    """Pure: what an event means for the environments APP/pr-NUMBER and APP/production; None for nothing."""
    app, preview = config.file.app, event.kind in ("ready", "deleted")
    state = report.state(event)
    if not event.sha or not (preview or state) or event.kind == "unchanged":
        return None
    if preview:
        now = DeploymentState.SUCCESS if event.kind == "ready" else DeploymentState.INACTIVE
    elif event.kind == "promoted":
        now = DeploymentState.SUCCESS
    else:
        now = DeploymentState.IN_PROGRESS if event.weight else DeploymentState.INACTIVE
    return Deployment(
        sha=event.sha,
        environment=f"{app}/pr-{config.pull.number}" if preview else f"{app}/production",
        state=now,
        description=f"{report.headline(event)}: {event.reason}",
        url=event.url if preview else "",
        log_url=config.provider.run_url,
        production=not preview,
    )
