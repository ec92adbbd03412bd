"""Histories for tests and for the pictures in the docs.

The requests are simulated; the judge, the decisions and the words are the real ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from random import Random
from typing import Any

import msgspec

from pipeline_step.config import Config, Flags, load
from pipeline_step.decide import advanced, next_move
from pipeline_step.gates import compare
from pipeline_step.gates.increments import fingerprint
from pipeline_step.judge import Evidence, update
from pipeline_step.model import Advance, Counts, Measurement, Phase, Promote, Revert, Rollout, Stop
from pipeline_step.page.history import History
from pipeline_step.page.telling import looked, told, untold
from pipeline_step.run import Event, Look
from pipeline_step.sentence import sentence
from pipeline_step.simulate.traffic import Kind, Scenario, Traffic
from pipeline_step.verdict import verdict

BEGAN = 1_790_000_000.0
POLL = 5.0
SHA = "2f6e1c9a7b3d4850a1c2e3f4051627384950a6b7"
FILE = """
app: shop
production: {namespace: shop-production, service: shop, workload: deployment/shop}
preview: {namespace: "shop-pr-{number}", clone: true}
traffic: {istio: {virtual_service: shop}}
strategy: {steps: [1, 5, 25], bake: 2m, deadline: 20m}
gates:
- compare: {errors: {max_increase: 0.5pp}}
promote: {workload: {}}
"""


def configured(text: str = FILE, **environ: str) -> Config:
    flags = Flags(number=35, repository="acme/shop", by="ann", run="shop-35-rollout")
    return load(flags, {"GIT_TOKEN": "given", "PIPELINE_STEP_RUN_URL": "https://ci.example/runs/35", **environ}, text)


@dataclass
class Played:
    """A rollout on synthetic time, told as a run tells it."""

    scenario: Scenario
    config: Config
    seed: int = 1
    evidence: Evidence = field(default_factory=Evidence)

    def __post_init__(self) -> None:
        self.policy = self.config.policy
        self.source = Random(self.seed)
        self.traffic = Traffic(self.scenario, POLL, self.source)
        self.settings = self.config.gates["compare"][1]
        self.rules = compare.rules(self.settings, ())
        self.now = BEGAN
        self.rate = 0.0
        self.history = untold(self.config)
        weight = self.policy.steps[0].weight
        self.rollout = Rollout(
            preview=self.config.preview,
            run=self.config.run,
            by="ann",
            pull_request=35,
            sha=SHA,
            digest="sha256:" + "5e" * 32,
            url="http://shop.shop-pr-35.example",
            weight=weight,
            began=BEGAN,
            since=BEGAN,
            deadline=BEGAN + self.policy.deadline,
        )
        self.tell("shifted", weight, f"{self.rollout.url} runs {self.rollout.digest}")

    def tell(self, kind: str, weight: int, reason: str, measurements: list[Measurement] | None = None) -> None:
        event = Event(kind=kind, weight=weight, reason=reason, measurements=measurements or [], sha=SHA, at=self.now)
        self.history = told(self.history, event, self.config.gates)

    def pause(self, reason: str) -> None:
        self.rollout = replace(self.rollout, phase=Phase.PAUSED, paused_at=self.now, reason=reason)

    def measured(self) -> Measurement:
        """One window, as the compare gate weighs it."""
        windows = self.traffic.windows(self.now - BEGAN, self.rollout.weight, self.rules.metrics)
        self.evidence = update(self.rules, self.evidence, windows, self.rollout.weight)
        window = windows["errors"]
        self.rate = compare.smoothed(self.rate, (window.preview.total + window.stable.total) / POLL)
        result = verdict(self.rules, self.evidence)
        errors = result.metrics[0]
        counters: dict[str, Any] = {"of": fingerprint(self.settings), "evidence": msgspec.to_builtins(self.evidence)}
        return Measurement(
            gate="compare",
            outcome=compare.outcome(result),
            reason=f"compare: {sentence(result, seconds=self.now - BEGAN, weight=self.rollout.weight)}",
            preview=Counts(bad=errors.preview[0], total=errors.preview[1]),
            stable=Counts(bad=errors.stable[0], total=errors.stable[1]),
            counters=counters,
            judged=compare.known(result, self.rate, 0.0),
        )

    def look(self) -> bool:
        """Five seconds later: measure, decide, tell; whether it goes on."""
        self.now += POLL
        measurement = self.measured()
        self.rollout = replace(self.rollout, counters={"compare": measurement.counters})
        move = next_move(self.policy, self.rollout, [measurement], self.now)
        look = Look(rollout=self.rollout, measurements=[measurement], decision=move, policy=self.policy, at=self.now)
        self.history = looked(self.history, look, self.config.gates)
        match move:
            case Advance(step, weight, reason):
                self.rollout = advanced(self.rollout, step, weight, self.now)
                self.tell("shifted", weight, reason, [measurement])
            case Promote(reason):
                self.tell("promoting", self.rollout.weight, f"production gets shop@{self.rollout.digest}")
                self.now += 20
                self.tell("promoted", 0, f"production runs shop@{self.rollout.digest}, and all requests go to it")
                return False
            case Revert(reason, inconclusive):
                self.tell("inconclusive" if inconclusive else "reverted", 0, reason, [measurement])
                return False
            case Stop(reason, inconclusive):
                self.tell("unproven" if inconclusive else "held", self.rollout.weight, reason, [measurement])
                return False
        return True

    def until(self, done: Callable[[Played], bool] = lambda played: False) -> Played:
        while self.look() and not done(self):
            pass
        return self


@cache
def good() -> History:
    """On its way, and nothing is wrong."""
    scenario = Scenario(rps=120, failing=0.001)
    return Played(scenario, configured()).until(lambda one: one.now >= BEGAN + 315).history


@cache
def bad() -> History:
    """Some of the preview's requests fail from the second minute on."""
    scenario = Scenario(rps=120, failing=0.001, kind=Kind.LATE, rate=0.04, after=150)
    return Played(scenario, configured(), seed=3).until().history


@cache
def paused() -> History:
    """Somebody has paused it at the second step."""
    played = Played(Scenario(rps=60, failing=0.002), configured()).until(lambda one: one.now >= BEGAN + 200)
    played.pause("ann looks at the payments first")
    return played.until(lambda one: one.now >= BEGAN + 260).history


@cache
def inconclusive() -> History:
    """So few requests that nothing is proven before the deadline."""
    return Played(Scenario(rps=0.6, failing=0.01), configured()).until().history


@cache
def promoted() -> History:
    """Proven at the last step."""
    return Played(Scenario(rps=120, failing=0.001), configured()).until().history


HISTORIES: dict[str, Callable[[], History]] = {
    "good": good,
    "bad": bad,
    "paused": paused,
    "inconclusive": inconclusive,
    "promoted": promoted,
}
