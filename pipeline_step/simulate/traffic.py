"""Requests of both sides, window by window: a steady stream or a recorded one, and what is wrong with the preview."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from random import Random

from pipeline_step.judge import Metric, Side, Window
from pipeline_step.simulate.sampling import binomial, poisson

BURST = 3  # requests that fail together
MEDIAN, SPREAD = 0.08, 0.6  # seconds that an answer takes: log-normal, as services' times about are
EDGES = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)  # most clients' buckets


class Kind(Enum):
    """What is wrong with the preview, or with everything."""

    NONE = "none"
    CONSTANT = "constant"
    AT_START = "at-start"
    LATE = "late"
    LATENCY = "latency"
    BURSTS = "bursts"
    OUTAGE = "outage"
    SHARED = "shared"


WORDS = {
    Kind.NONE: "as good as stable",
    Kind.CONSTANT: "{rate} fail",
    Kind.AT_START: "{rate} fail until {after}",
    Kind.LATE: "{rate} fail from {after}",
    Kind.LATENCY: "answers take {slower:g} times as long",
    Kind.BURSTS: "{rate} fail, three at a time",
    Kind.OUTAGE: "all fail",
    Kind.SHARED: "{rate} of both sides fail for a minute from {after}",
}


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What stable served in windows of `seconds` each: (bad, requests), replayed from a random one on, in a circle."""

    seconds: float
    windows: tuple[tuple[int, int], ...]

    @property
    def rate(self) -> float:
        """Requests a second on average."""
        return sum(total for _, total in self.windows) / (self.seconds * len(self.windows))

    @property
    def failing(self) -> float:
        """The share that fails on average."""
        return sum(bad for bad, _ in self.windows) / max(1, sum(total for _, total in self.windows))


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A service and a preview: `rps` requests a second of both, stable's failing share, and the preview's fault.

    `rate` is the share that fails where something does, `after` seconds since the rollout began, `slower` the factor
    on the time that the preview takes. `pods` share stable's requests.
    """

    rps: float
    failing: float = 0.001
    kind: Kind = Kind.NONE
    rate: float = 0.02
    after: float = 120.0
    slower: float = 2.0
    pods: int = 2
    recorded: Recorded | None = None

    @property
    def words(self) -> str:
        """The fault, for people."""
        minutes = f"{self.after / 60:g} min" if self.after >= 60 else f"{self.after:g} s"
        return WORDS[self.kind].format(rate=f"{100 * self.rate:g} %", after=minutes, slower=self.slower)

    def failing_at(self, time: float, failing: float) -> tuple[float, float]:
        """The shares of the preview's and of stable's requests that fail, where `failing` of stable's usually do."""
        worse = max(failing, self.rate)
        match self.kind:
            case Kind.CONSTANT | Kind.BURSTS:
                return worse, failing
            case Kind.AT_START:
                return (worse if time < self.after else failing), failing
            case Kind.LATE:
                return (worse if time >= self.after else failing), failing
            case Kind.OUTAGE:
                return 1.0, failing
            case Kind.SHARED if self.after <= time < self.after + 60.0:
                return worse, worse
        return failing, failing


def slower_than(seconds: float, factor: float) -> float:
    """The share of answers that take longer than this, where all take `factor` times the usual time."""
    return 0.5 * math.erfc(math.log(seconds / (MEDIAN * factor)) / (SPREAD * math.sqrt(2.0)))


@dataclass(frozen=True)
class Traffic:
    """The stream of one rollout; every window is drawn anew, by the weight that was in force.

    `offset` is where a recording begins, as a share of it.
    """

    scenario: Scenario
    poll: float
    source: Random
    offset: float = 0.0

    def windows(self, time: float, weight: float, metrics: tuple[Metric, ...]) -> dict[str, Window]:
        """What both sides counted in the window that begins at `time`, for each metric."""
        scenario = self.scenario
        total, usual = self._arrivals(time)
        bad_c, bad_b = scenario.failing_at(time, usual)
        n_c = binomial(self.source, total, weight / 100.0)
        y_c = self._failed(n_c, bad_c)
        pods = []
        left = total - n_c
        for others in range(scenario.pods, 0, -1):
            served = binomial(self.source, left, 1.0 / others)
            pods.append((self._failed(served, bad_b), served))
            left -= served
        found = {}
        for metric in metrics:
            if metric.edges:
                found[metric.name] = self._timed(metric, n_c, [served for _, served in pods])
            else:
                stable = Side(total - n_c, (sum(bad for bad, _ in pods),))
                found[metric.name] = Window(Side(n_c, (y_c,)), stable, tuple(pods))
        return found

    def _arrivals(self, time: float) -> tuple[int, float]:
        """Requests of both sides, and the share that fails where nothing is wrong."""
        recorded = self.scenario.recorded
        if recorded is None:
            return poisson(self.source, self.scenario.rps * self.poll), self.scenario.failing
        at = int(time / recorded.seconds + self.offset * len(recorded.windows)) % len(recorded.windows)
        bad, total = recorded.windows[at]
        share = self.poll / recorded.seconds
        return poisson(self.source, total * share), bad / total if total else 0.0

    def _failed(self, requests: int, share: float) -> int:
        if self.scenario.kind is not Kind.BURSTS:
            return binomial(self.source, requests, share)
        return min(requests, BURST * binomial(self.source, round(requests / BURST), share))

    def _timed(self, metric: Metric, n_c: int, served: list[int]) -> Window:
        factor = self.scenario.slower if self.scenario.kind is Kind.LATENCY else 1.0
        pods = [self._slow(metric.edges, n, 1.0) for n in served]
        stable = tuple(sum(column) for column in zip(*pods, strict=True))
        decisive = tuple((slow[metric.decisive], n) for slow, n in zip(pods, served, strict=True))
        return Window(Side(n_c, self._slow(metric.edges, n_c, factor)), Side(sum(served), stable), decisive)

    def _slow(self, edges: tuple[float, ...], n: int, factor: float) -> tuple[int, ...]:
        """How many of `n` take longer than each edge: each count from the one before."""
        counts, before = [], 1.0
        for edge in edges:
            share = slower_than(edge, factor)
            n = binomial(self.source, n, min(1.0, share / before)) if before else 0
            counts.append(n)
            before = share
        return tuple(counts)
