"""Synthetic traffic: one stream of requests, split between stable and the preview, poll by poll."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

POLL = 5.0  # seconds


HORIZON = 3600.0


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One service: requests a second, and the share that fails on either side; the preview fails more from `onset`."""

    rps: float
    stable: float = 0.001
    preview: float = 0.001
    onset: float = 0.0


@dataclass(frozen=True)
class Counts:
    """(bad, total) of both sides in one or several poll windows."""

    preview_bad: int
    preview_total: int
    stable_bad: int
    stable_total: int


class Traffic:
    """An hour of poll windows; the same seed gives the same arrivals at any weight."""

    def __init__(self, scenario: Scenario, seed: tuple[int, ...]) -> None:
        self.scenario = scenario
        self.polls = 0
        self._arrivals = np.random.default_rng((*seed, 1)).poisson(scenario.rps * POLL, round(HORIZON / POLL))
        self._split = np.random.default_rng((*seed, 2))

    @property
    def time(self) -> float:
        """Seconds since the start."""
        return self.polls * POLL

    def window(self, weight: float) -> Counts:
        """The next poll window with `weight` percent of the requests on the preview."""
        total = int(self._arrivals[self.polls])
        rate = self._preview_rate(self.polls)
        self.polls += 1
        n_c = int(self._split.binomial(total, weight / 100.0))
        y_c = int(self._split.binomial(n_c, rate))
        return Counts(y_c, n_c, int(self._split.binomial(total - n_c, self.scenario.stable)), total - n_c)

    def minute(self, weight: float) -> Counts:
        """The next minute's poll windows together."""
        polls = range(self.polls, self.polls + round(60.0 / POLL))
        total = self._arrivals[polls.start : polls.stop]
        self.polls = polls.stop
        n_c = self._split.binomial(total, weight / 100.0)
        y_c = self._split.binomial(n_c, [self._preview_rate(poll) for poll in polls])
        y_b = self._split.binomial(total - n_c, self.scenario.stable)
        return Counts(int(y_c.sum()), int(n_c.sum()), int(y_b.sum()), int((total - n_c).sum()))

    def _preview_rate(self, poll: int) -> float:
        return self.scenario.preview if poll * POLL >= self.scenario.onset else self.scenario.stable
