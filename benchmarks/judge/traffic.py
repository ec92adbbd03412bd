"""Synthetic traffic: one stream of requests, split between stable and the preview, poll by poll."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

POLL = 5.0  # seconds


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What happens to one service. Rates are shares of requests, times seconds.

    `onset` is when the preview starts to fail more than stable; `rhythm` the relative swing of the request rate over
    `rhythm_period`; a share `shocks` of the windows has both sides fail at `shock_rate`; `burst` is how many failures
    come together on one pod (retry storms), with the mean rate unchanged; `pods` of stable share its requests.
    """

    rps: float
    stable: float = 0.001
    preview: float = 0.001
    onset: float = 0.0
    rhythm: float = 0.0
    rhythm_period: float = 3600.0
    shocks: float = 0.0
    shock_rate: float = 0.05
    burst: int = 1
    pods: int = 1


@dataclass(frozen=True)
class Counts:
    """One poll window: (bad, total) of both sides and, with several pods, of each of stable's pods."""

    preview_bad: int
    preview_total: int
    stable_bad: int
    stable_total: int
    stable_pods: tuple[tuple[int, int], ...] = ()


class Traffic:
    """A stream of poll windows; the same seed gives the same arrivals, rhythm and shocks at any weight."""

    def __init__(self, scenario: Scenario, seed: tuple[int, ...]) -> None:
        self.scenario = scenario
        self.time = 0.0
        self._arrivals = np.random.default_rng((*seed, 1))
        self._split = np.random.default_rng((*seed, 2))
        self._phase = float(self._arrivals.random())

    def window(self, weight: float) -> Counts:
        """The next poll window with `weight` percent of the requests on the preview."""
        s = self.scenario
        swing = 1.0 + s.rhythm * math.sin(2 * math.pi * (self.time / s.rhythm_period + self._phase))
        total = int(self._arrivals.poisson(s.rps * POLL * swing))
        shocked = bool(self._arrivals.random() < s.shocks)
        failing = self.time >= s.onset
        self.time += POLL
        n_c = int(self._split.binomial(total, weight / 100.0))
        n_b = total - n_c
        p_c = s.shock_rate if shocked else s.preview if failing else s.stable
        p_b = s.shock_rate if shocked else s.stable
        y_c = self._failures(n_c, p_c)
        if s.pods == 1:
            return Counts(y_c, n_c, self._failures(n_b, p_b), n_b)
        shares = self._split.multinomial(n_b, [1.0 / s.pods] * s.pods)
        pods = tuple((self._failures(int(n), p_b), int(n)) for n in shares)
        return Counts(y_c, n_c, sum(y for y, _ in pods), n_b, pods)

    def _failures(self, n: int, p: float) -> int:
        """Failures among n requests at mean rate p, in bursts."""
        size = self.scenario.burst
        if size == 1 or n < size:
            return int(self._split.binomial(n, p))
        return int(size * self._split.binomial(n // size, p) + self._split.binomial(n % size, p))
