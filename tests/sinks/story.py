"""Stories as a run's reporter gives them to its sinks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline_step.config import Config, Flags, load
from pipeline_step.model import Counts, Hold, Judged, Measurement, Outcome, Phase, Rollout, Seconds
from pipeline_step.run import Event, Look, Result
from pipeline_step.sinks import Story

BEGAN = 1_790_000_000.0
DIGEST = "sha256:" + "0b31b1c02ff458ad" * 4
IMAGE = f"registry.example:5000/acme/shop@{DIGEST}"
FILE = """
app: shop
production: {namespace: prod, service: shop}
traffic: {istio: {virtual_service: shop}}
"""
ENVIRON = {
    "PULL_NUMBER": "35",
    "PULL_PULL_SHA": "abcdef1",
    "REPO_OWNER": "acme",
    "REPO_NAME": "shop",
    "PIPELINE_STEP_RUN": "run-1",
    "PIPELINE_STEP_RUN_URL": "https://tekton.example/run-1",
    "PIPELINE_STEP_BY": "ada",
}


def config(text: str = FILE, **environ: str) -> Config:
    """The configuration of pull request 35 of acme/shop."""
    return load(Flags(file=Path("step.yaml")), {**ENVIRON, **environ}, text)


def event(kind: str, weight: int = 0, at: float = 0, reason: str = "because", **more: Any) -> Event:
    """`at` is in seconds after the beginning."""
    return Event(kind=kind, weight=weight, reason=reason, at=BEGAN + at, **more)


def look(weight: int, at: float, outcome: Outcome = Outcome.PASS, step: int = 0, **more: Any) -> Look:
    """What one judge says at a weight."""
    measurement = Measurement(
        gate="compare",
        outcome=outcome,
        reason="compare: thinking",
        value=0.25,
        stable=Counts(total=990, bad=1),
        preview=Counts(total=10, bad=2),
        judged=Judged(upper=0.6, suspicious=True, slo_proven=False, rate=12.5, staleness=Seconds(1)),
    )
    rollout = Rollout(
        preview=config().preview,
        run="run-1",
        by="ada",
        phase=more.pop("phase", Phase.BAKING),
        step=step,
        weight=weight,
        began=BEGAN,
        deadline=BEGAN + 3600,
        digest=DIGEST,
    )
    return Look(
        rollout=rollout, measurements=[measurement], decision=Hold("it bakes"), policy=config().policy, at=BEGAN + at
    )


def story(
    config: Config,
    events: Sequence[Event],
    *,
    looks: Sequence[Look] = (),
    end: Result | None = None,
    command: str = "rollout",
    fresh: Sequence[Event] | None = None,
    decisions: Mapping[str, int] | None = None,
) -> Story:
    """All of it is fresh where nothing else is said."""
    return Story(
        config=config,
        command=command,
        began=BEGAN,
        events=events,
        fresh=events if fresh is None else fresh,
        looks=looks,
        decisions=decisions or {},
        end=end,
        ended=max((event.at for event in events), default=BEGAN) if end else 0.0,
    )


PROMOTED = [
    event("shifted", 5, 10, sha="abcdef1", url="http://shop.pr"),
    event("shifted", 25, 70),
    event("promoting", 25, 130),
    event("promoted", 0, 150),
]
"""A rollout that goes well."""
DONE = Result(outcome="promoted", reason="production runs it")
