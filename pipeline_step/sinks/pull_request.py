"""Sink: the pull request at its Git provider gets a commit status and one comment, edited in place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline_step import report
from pipeline_step.scm import Status

if TYPE_CHECKING:
    from pipeline_step.config import Config
    from pipeline_step.gates import Conversation
    from pipeline_step.sinks import Send, Story

EVERY = 0.0


def connect(config: Config, conversation: Conversation | None) -> Send | None:
    """Only the newest state is sent, with the history; None where no token or no pull request is given."""
    if conversation is None:
        return None
    at = conversation

    def send(story: Story) -> None:
        if all(event.kind in report.QUIET for event in story.fresh):
            return
        events = [event for event in story.events if event.kind not in report.QUIET]
        app, run_url = config.file.app, config.provider.run_url
        if story.sha:
            status = Status(
                state=report.state(events[-1]),
                context=f"pipeline-step/{app}",
                description=f"{report.headline(events[-1])}: {events[-1].reason}",
                url=run_url,
            )
            at.scm.set_status(at.http, at.repository, story.sha, status)
        body = report.comment(app, at.number, events, run_url, limit=at.scm.COMMENT_LIMIT, html=at.scm.RENDERS_HTML)
        at.scm.upsert_comment(at.http, at.repository, at.number, report.marker(app, at.number), body)

    return send
