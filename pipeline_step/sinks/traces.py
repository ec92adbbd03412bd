"""Sink: one trace of the run by OTLP over HTTP, as JSON: a span for each phase, and in it one for each gate.

https://opentelemetry.io/docs/specs/otlp/#otlphttp, with the attributes of the semantic conventions for CI/CD. A span
is sent once it has ended, so that of a run that is killed there is what it got to.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipeline_step.errors import HttpError
from pipeline_step.model import Measurement
from pipeline_step.sinks.endings import Ending, ending

if TYPE_CHECKING:
    from pipeline_step.config import Config
    from pipeline_step.gates import Conversation
    from pipeline_step.run import Event, Look
    from pipeline_step.sinks import Send, Story

EVERY = 0.0
PATIENCE = 10.0  # seconds that one message may be repeated
PARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
PHASES = {
    "shifted": "step {weight} %",
    "resumed": "step {weight} %",
    "reasserted": "step {weight} %",
    "skipped": "step {weight} %",
    "paused": "paused at {weight} %",
    "promoting": "promotion",
    "waiting": "promotion",
    "returning": "way back from a promotion",
    "undoing": "production's previous image",
}
"""The spans that events begin, which last until the next event; other events end the rollout."""
RESULTS = {Ending.CANCEL: "cancellation"}
BAD = ("reverted", "inconclusive", "undoing")
Attributes = Mapping[str, str | int | float | bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A part of the run, times in seconds since 1970; `notes` are what happened in it: when, what, and attributes."""

    name: str
    parent: Span | None
    start: float
    end: float
    attributes: Attributes
    notes: Sequence[tuple[float, str, Attributes]] = ()
    error: str = field(default="")


def connect(config: Config, conversation: Conversation | None) -> dict[str, Send]:
    """Nothing where no receiver is configured, or the pipeline's own trace is not recorded."""
    telemetry = config.telemetry
    if not telemetry.traces:
        return {}
    parent = PARENT.fullmatch(telemetry.parent)
    if parent and not int(parent[3], 16) & 1:
        return {}
    from pipeline_step.http import Http

    secrets = telemetry.headers.values()
    http = Http(headers={telemetry.traces: telemetry.headers}, secrets=secrets, timeout=(2, 5), patience=PATIENCE)
    sent: set[str] = set()

    def send(story: Story) -> None:
        if not story.command:
            return
        ended = [encoded(span, story) for span in spans(story)]
        fresh = [span for span in ended if span["spanId"] not in sent]
        if not fresh:
            return
        message = {
            "resourceSpans": [{"resource": {"attributes": _pairs(_resource(config))}, "scopeSpans": [_scope(fresh)]}]
        }
        answer = http.request("POST", telemetry.traces, json=message, idempotent=True)
        sent.update(span["spanId"] for span in fresh)
        partial = answer.json().get("partialSuccess") if answer.text.startswith("{") else None
        if partial and int(partial.get("rejectedSpans") or 0):
            raise HttpError(
                f"{answer.url} rejected {partial['rejectedSpans']} spans: {partial.get('errorMessage', '')}"
            )

    return {"the traces": send}


def spans(story: Story) -> Iterator[Span]:
    """Pure: the parts of the run that have ended, and the run itself once it has."""
    root = _run(story)
    if story.end:
        yield root
    for event, following in zip(story.events, [*story.events[1:], None], strict=False):
        end = following.at if following else story.ended
        if event.kind not in PHASES or not end:
            continue
        phase = _phase(event, following, root, end)
        yield phase
        looks = [look for look in story.looks if event.at <= look.at < end or (following is None and look.at == end)]
        for gate in dict.fromkeys(measurement.gate for look in looks for measurement in look.measurements):
            yield _gate(gate, looks, phase)


def _run(story: Story) -> Span:
    config, pull = story.config, story.config.pull
    attributes = {
        "cicd.pipeline.task.name": story.command,
        "cicd.pipeline.task.run.id": config.run,
        "cicd.pipeline.task.run.url.full": config.provider.run_url,
        "deployment.environment.name": config.target.stable.namespace,
        "vcs.owner.name": pull.owner,
        "vcs.repository.name": pull.repo,
        "vcs.change.id": str(pull.number or ""),
        "vcs.ref.head.revision": story.sha,
        "pipeline_step.app": config.file.app,
        "pipeline_step.preview": str(config.preview),
        "pipeline_step.image": story.image,
        "pipeline_step.by": pull.by,
    }
    error = ""
    if story.end:
        how = ending(story.command, story.end)
        attributes["cicd.pipeline.task.run.result"] = RESULTS.get(how, how.value)
        attributes["pipeline_step.outcome"] = story.end.outcome
        error = story.end.reason if how in (Ending.FAILURE, Ending.ERROR) else ""
    notes = [(event.at, event.kind, _of_event(event)) for event in story.events]
    given = {key: value for key, value in attributes.items() if value}
    name = f"{story.command} {config.file.app}"
    return Span(name=name, parent=None, start=story.began, end=story.ended, attributes=given, notes=notes, error=error)


def _phase(event: Event, following: Event | None, root: Span, end: float) -> Span:
    error = following.reason if following and following.kind in BAD else ""
    name = PHASES[event.kind].format(weight=event.weight)
    return Span(name=name, parent=root, start=event.at, end=end, attributes=_of_event(event), error=error)


def _gate(gate: str, looks: Sequence[Look], phase: Span) -> Span:
    """What one gate said in a phase: its last words as attributes, and each change of its mind."""
    said = [(look.at, one) for look in looks for one in look.measurements if one.gate == gate]
    notes = [(at, one.outcome.value, {"pipeline_step.reason": one.reason}) for at, one in said]
    last = said[-1][1]
    attributes = {
        "pipeline_step.gate": gate,
        "pipeline_step.gate.outcome": last.outcome.value,
        "pipeline_step.reason": last.reason,
        **_counts(last),
    }
    error = last.reason if last.outcome.value == "fail" else ""
    changed = [
        note for before, note in zip([None, *notes], notes, strict=False) if before is None or before[1] != note[1]
    ]
    return Span(
        name=f"gate {gate}",
        parent=phase,
        start=said[0][0],
        end=phase.end,
        attributes=attributes,
        notes=changed,
        error=error,
    )


def _counts(measurement: Measurement) -> dict[str, float]:
    found = {"pipeline_step.gate.value": measurement.value} if measurement.value is not None else {}
    for side, counts in (("stable", measurement.stable), ("preview", measurement.preview)):
        if counts:
            found[f"pipeline_step.gate.{side}.requests"] = counts.total
            found[f"pipeline_step.gate.{side}.bad_requests"] = counts.bad
    return found


def _of_event(event: Event) -> Attributes:
    return {"pipeline_step.weight": event.weight, "pipeline_step.reason": event.reason}


def encoded(span: Span, story: Story) -> dict[str, Any]:
    """Pure: the span in OTLP's JSON. Ids follow from the run, so that a repeated message says the same."""
    parent = PARENT.fullmatch(story.config.telemetry.parent)
    trace = parent[1] if parent else _hash(32, story.config.run, story.began)
    above = _id(span.parent, trace) if span.parent else parent[2] if parent else ""
    return {
        "traceId": trace,
        "spanId": _id(span, trace),
        **({"parentSpanId": above} if above else {}),
        "name": span.name,
        "kind": 1,
        "startTimeUnixNano": _nanoseconds(span.start),
        "endTimeUnixNano": _nanoseconds(span.end),
        "attributes": _pairs(span.attributes),
        "events": [
            {"timeUnixNano": _nanoseconds(at), "name": name, "attributes": _pairs(attributes)}
            for at, name, attributes in span.notes
        ],
        "status": {"code": 2, "message": span.error} if span.error else {"code": 1},
    }


def _scope(encoded_spans: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"scope": {"name": "pipeline_step", "version": _version()}, "spans": encoded_spans}


def _resource(config: Config) -> Attributes:
    return {"service.name": "pipeline-step", "service.version": _version(), **config.telemetry.resource}


def _version() -> str:
    from importlib.metadata import version

    return version("pipeline-step")


def _id(span: Span, trace: str) -> str:
    return _hash(16, trace, span.parent.start if span.parent else 0.0, span.name, span.start)


def _hash(digits: int, *parts: object) -> str:
    return hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()[:digits]


def _nanoseconds(seconds: float) -> str:
    return str(round(seconds * 1e6) * 1000)


def _pairs(attributes: Attributes) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in attributes.items()]


def _value(value: str | float) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": value}
