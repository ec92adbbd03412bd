"""What stable's past is worth: whole rollouts as `simulate` plays them, with and without it, by the number of pods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec

from pipeline_step.gates import compare
from pipeline_step.model import OnMissing, Outcome, Policy, Ramp, Seconds
from pipeline_step.simulate.play import Strategy
from pipeline_step.simulate.summary import Interval, Summary, simulate
from pipeline_step.simulate.traffic import Kind, Scenario

PASTS = ("0s", "5m", "30m")
PODS = (1, 2, 6)
RATES = (100.0, 1000.0)
GOAL = 25.0  # seconds until 2 % of errors are gone

WORDS = """# What stable's past is worth to the judge

Written by `python -m benchmarks.judge past --runs {runs}`. {runs} rollouts a cell with `steps: auto` and its defaults
(harm budget 20, margin 0.5 pp), polls every 5 s without delay; stable fails 0.1 %. Failures come in bursts or not, and
only the counts of stable's own pods can tell: until they have, the judge assumes bursts of three. `past` is how much of
stable's history it has read before its first look, the same one for an eighth of the rollouts; `0s` is also what it
knows where pods are scraped directly, unless `past` has stable watched before the first shift.

Of a preview that fails 2 %: median time to the revert, failed requests on average with their 95 % interval. Of a
preview as good as stable: median time to the promotion, share reverted with its 95 % interval. Last, a preview no worse
whose failures and stable's come three at a time; with one pod there is nothing to tell that by.

| rps | pods of stable | past | 2 %: gone after | failed | good: promoted after | reverted | bursts: reverted |
|---:|---:|---|---:|---:|---:|---:|---:|
"""


def strategy(past: str) -> Strategy:
    """The defaults of `steps: auto` with this much of the past."""
    gate = msgspec.convert({"prometheus": {"url": "http://prometheus"}, "past": past}, compare.Settings)
    missing = dict.fromkeys((Outcome.NO_DATA, Outcome.TOO_LITTLE, Outcome.UNREACHABLE), OnMissing.HOLD)
    ramp = Ramp(harm_budget=20, max_weight=50, poll=Seconds(5))
    policy = Policy(steps=(), ramp=ramp, deadline=Seconds(1800), promote=True, missing=missing)
    return Strategy(policy=policy, gate=gate, poll=5.0)


def page(runs: int, done: Callable[[str], None]) -> str:
    """The whole Markdown page."""
    rows, missed = [], []
    for rps in RATES:
        for pods in PODS:
            for past in PASTS:
                bad = Scenario(rps=rps, pods=pods, kind=Kind.CONSTANT, rate=0.02)
                good, bursts = replace(bad, kind=Kind.NONE), replace(bad, kind=Kind.BURSTS, rate=0.001)
                found = simulate(strategy(past), [bad, good, bursts], runs, 1)
                rows.append(_row(found, past))
                if found[0].seconds(0.5) > GOAL and past == PASTS[-1]:
                    missed.append(f"{pods} pods at {rps:g} requests a second")
                done(rows[-1])
    verdict = f"**missed** with {', '.join(missed)}" if missed else "met with any number of pods"
    goal = f"\nGoal, 2 % gone in {GOAL:g} s at 100 requests a second and more: with 30 minutes of past {verdict}.\n"
    return WORDS.format(runs=runs) + "\n".join(rows) + "\n" + goal


def _row(found: list[Summary], past: str) -> str:
    bad, good, bursts = found
    harm = bad.harmed
    cells = (
        f"{bad.scenario.rps:g}",
        f"{bad.scenario.pods}",
        past,
        f"{bad.seconds(0.5):g} s",
        f"{harm.value:.1f} ±{harm.value - harm.low:.1f}",
        f"{good.seconds(0.5):g} s",
        _share(good),
        _share(bursts),
    )
    return f"| {' | '.join(cells)} |"


def _share(one: Summary) -> str:
    found = one.outcomes.get("reverted", Interval(0.0, 0.0, 3.84 / (len(one.played) + 3.84)))
    return f"{100 * found.value:.2g} % ({100 * found.low:.2g} to {100 * found.high:.2g})"
