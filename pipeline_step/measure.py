"""Asking all gates side by side."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pipeline_step.gates import GATES, Sources, Subject
from pipeline_step.model import Measurement, Rollout
from pipeline_step.run import Run
from pipeline_step.traffic.audience import share_of_requests

PATIENCE = 3.0  # seconds that a gate may repeat a request while traffic is shifted


def measure(run: Run, rollout: Rollout, counters: Mapping[str, Mapping[str, Any]]) -> list[Measurement]:
    """What every gate says now, in the order of the configuration; `counters` are what each said to keep, by name."""
    gates = run.config.gates
    if not gates:
        return []
    subject = Subject(
        stable=run.target.stable,
        preview=run.preview,
        weight=rollout.weight,
        share=share_of_requests(run.target.route, rollout.weight),
        began=rollout.since,
        now=run.clock.time(),
    )
    hurried = {context: cluster.hurried(PATIENCE) for context, cluster in run.clusters.items()}
    sources = Sources(clusters=hurried, http=run.http, conversation=run.conversation)

    def ask(name: str, kind: str, settings: Any) -> Measurement:
        return GATES[kind].measure(name, settings, subject, sources, counters.get(name, {}))

    with ThreadPoolExecutor(max_workers=len(gates)) as pool:
        asked = [pool.submit(ask, name, kind, settings) for name, (kind, settings) in gates.items()]
    return [answer.result() for answer in asked]
