"""Many rollouts of one cell, in parallel, and their summary with confidence intervals."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import Pool

from benchmarks.judge.ours import Run, Setting, run_ours
from benchmarks.judge.peers import Argo, Flagger, Kayenta, Minute
from benchmarks.judge.traffic import HORIZON, Scenario, Traffic

PEERS: dict[str, Callable[[], Flagger | Argo | Kayenta]] = {
    "Flagger": Flagger,
    "Argo Rollouts": Argo,
    "Kayenta": Kayenta,
}


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A peer's rule; `schedule` follows its own weights and promotes, else 10 % is held for an hour."""

    name: str
    schedule: bool = False


@dataclass(frozen=True)
class Job:
    """One cell: the same seed gives every judge the same arrivals."""

    judge: Peer | Setting
    scenario: Scenario
    runs: int
    seed: int


def run_peer(scenario: Scenario, peer: Peer, seed: tuple[int, ...]) -> Run:
    """One rollout judged by a peer, minute by minute."""
    rule, traffic, harm, weight = PEERS[peer.name](), Traffic(scenario, seed), 0, 10.0
    while traffic.time < HORIZON:
        failing = traffic.time >= scenario.onset
        counts = traffic.minute(weight)
        harm += counts.preview_bad * failing
        stable = (counts.stable_bad, counts.stable_total)
        outcome = rule.minute(Minute((counts.preview_bad, counts.preview_total), stable))
        if outcome == "revert" or (outcome == "promote" and peer.schedule):
            return Run(outcome, traffic.time, harm)
        if peer.schedule and isinstance(rule, Flagger):
            weight = rule.weight
    return Run("none", HORIZON, harm)


def _chunk(task: tuple[Job, int, int]) -> list[Run]:
    job, start, stop = task
    seeds = ((job.seed, index) for index in range(start, stop))
    if isinstance(job.judge, Peer):
        return [run_peer(job.scenario, job.judge, seed) for seed in seeds]
    return [run_ours(job.scenario, job.judge, seed) for seed in seeds]


@dataclass(frozen=True)
class Summary:
    """Means and shares over the runs of a cell."""

    runs: int
    harm: float
    harm_error: float
    seconds: dict[str, float]
    counts: dict[str, int]

    def share(self, outcome: str) -> tuple[float, float, float]:
        """The share of an outcome with its 95 % confidence interval (Wilson)."""
        n, k, z = self.runs, self.counts.get(outcome, 0), 1.959964
        centre, width = (k + z * z / 2) / (n + z * z), z / (n + z * z) * math.sqrt(k * (n - k) / n + z * z / 4)
        return k / n, max(0.0, centre - width), min(1.0, centre + width)

    @property
    def missed(self) -> float:
        """The share of runs that did not end in a revert."""
        return 1.0 - self.share("revert")[0]


def summarise(runs: list[Run]) -> Summary:
    harms = [run.harm for run in runs]
    counts = {outcome: sum(run.outcome == outcome for run in runs) for outcome in ("revert", "promote", "none")}
    seconds = {
        outcome: statistics.median(run.seconds for run in runs if run.outcome == outcome)
        for outcome, count in counts.items()
        if count
    }
    error = 1.96 * statistics.stdev(harms) / math.sqrt(len(harms))
    return Summary(len(runs), statistics.fmean(harms), error, seconds, counts)


def simulate(jobs: list[Job], processes: int, done: Callable[[int, Summary], None]) -> list[Summary]:
    """All cells, equal ones once; `done` hears of each as it is finished."""
    found: dict[Job, Summary] = {}
    with Pool(processes) as pool:
        for number, job in enumerate(jobs):
            if job not in found:
                size = max(1, math.ceil(job.runs / (processes * 4)))
                tasks = [(job, start, min(start + size, job.runs)) for start in range(0, job.runs, size)]
                found[job] = summarise([run for chunk in pool.imap(_chunk, tasks) for run in chunk])
            done(number, found[job])
    return [found[job] for job in jobs]
