"""Sink: CDEvents over HTTP, for other tools to react to: what happened in words that all delivery tools share.

CDEvents 0.5.1 (https://github.com/cdevents/spec/tree/v0.5.1) in CloudEvents' binary mode. A share of production's
requests makes the preview a service that is published there; a promotion upgrades production's service, and taking
traffic back rolls it back. What CDEvents has no word for is in `customData`.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pipeline_step.errors import HttpError
from pipeline_step.redaction import without_userinfo
from pipeline_step.sinks.endings import Ending, ending

if TYPE_CHECKING:
    from pipeline_step.config import Config
    from pipeline_step.gates import Conversation
    from pipeline_step.run import Event
    from pipeline_step.sinks import Send, Story

EVERY = 0.0
PATIENCE = 10.0  # seconds that one event may be repeated
SPEC = "0.5.1"
TYPE = "dev.cdevents.{}.0.3.0"
SERVICE = {
    "shifted": "published",
    "resumed": "published",
    "promoted": "upgraded",
    "reverted": "rolledback",
    "inconclusive": "rolledback",
    "interrupted": "rolledback",
    "superseded": "rolledback",
    "returned": "rolledback",
}
"""What happens to a service with an event; other events are no news of a service."""


def connect(config: Config, conversation: Conversation | None) -> dict[str, Send]:
    """Each event is sent once, in order; one that could not be sent is tried again with the next."""
    url = config.telemetry.cdevents
    if not url:
        return {}
    from pipeline_step.http import Http

    http = Http(timeout=(2, 5), patience=PATIENCE)
    waiting: list[dict[str, Any]] = []
    begun = False

    def send(story: Story) -> None:
        nonlocal begun
        if not story.command:
            return
        waiting.extend(events(story, begins=not begun))
        begun = True
        while waiting:
            try:
                # A receiver knows a repeated event by its id.
                http.request("POST", url, json=waiting[0], headers=headers(waiting[0]), idempotent=True)
            except HttpError as error:
                if 400 <= error.status < 500:
                    waiting.pop(0)  # it would be refused again
                raise
            waiting.pop(0)

    return {"the CDEvents": send}


def headers(event: dict[str, Any]) -> dict[str, str]:
    """What CloudEvents' binary mode puts into headers."""
    context = event["context"]
    return {
        "ce-specversion": "1.0",
        "ce-id": context["id"],
        "ce-source": context["source"],
        "ce-type": context["type"],
        "ce-subject": event["subject"]["id"],
        "ce-time": context["timestamp"],
        "Content-Type": "application/json",
    }


def events(story: Story, *, begins: bool) -> Iterator[dict[str, Any]]:
    """The CDEvents of what is fresh; every call gives them new ids."""
    config = story.config
    task = {"taskName": story.command}
    if config.provider.run_url.startswith("http"):
        task["uri"] = config.provider.run_url
    if begins:
        yield _event(story, "taskrun.started", story.began, config.run, task)
    for event in story.fresh:
        if event.kind in SERVICE:
            yield _of_service(story, event, SERVICE[event.kind])
    if story.end:
        how = ending(story.command, story.end)
        errors = {} if how is Ending.SUCCESS else {"errors": story.end.reason}
        yield _event(story, "taskrun.finished", story.ended, config.run, {**task, "outcome": how.value, **errors})


def _of_service(story: Story, event: Event, predicate: str) -> dict[str, Any]:
    stable, preview = story.config.target.stable, story.config.preview
    service = preview if predicate == "published" else stable
    content: dict[str, Any] = {"environment": {"id": stable.namespace}}
    if predicate == "upgraded":
        content["artifactId"] = purl(story.image or story.config.file.app)
    elif predicate == "rolledback":
        # Production's own image is not known here, only that it has all requests again.
        content["artifactId"] = purl(story.config.file.app)
    pull = story.config.pull
    more = {
        "event": event.kind,
        "weight": event.weight,
        "reason": event.reason,
        "app": story.config.file.app,
        "repository": f"{pull.owner}/{pull.repo}" if pull.owner else "",
        "pull_request": pull.number,
        "sha": story.sha,
        "image": story.image,
        "preview": str(preview),
    }
    name = f"service.{predicate}"
    return _event(story, name, event.at, f"{service.namespace}/{service.service}", content) | {"customData": more}


def _event(story: Story, name: str, at: float, subject: str, content: dict[str, Any]) -> dict[str, Any]:
    return {
        "context": {
            "specversion": SPEC,
            "id": str(uuid.uuid4()),
            "chainId": story.config.run,
            "source": source(story.config),
            "type": TYPE.format(name),
            "timestamp": datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        },
        "subject": {"id": subject, "content": content},
    }


def source(config: Config) -> str:
    """Where events come from: the repository's address, or a name where that is not known."""
    remote = config.provider.remote
    if remote.startswith(("http://", "https://")):
        return without_userinfo(remote).removesuffix(".git")
    return f"/pipeline-step/{quote(config.file.app)}"


def purl(image: str) -> str:
    """An image's package URL; of a name alone, one without a version."""
    name, _, digest = image.partition("@")
    repository, slash, last = name.rpartition("/")
    last, _, tag = last.partition(":")
    text = f"pkg:oci/{quote(last.lower())}" + (f"@{quote(digest, safe='')}" if digest else "")
    qualifiers = [("repository_url", f"{repository}/{last}" if slash else ""), ("tag", tag)]
    given = "&".join(f"{key}={quote(value, safe='/')}" for key, value in qualifiers if value)
    return f"{text}?{given}" if given else text
