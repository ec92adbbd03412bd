"""Sink: Kubernetes Events on the routed object: who asked what, on which commit, with which permission, and what became
of it. `kubectl describe` shows them; the API server forgets them after an hour, unless it is told otherwise.

https://kubernetes.io/docs/reference/kubernetes-api/cluster-resources/event-v1/
"""

from __future__ import annotations

import dataclasses
import secrets
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipeline_step import report
from pipeline_step.model import Object, Ref
from pipeline_step.scm import State

if TYPE_CHECKING:
    from pipeline_step.cluster import Cluster
    from pipeline_step.config import Config
    from pipeline_step.gates import Conversation
    from pipeline_step.run import Event
    from pipeline_step.sinks import Send, Story

EVERY = 0.0
CONTROLLER = "pipeline-step.dev/step"
LONGEST = 1024  # bytes of a note, set by the API server
PATIENCE = 5.0  # seconds for each; a cluster that is slow has better things to do
UNRECORDED = "preview"
"""The command whose account may write nothing in production's namespace."""


def connect(config: Config, conversation: Conversation | None) -> dict[str, Send]:
    """Every event of a run in every cluster. Nothing waits for it, and what can't be written is lost."""
    routed: dict[str, Object] = {}

    def send(story: Story) -> None:
        from pipeline_step.route import observe

        fresh = [event for event in story.fresh if event.kind not in ("ready", "deleted")]
        failure = story.failure
        if story.command == UNRECORDED or not story.clusters:
            return
        for event in [*fresh, *([failure] if failure else [])]:
            for context, cluster in story.clusters.items():
                if seen := event.on.get(context):
                    routed[context] = seen.routed
                if context not in routed:
                    routed[context] = observe(config.target, cluster.hurried(PATIENCE)).routed
                note(config, cluster, dataclasses.replace(event, sha=event.sha or story.sha), routed[context])

    return {"the cluster's events": send}


def note(config: Config, cluster: Cluster, event: Event, routed: Object) -> None:
    """Write one; raises `ClusterError`."""
    obj = record(config, event, routed)
    place = obj["metadata"]
    ref = Ref(group="events.k8s.io", resource="events", namespace=place["namespace"], name=place["name"])
    cluster.hurried(PATIENCE).create(ref, obj)


def record(config: Config, event: Event, routed: Object) -> Object:
    """Pure: the Event object for one transition on the routed object."""
    pull, about = config.pull, routed["metadata"]
    state = report.state(event)
    bad = event.kind in ("refused", "failed", "undoing") or state in (State.FAILURE, State.ERROR)
    asked = f"`{pull.asked}`" if pull.asked else "it"
    role = f" with the role {pull.role}" if pull.role else ""
    facts = [
        f"pull request {pull.number} {report.headline(event)}",
        f"{pull.by}{role} asked for {asked}",
        f"commit {event.sha or 'unknown'}",
        f"run {config.run}",
    ]
    stamp = int(event.at * 1e6)
    regarding = {
        "apiVersion": routed.get("apiVersion", ""),
        "kind": routed.get("kind", ""),
        "namespace": about.get("namespace", ""),
        "name": about["name"],
        "uid": about.get("uid", ""),
    }
    return {
        "kind": "Event",
        "metadata": {
            "name": f"{about['name'][:200]}.{stamp:x}{secrets.token_hex(3)}",
            "namespace": about.get("namespace") or config.target.stable.namespace,
        },
        "eventTime": datetime.fromtimestamp(event.at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": CONTROLLER,
        "reportingInstance": (config.run or "unknown")[:128],
        "action": (pull.asked.partition(" ")[0].lstrip("/") or event.kind).capitalize()[:128],
        "reason": event.kind.capitalize(),
        "regarding": {key: value for key, value in regarding.items() if value},
        "note": _cut(f"{'; '.join(facts)}: {event.reason}"),
        "type": "Warning" if bad else "Normal",
    }


def _cut(text: str) -> str:
    data = text.encode()
    return text if len(data) <= LONGEST else data[: LONGEST - 3].decode(errors="ignore") + "…"
