"""This project's judge, driven as the step drives it: poll, fold, judge, set the next weight."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.judge.traffic import HORIZON, POLL, Counts, Scenario, Traffic
from pipeline_step.judge import Evidence, Metric, Policy, Side, Window, update
from pipeline_step.ramp import next_weight
from pipeline_step.verdict import verdict


@dataclass(frozen=True)
class Run:
    """How one rollout ended: the outcome, after how many seconds, and failed preview requests since the fault began."""

    outcome: str
    seconds: float
    harm: int


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Our judge's configuration; `budget` None keeps `weight` fixed, `promotes` False only looks for a revert."""

    weight: float = 10.0
    budget: float | None = None
    max_increase: float = 0.002
    promotes: bool = True
    lag: float = 0.0


def window_of(counts: Counts) -> Window:
    """The counts in the judge's own type."""
    return Window(Side(counts.preview_total, (counts.preview_bad,)), Side(counts.stable_total, (counts.stable_bad,)))


def run_ours(scenario: Scenario, setting: Setting, seed: tuple[int, ...]) -> Run:
    """One rollout until a verdict or an hour; polls see what is older than `setting.lag`."""
    metric = Metric(name="errors", max_increase=setting.max_increase)
    policy = Policy(metrics=(metric,))
    traffic = Traffic(scenario, seed)
    evidence, harm, delay = Evidence(), 0, POLL + setting.lag
    weight = setting.weight
    if setting.budget is not None:
        weight = next_weight(0.0, upper=1.0, suspicious=False, requests_per_second=scenario.rps, delay=delay,
                             harm_budget=setting.budget)  # fmt: skip
    unseen: list[tuple[Counts, float]] = []
    while traffic.time < HORIZON:
        failing = traffic.time >= scenario.onset
        counts = traffic.window(weight)
        harm += counts.preview_bad * failing
        unseen.append((counts, weight))
        if len(unseen) * POLL <= setting.lag:
            continue
        seen, weight_then = unseen.pop(0)
        evidence = update(policy, evidence, {"errors": window_of(seen)}, weight_then)
        result = verdict(policy, evidence)
        if result.outcome == "revert" or (result.outcome == "promote" and setting.promotes):
            return Run(result.outcome, traffic.time, harm)
        if setting.budget is not None:
            weight = next_weight(
                weight, upper=result.metrics[0].upper, suspicious=result.suspicious,
                requests_per_second=scenario.rps, delay=delay, harm_budget=setting.budget,
            )  # fmt: skip
    return Run("none", HORIZON, harm)
