"""Pure: what people and machines are told: lines, the commit status, tables, JSON, diffs; `sticky` has the comment."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import yaml

from pipeline_step import history
from pipeline_step.model import Change, Delete, Put, Target
from pipeline_step.route import Seen
from pipeline_step.run import Event, Result
from pipeline_step.scm import State

if TYPE_CHECKING:
    from pipeline_step.config import Pull

WORDS = {
    "heartbeat": "still takes {weight} %",
    "shifted": "takes {weight} % of production's requests",
    "resumed": "goes on at {weight} %",
    "reasserted": "was put back at {weight} %",
    "paused": "is paused at {weight} %",
    "skipped": "need not bake any longer at {weight} %",
    "promoting": "is being promoted",
    "waiting": "is being promoted, and waits",
    "undoing": "could not be promoted; production's previous image comes back",
    "promoted": "is production now",
    "unchanged": "is production already",
    "returning": "was promoted and is being taken back",
    "returned": "was promoted and has been taken back",
    "held": "is held at {weight} %",
    "unproven": "is held at {weight} %: no verdict in time",
    "reverted": "was reverted",
    "inconclusive": "was reverted: no verdict in time",
    "interrupted": "was stopped and reverted",
    "traffic_unknown": "may still have requests: it could not be confirmed that it has none",
    "superseded": "was ended by someone else or a newer commit",
    "broken": "ended in an error",
    "ready": "has a preview",
    "deleted": "has no preview any more",
    "refused": "was refused a command",
    "failed": "could not have its command done",
    "frozen": "had production frozen",
    "unfrozen": "had production's freeze lifted",
}
STATES = {
    "held": State.SUCCESS,
    "promoted": State.SUCCESS,
    "unchanged": State.SUCCESS,
    "returned": State.FAILURE,
    "unproven": State.FAILURE,
    "reverted": State.FAILURE,
    "inconclusive": State.FAILURE,
    "interrupted": State.ERROR,
    "superseded": State.ERROR,
    "broken": State.ERROR,
}
ICONS = {
    "ready": "🔗",
    "deleted": "🧹",
    "refused": history.REFUSED,
    "failed": history.REFUSED,
    "frozen": "❄️",
    "unfrozen": "🚦",
}
"""Events that say nothing of a rollout, and so leave the commit status as it is."""

HISTORIC = {"refused", "failed", "frozen", "unfrozen"}
"""Events that only add to the comment's history."""

QUIET = {"promoting", "undoing"}
"""Transitions that a line tells and the provider need not hear of: the next one follows at once."""


def headline(event: Event) -> str:
    """What happened, in a few words."""
    return WORDS[event.kind].format(weight=event.weight)


def line(event: Event, app: str, number: int, now: float) -> str:
    """One line of a log: time, weight, what happened and why."""
    clock = datetime.fromtimestamp(now, UTC).strftime("%H:%M:%S")
    return f"{clock}  {event.weight:3d} %  {app} #{number} {headline(event)}: {event.reason}"


def state(event: Event) -> State | None:
    """The commit status that goes with an event; None where it changes nothing."""
    return None if event.kind in ICONS else STATES.get(event.kind, State.PENDING)


def entry(event: Event, asker: str = "") -> str:
    """The event's line in the comment's history; `asker` is Markdown: who asked what, with which permission."""
    parts = [f"{headline(event)}: {escape(event.reason[:200])}", asker]
    parts += [f"commit {event.sha[:12]}"] if asker and event.sha else []
    return history.line(event.at, icon(event), " · ".join(filter(None, parts)))


def asker(pull: Pull) -> str:
    """Who asked what, with which permission, in Markdown."""
    role = f" ({pull.role})" if pull.role else ""
    return f"`{pull.asked}` by {escape(pull.by)}{role}" if pull.asked else f"by {escape(pull.by)}{role}"


def marker(app: str, number: int) -> str:
    """The hidden text by which the sticky comment is found again."""
    return f"<!-- pipeline-step:{app}:{number} -->"


def escape(text: str) -> str:
    """Text that users control, without Markdown, HTML or mentions taking effect."""
    text = re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", " ".join(text.split()).replace("&", "&amp;"))
    # A slash at the beginning would make a command of ours, with our own rights, out of someone's text.
    return re.sub(r"^([/=+-]|\d+[.)])", r"\\\1", text).replace("@", "@\u200b")


def icon(event: Event) -> str:
    """One character for how it stands."""
    icons = {State.SUCCESS: "✅", State.FAILURE: "❌", State.ERROR: "⚠️", State.PENDING: "🚦"}
    said = state(event)
    return ICONS[event.kind] if said is None else icons[said]


def status_table(target: Target, seen: dict[str, Seen]) -> str:
    """Who has which share, for a terminal."""
    rows = [("CLUSTER", "SIDE", "WEIGHT", "PHASE", "PULL REQUEST", "COMMIT", "BY")]
    for context, one in seen.items():
        for backend, weight in sorted(one.weights.items(), key=lambda item: -item[1]):
            rollout = one.rollouts.get(backend)
            recorded = (
                (rollout.phase.value, f"#{rollout.pull_request}", rollout.sha[:7], rollout.by)
                if rollout
                else ("stable" if backend == str(target.stable) else "", "", "", "")
            )
            rows.append((context or "current", backend, f"{weight} %", *recorded))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def status_json(target: Target, seen: dict[str, Seen]) -> str:
    """The same for machines: by cluster the weights and the recorded rollouts."""
    clusters = {
        context: {
            "weights": dict(one.weights),
            "rollouts": {
                key: {
                    "phase": rollout.phase.value,
                    "weight": rollout.weight,
                    "step": rollout.step,
                    "pull_request": rollout.pull_request,
                    "sha": rollout.sha,
                    "digest": rollout.digest,
                    "run": rollout.run,
                    "by": rollout.by,
                    "since": rollout.since,
                    "deadline": rollout.deadline,
                }
                for key, rollout in one.rollouts.items()
            },
        }
        for context, one in seen.items()
    }
    return json.dumps({"app": target.app, "stable": str(target.stable), "clusters": clusters}, indent=2)


def result_json(result: Result) -> str:
    """How a command ended, for machines."""
    fields = ("outcome", "reason", "weight", "digest", "sha", "url")
    return json.dumps({field: getattr(result, field) for field in fields} | {"exit": int(result.exit)})


def tekton_results(result: Result) -> dict[str, str]:
    """The results of a Task, by name; together they stay under the 4096 bytes that a pod may give."""
    return {
        "outcome": result.outcome,
        "weight": str(result.weight),
        "url": result.url[:400],
        "digest": result.digest,
        "reason": result.reason[:600],
    }


def diff(seen: Seen, changes: Sequence[Change]) -> str:
    """The planned writes as a unified diff of YAML; "" where nothing would change."""
    pieces: list[str] = []
    for change in changes:
        before = seen.objects.get(change.ref)
        after = change.object if isinstance(change, Put) else None
        name = str(change.ref)
        pieces += difflib.unified_diff(_yaml(before), _yaml(after), f"now: {name}", f"then: {name}", n=4)
        if isinstance(change, Delete):
            pieces.append(f"delete {name}\n")
    return "".join(pieces)


def _yaml(obj: object) -> list[str]:
    if not isinstance(obj, dict):
        return []
    shown = {**obj, "metadata": {k: v for k, v in obj["metadata"].items() if k != "managedFields"}}
    return yaml.safe_dump(shown, sort_keys=True).splitlines(keepends=True)
