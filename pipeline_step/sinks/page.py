"""Sink: the progress page, in a file or in a ConfigMap."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline_step.config import Config
    from pipeline_step.gates import Conversation
    from pipeline_step.sinks import Send, Story

EVERY = 2.0
OWN = ("rollout", "shift", "promote", "revert")  # others steer a rollout, whose own run tells of it


def connect(config: Config, conversation: Conversation | None) -> dict[str, Send]:
    """A page that goes on with what an earlier run of the rollout has left there; nothing where none is configured.

    Raises `ConfigError` where something else than a page stands there already.
    """
    if not config.report:
        return {}
    from pipeline_step.page.document import document, history_in
    from pipeline_step.page.history import History, decoded
    from pipeline_step.page.places import place
    from pipeline_step.page.telling import continued, gone_on, untold

    where = place(config)
    where.check()
    history: History | None = None
    written = 0.0

    def send(story: Story) -> None:
        nonlocal history, written
        if story.command not in OWN or not story.events:
            return
        if history is None:
            history = continued(untold(config), decoded(history_in(where.read())))
        history = gone_on(history, story.events, story.looks, config.gates)
        if story.fresh or story.end or history.updated >= written + where.pace:
            written = history.updated
            where.write(document(history))

    return {"the progress page": send}
