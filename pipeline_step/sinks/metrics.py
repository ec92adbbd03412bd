"""Sink: the run's own metrics, pushed to a Prometheus Pushgateway, or written as a text file for the node exporter.

A run is short-lived, so it can't be scraped. Everything is of one rollout: app, namespace and pull request are the
Pushgateway's grouping key, so that the next run of the same replaces it. docs/telemetry.md lists the names.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from pipeline_step.errors import ConfigError
from pipeline_step.model import Measurement, Outcome, Phase

if TYPE_CHECKING:
    from prometheus_client import Metric

    from pipeline_step.config import Config
    from pipeline_step.gates import Conversation
    from pipeline_step.sinks import Send, Story

EVERY = 15.0
PATIENCE = 10.0  # seconds that one push may be repeated
OWN = ("rollout", "shift", "promote", "revert", "preview")  # others steer a rollout, whose own run tells of it
ENDED = "ended"
PHASES = {
    "paused": Phase.PAUSED.value,
    "held": Phase.HELD.value,
    "unproven": Phase.HELD.value,
    "promoting": Phase.PROMOTING.value,
    "undoing": Phase.PROMOTING.value,
    "waiting": Phase.PROMOTING.value,
    "returning": Phase.PROMOTING.value,
    **dict.fromkeys(
        ("promoted", "unchanged", "reverted", "inconclusive", "interrupted", "superseded", "returned", "deleted"), ENDED
    ),
}
"""The phase that an event leads to; baking where it is not listed."""


def connect(config: Config, conversation: Conversation | None) -> dict[str, Send]:
    """Everything is sent anew each time; nothing where neither a Pushgateway nor a file is configured."""
    url, file = config.telemetry.pushgateway, config.telemetry.metrics_file
    if not (url or file):
        return {}
    from pipeline_step.http import Http

    http = Http(timeout=(2, 5), patience=PATIENCE)

    def send(story: Story) -> None:
        if story.command not in OWN:
            return
        gone = any(event.kind == "deleted" for event in story.events)
        labels = subject(config)
        if file:
            path = file / f"pipeline_step_{'_'.join(labels.values())}.prom" if file.is_dir() else file
            write(path, None if gone else exposition(story))
        if url:
            group = "".join(f"/{name}/{quote(value, safe='')}" for name, value in labels.items())
            address = f"{url.rstrip('/')}/metrics/job/pipeline-step{group}"
            if gone:
                http.request("DELETE", address)
            else:
                http.request("PUT", address, body=exposition(story), headers={"Content-Type": "text/plain"})

    return {"the metrics": send}


def subject(config: Config) -> dict[str, str]:
    """The labels that every metric has."""
    return {
        "app": config.file.app,
        "namespace": config.target.stable.namespace,
        "pull_request": str(config.pull.number),
    }


def write(path: Path, text: bytes | None) -> None:
    """Replace the file in one go, or remove it; raises `ConfigError` where that is not possible."""
    try:
        if text is None:
            path.unlink(missing_ok=True)
            return
        part = path.with_name(f".{path.name}.part")
        part.write_bytes(text)
        part.chmod(0o644)
        part.replace(path)
    except OSError as error:
        raise ConfigError(f"PIPELINE_STEP_METRICS_FILE: {path} can't be written: {error.strerror}") from error


def exposition(story: Story) -> bytes:
    """Pure: all metrics in Prometheus' text format."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.registry import Collector

    class Told(Collector):
        def collect(self) -> Iterator[Metric]:
            return collect(story)

    registry = CollectorRegistry()
    registry.register(Told())
    return generate_latest(registry)


def collect(story: Story) -> Iterator[Metric]:
    """Pure: what is known of the run now."""
    told = _Told(subject(story.config))
    pull = story.config.pull
    told.gauge(
        "info",
        "Which run this is of; always 1.",
        1,
        run=story.config.run,
        command=story.command,
        repository=f"{pull.owner}/{pull.repo}" if pull.owner else "",
        sha=story.sha,
        service=story.config.target.stable.service,
        preview_namespace=story.config.preview.namespace,
        preview_service=story.config.preview.service,
    )
    weight = story.events[-1].weight if story.events else 0
    for side, share in (("stable", 100 - weight), ("preview", weight)):
        told.gauge(
            "traffic_ratio", "Share of production's requests that each side is given, 0 to 1.", share / 100, side=side
        )
    phase = _phase(story)
    for each in (*(phase.value for phase in Phase), ENDED):
        told.gauge("phase", "1 for the phase that the rollout is in, 0 for the others.", each == phase, phase=each)
    told.gauge("started_timestamp_seconds", "When the run began.", story.began)
    if story.events:
        told.gauge("event_timestamp_seconds", "When the newest event was.", story.events[-1].at)
    for kind in dict.fromkeys(event.kind for event in story.events):
        count = sum(event.kind == kind for event in story.events)
        told.counter("events", "Transitions of this run.", count, event=kind)
    for decision, count in story.decisions.items():
        told.counter("decisions", "What followed from each look at the gates.", count, decision=decision)
    if story.looks:
        look = story.looks[-1]
        told.gauge("step", "The strategy's step that the rollout is at, from 0.", look.rollout.step)
        told.gauge(
            "deadline_timestamp_seconds", "When it has to be proven.", look.rollout.deadline + look.rollout.paused
        )
    for measurement in story.looks[-1].measurements if story.looks else ():
        _gate(told, measurement)
    if story.end:
        told.gauge("ended_timestamp_seconds", "When the run ended.", story.ended)
        told.gauge("duration_seconds", "How long the run took.", story.ended - story.began)
        told.gauge("outcome", "How the run ended; always 1.", 1, outcome=story.end.outcome)
    return iter(told.metrics.values())


def _phase(story: Story) -> str:
    event, look = (story.events or (None,))[-1], (story.looks or (None,))[-1]
    if look and (event is None or look.at > event.at):
        return look.rollout.phase.value
    return PHASES.get(event.kind, Phase.BAKING.value) if event else ENDED


def _gate(told: _Told, measurement: Measurement) -> None:
    gate = measurement.gate
    for outcome in Outcome:
        help_text = "1 for what the gate says, 0 for the rest."
        told.gauge("gate_outcome", help_text, outcome is measurement.outcome, gate=gate, outcome=outcome.value)
    if measurement.value is not None:
        told.gauge(
            "gate_value", "The value that the gate judges, in the unit of its query.", measurement.value, gate=gate
        )
    for side, counts in (("stable", measurement.stable), ("preview", measurement.preview)):
        if counts:
            told.gauge("gate_requests", "Requests that the gate has counted.", counts.total, gate=gate, side=side)
            told.gauge("gate_bad_requests", "Of these, the bad ones.", counts.bad, gate=gate, side=side)
    if judged := measurement.judged:
        bound = "What the preview's ratio of bad requests is below, by the evidence so far."
        told.gauge("gate_bad_ratio_upper_bound", bound, judged.upper, gate=gate)
        told.gauge("gate_suspicious", "1 while there is evidence against the preview.", judged.suspicious, gate=gate)
        told.gauge("gate_requests_per_second", "Requests of both sides.", judged.rate, gate=gate)


class _Told:
    """Metrics by name, in the order in which they were given; each may have several samples."""

    def __init__(self, labels: dict[str, str]) -> None:
        self.metrics: dict[str, Metric] = {}
        self._labels = labels

    def gauge(self, name: str, help_text: str, value: float, **labels: str) -> None:
        """A value that may go either way."""
        self._sample(f"pipeline_step_{name}", help_text, "gauge", "", value, labels)

    def counter(self, name: str, help_text: str, value: float, **labels: str) -> None:
        """A count of this run."""
        self._sample(f"pipeline_step_{name}", help_text, "counter", "_total", value, labels)

    def _sample(self, name: str, help_text: str, kind: str, suffix: str, value: float, labels: dict[str, str]) -> None:
        from prometheus_client import Metric

        metric = self.metrics.setdefault(name, Metric(name, help_text, kind))
        metric.add_sample(name + suffix, {**self._labels, **labels}, float(value))
