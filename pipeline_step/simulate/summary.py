"""Many rollouts of one scenario, side by side on all processors, and what they cost, with confidence intervals."""

from __future__ import annotations

import math
import multiprocessing
import os
import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from pipeline_step.simulate.play import Played, Strategy, learnt, play
from pipeline_step.simulate.traffic import Scenario

OUTCOMES = ("promoted", "held", "reverted", "inconclusive", "unproven")
Z = 1.959964  # of a 95 % interval
Number = TypeVar("Number", int, float)
WORTHWHILE = 200  # rollouts from which on other processes are worth their start


@dataclass(frozen=True)
class Interval:
    """An estimate and the 95 % confidence interval around it."""

    value: float
    low: float
    high: float


def share(count: int, of: int) -> Interval:
    """A share with its Wilson interval."""
    if not of:
        return Interval(0.0, 0.0, 1.0)
    centre = (count + Z * Z / 2) / (of + Z * Z)
    width = Z / (of + Z * Z) * math.sqrt(count * (of - count) / of + Z * Z / 4)
    return Interval(count / of, max(0.0, centre - width), min(1.0, centre + width))


@dataclass(frozen=True)
class Summary:
    """All rollouts of a scenario."""

    scenario: Scenario
    played: tuple[Played, ...]

    @cached_property
    def outcomes(self) -> dict[str, Interval]:
        """The chance of each outcome that occurred."""
        counts = {name: sum(one.outcome == name for one in self.played) for name in OUTCOMES}
        return {name: share(count, len(self.played)) for name, count in counts.items() if count}

    @cached_property
    def harmed(self) -> Interval:
        """The preview's failed (or slow) requests in a rollout, on average."""
        counts = [one.harmed for one in self.played]
        mean = statistics.fmean(counts)
        width = Z * statistics.stdev(counts) / math.sqrt(len(counts)) if len(counts) > 1 else 0.0
        return Interval(mean, max(0.0, mean - width), mean + width)

    def harmed_at_most(self, part: float) -> int:
        """So many requests in this part of the rollouts, such as 0.95."""
        return _quantile([one.harmed for one in self.played], part)

    def seconds(self, part: float) -> float:
        """How long the rollout takes at most in this part of them."""
        return _quantile([one.seconds for one in self.played], part)

    def ended(self, time: float) -> float:
        """The share of the rollouts that are over by then."""
        return sum(one.seconds <= time for one in self.played) / len(self.played)

    def weight(self, time: float) -> float:
        """The preview's average percentage then; none once it is reverted, all once it is promoted."""
        return statistics.fmean(_weight(one, time) for one in self.played)


def _weight(one: Played, time: float) -> float:
    if time >= one.seconds and one.outcome in ("reverted", "inconclusive"):
        return 0.0
    if time >= one.seconds and one.outcome == "promoted":
        return 100.0
    return next(weight for since, weight in reversed(one.weights) if since <= time)


def _quantile(values: Sequence[Number], part: float) -> Number:
    return sorted(values)[min(len(values) - 1, math.ceil(part * len(values)) - 1)]


def simulate(strategy: Strategy, scenarios: Sequence[Scenario], runs: int, seed: int) -> list[Summary]:
    """`runs` rollouts of each scenario; the same seed gives the same ones, on however many processors."""
    tasks = list(_tasks(strategy, scenarios, runs, seed))
    workers = min(os.cpu_count() or 1, len(tasks))
    if runs * len(scenarios) < WORTHWHILE or workers < 2:
        chunks = [_chunk(task) for task in tasks]
    else:
        # Processes that begin anew, so that no thread's lock is copied.
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            chunks = list(pool.map(_chunk, tasks))
    size = len(tasks) // len(scenarios)
    return [
        Summary(scenario, tuple(one for chunk in chunks[index * size : (index + 1) * size] for one in chunk))
        for index, scenario in enumerate(scenarios)
    ]


Task = tuple[Strategy, Scenario, range]


def _tasks(strategy: Strategy, scenarios: Sequence[Scenario], runs: int, seed: int) -> Iterator[Task]:
    """Each scenario's rollouts in as many pieces."""
    size = max(1, math.ceil(runs / 8))
    for scenario in scenarios:
        for start in range(0, runs, size):
            yield strategy, scenario, range(seed + start, seed + min(start + size, runs))


def _chunk(task: Task) -> list[Played]:
    strategy, scenario, seeds = task
    evidence = learnt(strategy, scenario, seeds.start)
    return [play(strategy, scenario, number, evidence) for number in seeds]
