"""How often the judge is wrong: many rollouts side by side in numpy, held to the real judge on some of them.

Every rollout is watched to the end whatever it says before, so that a share counts every rollout that would ever have
been reverted (promoted): what alpha and beta bound. The projection is found by bisection here, by Newton's method in
pipeline_step.stats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.judge.traffic import POLL
from pipeline_step import judge, stats
from pipeline_step.judge import Evidence, Metric, Policy, Side, Window, log_revert, update

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
ODDS = np.array([odds for odds, _ in judge.ERROR_ODDS])
LOG_WEIGHTS = np.log(np.array([weight for _, weight in judge.ERROR_ODDS]))
POLLS_A_MINUTE = round(60.0 / POLL)
CHECKED = 20  # rollouts that the real judge repeats


@dataclass(frozen=True, kw_only=True)
class Case:
    """Traffic whose preview fails `excess` more than stable in every window.

    `rhythm` swings the request rate and `drift` both sides' failure rates, relative and once in `period` seconds; a
    share `shocks` of the windows has stable fail at `shock_rate`; `burst` failures come together on one of stable's
    `pods`; `before` polls of stable come first; `weights` are the percentages gone through, a minute each.
    """

    name: str
    rps: float = 100.0
    rate: float = 0.001
    excess: float = 0.0
    rhythm: float = 0.0
    drift: float = 0.0
    period: float = 900.0
    shocks: float = 0.0
    shock_rate: float = 0.05
    burst: int = 1
    pods: int = 1
    before: int = 0
    weights: tuple[float, ...] = (10.0,)

    def weight(self, poll: int) -> float:
        """The percentage in force during a poll; none before the first."""
        return self.weights[poll // POLLS_A_MINUTE % len(self.weights)] if poll >= 0 else 0.0


@dataclass(frozen=True)
class Poll:
    """Counts of all rollouts in one poll; `each` is stable's pods, (bad, total) arrays."""

    y_c: Ints
    n_c: Ints
    y_b: Ints
    n_b: Ints
    each: tuple[tuple[Ints, Ints], ...]


class Stream:
    """The traffic of all rollouts of a case."""

    def __init__(self, case: Case, runs: int, seed: int) -> None:
        self.case, self.runs, self.rng = case, runs, np.random.default_rng(seed)
        self.phase = self.rng.random(runs)

    def poll(self, number: int) -> Poll:
        case, rng = self.case, self.rng
        wave = np.sin(2 * np.pi * (number * POLL / case.period + self.phase))
        total = rng.poisson(case.rps * POLL * (1 + case.rhythm * wave))
        base = case.rate * (1 + case.drift * wave)
        base = np.where(rng.random(self.runs) < case.shocks, case.shock_rate, base)
        n_c = rng.binomial(total, case.weight(number) / 100.0)
        y_c = self._failures(n_c, np.minimum(base + case.excess, 1.0))
        n_b = total - n_c
        parts = [n_b // case.pods] * (case.pods - 1)
        parts.append(n_b - sum(parts, np.zeros_like(n_b)))
        each = tuple((self._failures(part, base), part) for part in parts)
        return Poll(y_c, n_c, sum((y for y, _ in each), np.zeros_like(n_b)), n_b, each)

    def _failures(self, n: Ints, p: Floats) -> Ints:
        size = self.case.burst
        if size == 1:
            return self.rng.binomial(n, p)
        return size * self.rng.binomial(n // size, p) + self.rng.binomial(n % size, p)


class Judges:
    """The errors metric of the judge for many rollouts at once."""

    def __init__(self, policy: Policy, runs: int) -> None:
        self.policy, self.margin = policy, policy.metrics[0].max_increase
        self.recent = np.zeros((2, runs))  # stable's bad and total
        self.preview = np.zeros((2, runs))
        self.products = np.full((len(ODDS), runs), -np.inf)
        self.promote = np.zeros(runs)
        self.x2, self.df, self.windows = np.zeros(runs), np.zeros(runs), np.zeros(runs, dtype=np.int64)

    def update(self, poll: Poll) -> None:
        assumed = self.policy.assumed_phi if len(poll.each) > 1 else 1.0
        phi = np.maximum(1.0, (self.x2 + stats.PHI_PRIOR * assumed) / (self.df + stats.PHI_PRIOR))
        seen = poll.n_c > 0
        bad, total = judge.ERROR_PRIOR
        a_b = (self.recent[0] + bad) / (self.recent[1] + total)
        start = np.array(
            [stats.log_onset_mass(int(t), self.policy.onset_hazard) for t in range(self.windows.max() + 1)]
        )
        a_c = ODDS[:, None] * a_b / (1 - a_b + ODDS[:, None] * a_b)
        pooled = (poll.n_c * a_c + poll.n_b * a_b) / np.maximum(poll.n_c + poll.n_b, 1)
        value = _log_ratio(poll, a_c, a_b, np.where(seen, pooled, a_c), np.where(seen, pooled, a_b))
        begun = np.logaddexp(self.products, start[self.windows]) + value / phi
        self.products = np.where(seen, np.clip(begun, -stats.LOG_LIMIT, stats.LOG_LIMIT), self.products)
        common = (self.recent[0] + self.preview[0] + bad) / (self.recent[1] + self.preview[1] + total)
        q_b = _project(poll, common, self.margin)
        value = _log_ratio(poll, common, common, q_b + self.margin, q_b) / phi
        known = seen & (self.recent[1] + self.preview[1] > 0)
        limits = (-stats.LOG_LIMIT, stats.LOG_LIMIT)
        self.promote = np.where(known, np.clip(self.promote + value, *limits), self.promote)
        keep = np.where(self.recent[1] > judge.FORGET_ABOVE, judge.FORGET, 1.0)
        self.recent = self.recent * keep + np.array([poll.y_b, poll.n_b])
        self.preview = self.preview * keep + np.array([poll.y_c, poll.n_c])
        self.windows = self.windows + seen
        if len(poll.each) > 1:
            self._spread(poll)

    def _spread(self, poll: Poll) -> None:
        rate = poll.y_b / np.maximum(poll.n_b, 1)
        mixed = (poll.y_b > 0) & (poll.y_b < poll.n_b)
        variance = np.where(mixed, rate * (1 - rate), 1.0)
        x2 = sum(np.where(n > 0, (y - n * rate) ** 2 / np.maximum(n, 1), 0.0) for y, n in poll.each) / variance
        pods = sum((n > 0).astype(np.int64) for _, n in poll.each)
        counted = mixed & (pods > 1)
        self.x2 = self.x2 + np.where(counted, x2, 0.0)
        self.df = self.df + np.where(counted, pods - 1, 0)

    def log_revert(self) -> Floats:
        left = np.array([stats.log_onset_left(int(t), self.policy.onset_hazard) for t in range(self.windows.max() + 1)])
        terms = np.logaddexp(self.products, left[self.windows]) + LOG_WEIGHTS[:, None]
        found: Floats = np.logaddexp.reduce(terms, axis=0)
        return found


def _log_ratio(poll: Poll, a_c: Floats, a_b: Floats, q_c: Floats, q_b: Floats) -> Floats:
    def side(y: Ints, n: Ints, a: Floats, q: Floats) -> Floats:
        safe = np.where(n > 0, q, a)
        found: Floats = y * np.log(a / safe) + (n - y) * (np.log1p(-a) - np.log1p(-safe))
        return found

    return side(poll.y_c, poll.n_c, a_c, q_c) + side(poll.y_b, poll.n_b, a_b, q_b)


def _project(poll: Poll, rate: Floats, margin: float) -> Floats:
    low, high = np.zeros_like(rate), rate.copy()
    for _ in range(50):
        x = 0.5 * (low + high)
        q = x + margin
        value = poll.n_c * (q - rate) * x * (1 - x) + poll.n_b * (x - rate) * q * (1 - q)
        low, high = np.where(value > 0, low, x), np.where(value > 0, x, high)
    return 0.5 * (low + high)


def shares(case: Case, policy: Policy, runs: int, polls: int, seed: int) -> tuple[int, int]:
    """How many rollouts were ever worth a revert, and ever worth a promote."""
    stream, judges = Stream(case, runs, seed), Judges(policy, runs)
    real = [Evidence() for _ in range(CHECKED)]
    reverted, promoted = np.zeros(runs, bool), np.zeros(runs, bool)
    for number in range(-case.before, polls):
        poll = stream.poll(number)
        judges.update(poll)
        reverted |= judges.log_revert() >= -math.log(policy.alpha)
        promoted |= judges.promote >= -math.log(policy.beta)
        for index, evidence in enumerate(real):
            real[index] = update(policy, evidence, {"errors": _window(poll, index)}, case.weight(number))
    _compare(policy, judges, real)
    return int(reverted.sum()), int(promoted.sum())


def _window(poll: Poll, index: int) -> Window:
    each = tuple((int(y[index]), int(n[index])) for y, n in poll.each)
    preview = Side(int(poll.n_c[index]), (int(poll.y_c[index]),))
    return Window(preview, Side(int(poll.n_b[index]), (int(poll.y_b[index]),)), each)


def _compare(policy: Policy, judges: Judges, real: list[Evidence]) -> None:
    """Stop the benchmark if numpy's judge and the real one disagree."""
    metric: Metric = policy.metrics[0]
    place = metric.margins.index(metric.max_increase)
    many = judges.log_revert()
    for index, evidence in enumerate(real):
        found = evidence.metrics["errors"]
        pairs = ((log_revert(policy, metric, found), many[index]), (found.promote[place], judges.promote[index]))
        for one, other in pairs:
            if abs(one - other) > 0.02 + 0.002 * abs(one):  # the real judge rounds what it stores
                raise SystemExit(f"the real judge says {one:.5f}, numpy's {other:.5f}, in rollout {index}")
