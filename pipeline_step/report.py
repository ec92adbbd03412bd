"""Pure: what people and machines are told: lines, the commit status, the sticky comment, tables, JSON, diffs."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import yaml

from pipeline_step.model import Change, Delete, Measurement, Outcome, Put, Target
from pipeline_step.route import Seen
from pipeline_step.run import Event, Result
from pipeline_step.scm import State

WORDS = {
    "heartbeat": "still takes {weight} %",
    "shifted": "takes {weight} % of production's requests",
    "resumed": "goes on at {weight} %",
    "reasserted": "was put back at {weight} %",
    "paused": "is paused at {weight} %",
    "skipped": "need not bake any longer at {weight} %",
    "promoting": "is being promoted",
    "undoing": "could not be promoted; production's previous image comes back",
    "promoted": "is production now",
    "unchanged": "is production already",
    "held": "is held at {weight} %",
    "unproven": "is held at {weight} %: no verdict in time",
    "reverted": "was reverted",
    "inconclusive": "was reverted: no verdict in time",
    "interrupted": "was stopped and reverted",
    "deleted": "has no preview any more",
    "superseded": "was ended by someone else or a newer commit",
}
STATES = {
    "held": State.SUCCESS,
    "promoted": State.SUCCESS,
    "unchanged": State.SUCCESS,
    "unproven": State.FAILURE,
    "reverted": State.FAILURE,
    "inconclusive": State.FAILURE,
    "interrupted": State.ERROR,
    "superseded": State.ERROR,
}
QUIET = {"promoting", "undoing", "deleted"}
"""Transitions that a line tells and the provider need not hear of."""

MARKS = {Outcome.PASS: "pass", Outcome.FAIL: "**fail**"}


def headline(event: Event) -> str:
    """What happened, in a few words."""
    return WORDS[event.kind].format(weight=event.weight)


def line(event: Event, app: str, number: int, now: float) -> str:
    """One line of a log: time, weight, what happened and why."""
    clock = datetime.fromtimestamp(now, UTC).strftime("%H:%M:%S")
    return f"{clock}  {event.weight:3d} %  {app} #{number} {headline(event)}: {event.reason}"


def state(event: Event) -> State:
    """The commit status that goes with an event."""
    return STATES.get(event.kind, State.PENDING)


def marker(app: str, number: int) -> str:
    """The hidden text by which the sticky comment is found again."""
    return f"<!-- pipeline-step:{app}:{number} -->"


def comment(
    app: str, number: int, events: Sequence[Event], run_url: str, *, limit: int = 65_536, html: bool = True
) -> str:
    """The sticky comment in Markdown: outcome first, then the shares, the gates, what to do, and the history.

    It has at most `limit` characters: the oldest part of the history goes first. Without `html` it is not folded.
    """
    last = events[-1]
    parts = [
        marker(app, number),
        f"### {_icon(last)} {escape(app)}: this pull request {headline(last)}",
        escape(last.reason),
        f"| production | this pull request |\n|---:|---:|\n| {100 - last.weight} % | {last.weight} % |\n\n"
        f"`{_bar(last.weight)}`",
    ]
    if last.measurements:
        parts.append(_gates(last.measurements))
    if last.kind not in STATES or last.weight:
        parts.append("To stop it at once, comment `/revert`.")
    url = next((event.url for event in reversed(events) if event.url), "")
    links = [f"[{text}]({target})" for text, target in (("Preview", url), ("Pipeline run", run_url)) if target]
    if links:
        parts.append(" · ".join(links))
    before, after = ("<details><summary>History</summary>\n\n", "\n\n</details>") if html else ("**History**\n\n", "")
    left = limit - len("\n\n".join([*parts, before + after]))
    history: list[str] = []
    for event in reversed(events):
        entry = f"- {headline(event)}: {escape(event.reason)}"
        left -= len(entry) + 1
        if left < 0:
            break
        history.insert(0, entry)
    parts.append(before + "\n".join(history) + after)
    return "\n\n".join(parts)[:limit]


def escape(text: str) -> str:
    """Text that users control, without Markdown, HTML or mentions taking effect."""
    text = re.sub(r"([\\`*_{}\[\]<>|#~])", r"\\\1", text.replace("&", "&amp;"))
    return text.replace("@", "@\u200b").replace("\n", " ")


def _icon(event: Event) -> str:
    icons = {State.SUCCESS: "✅", State.FAILURE: "❌", State.ERROR: "⚠️", State.PENDING: "🚦"}
    return icons[state(event)]


def _bar(weight: int, width: int = 40) -> str:
    filled = max(1, round(weight * width / 100)) if weight else 0
    return "█" * filled + "░" * (width - filled)


def _gates(measurements: Iterable[Measurement]) -> str:
    rows = [
        f"| {escape(m.gate)} | {MARKS.get(m.outcome, m.outcome.value.replace('_', ' '))} | {escape(m.reason)} |"
        for m in measurements
    ]
    return "\n".join(["| gate | says | why |", "|---|---|---|", *rows])


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
