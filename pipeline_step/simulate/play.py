"""One rollout on synthetic time: the real judge, the real decisions, and requests that nobody sent."""

from __future__ import annotations

import dataclasses
from collections import deque
from dataclasses import dataclass
from random import Random
from typing import assert_never

from pipeline_step.decide import advanced, first_weight, next_move
from pipeline_step.gates import compare, past
from pipeline_step.judge import Evidence, Window, update
from pipeline_step.judge import Policy as JudgePolicy
from pipeline_step.model import (
    Advance,
    Backend,
    Hold,
    Measurement,
    OnInconclusive,
    Policy,
    Promote,
    Revert,
    Rollout,
    Stop,
)
from pipeline_step.settings import seconds
from pipeline_step.simulate.traffic import EDGES, Kind, Scenario, Traffic
from pipeline_step.verdict import verdict

NOTHING = Evidence()
PREVIEW = Backend(service="preview", namespace="simulated")


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """What is tried: what `decide` follows, the gate, seconds between two looks, and how old the counters are."""

    policy: Policy
    gate: compare.Settings
    poll: float
    lag: float = 0.0

    @property
    def edges(self) -> tuple[float, ...]:
        """The bucket edges by which slowness is counted; none where it is not compared."""
        limit = compare.slow_from(self.gate)
        return () if limit is None else tuple(sorted({*EDGES, limit}))


@dataclass(frozen=True, kw_only=True, slots=True)
class Played:
    """How a rollout ended, after how many seconds, and how many of the preview's requests were bad.

    `weights` are (seconds, percentage) whenever that changed, from the first on.
    """

    outcome: str
    seconds: float
    harmed: int
    weights: tuple[tuple[float, int], ...]


def learnt(strategy: Strategy, scenario: Scenario, seed: int) -> Evidence:
    """What stable's past teaches the judge, read of a Prometheus server or watched."""
    rules, evidence = compare.rules(strategy.gate, strategy.edges), Evidence()
    if strategy.gate.prometheus is None:
        rules = compare.rules(strategy.gate, ())
    source = Random(seed)  # noqa: S311 (no secret)
    window = max(past.POLL, strategy.lag)
    usual = scenario if scenario.kind is Kind.BURSTS else dataclasses.replace(scenario, kind=Kind.NONE)
    traffic = Traffic(usual, window, source, source.random())
    for number in range(round(compare.past_of(strategy.gate) / window)):
        evidence = update(rules, evidence, traffic.windows(number * window, 0.0, rules.metrics), 0.0)
    return evidence


def play(strategy: Strategy, scenario: Scenario, seed: int, evidence: Evidence = NOTHING) -> Played:
    """One rollout from its first weight to its end; the same seed gives the same one.

    `evidence` is what the judge knows before, as `learnt` gives it.
    """
    source = Random(seed)  # noqa: S311 (no secret)
    traffic = Traffic(scenario, strategy.poll, source, source.random())
    policy, gate = strategy.policy, strategy.gate
    rules = compare.rules(gate, strategy.edges)
    rps = scenario.recorded.rate if scenario.recorded else scenario.rps
    weight = first_weight(policy, rps, strategy.lag)
    rollout = Rollout(preview=PREVIEW, run="", by="", weight=weight, deadline=policy.deadline)
    asked = policy.ramp is not None or policy.on_inconclusive is OnInconclusive.PROMOTE_IF_SLO  # nobody else does
    warm = seconds(gate.warmup) if gate.warmup else 0.0
    rate, harmed, now = 0.0, 0, 0.0
    unseen: deque[tuple[float, int, dict[str, Window]]] = deque()
    weights = [(0.0, weight)]
    while True:
        windows = traffic.windows(now, rollout.weight, rules.metrics)
        harmed += _harmed(scenario, rules, windows)
        now += strategy.poll
        unseen.append((now, rollout.weight, windows))
        while unseen and unseen[0][0] + strategy.lag <= now:
            seen_at, weight_then, seen = unseen.popleft()
            if seen_at > warm:
                evidence = update(rules, evidence, seen, weight_then)
            counted = seen[rules.metrics[0].name]
            rate = compare.smoothed(rate, (counted.preview.total + counted.stable.total) / strategy.poll)
        result = verdict(rules, evidence)
        measurement = Measurement(
            gate="compare",
            outcome=compare.outcome(result),
            reason="",
            judged=compare.known(result, rate, strategy.lag) if asked else None,
        )
        while isinstance(move := next_move(policy, rollout, [measurement], now), Advance):
            rollout = advanced(rollout, move.step, move.weight, now)
            weights.append((now, move.weight))
        if outcome := _outcome(move):
            return Played(outcome=outcome, seconds=now, harmed=harmed, weights=tuple(weights))


def _harmed(scenario: Scenario, rules: JudgePolicy, windows: dict[str, Window]) -> int:
    """The preview's requests that failed, or where it is slow those past the limit."""
    metric = next((m for m in rules.metrics if m.edges), None) if scenario.kind is Kind.LATENCY else None
    metric = metric or rules.metrics[0]
    return windows[metric.name].preview.bad[metric.decisive]


def _outcome(move: Hold | Promote | Stop | Revert) -> str:
    """How it ends, or "" where it does not."""
    match move:
        case Hold():
            return ""
        case Promote():
            return "promoted"
        case Stop():
            return "unproven" if move.inconclusive else "held"
        case Revert():
            return "inconclusive" if move.inconclusive else "reverted"
        case _:
            assert_never(move)
