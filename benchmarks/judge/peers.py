"""The decision rules of Flagger, Argo Rollouts and Kayenta, written from what their sources do; standard library only.

Each rule is fed one minute of counts at a time and answers "revert", "promote" or None. Real counts replace the
metrics server: every query succeeds, and each minute's figure is exact. That favours the peers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache
from statistics import NormalDist
from typing import Literal

Outcome = Literal["revert", "promote"]
MINUTE = 60.0


@dataclass(frozen=True)
class Minute:
    """(bad, total) of both sides in one minute."""

    preview: tuple[int, int]
    stable: tuple[int, int]


@dataclass
class Flagger:
    """Failed checks add up and are never forgiven; the check after the last one allowed rolls back.

    Documented settings: interval 1m, threshold 5, stepWeight 10, maxWeight 50, success rate at least 99 %. A passed
    check raises the weight, a failed one leaves it; a pass at the largest weight promotes.
    """

    threshold: int = 5
    minimum: float = 99.0
    step_weight: float = 10.0
    max_weight: float = 50.0
    weight: float = 10.0
    failed: int = 0

    def check(self, value: float | None) -> bool:
        """Whether a success rate passes; no value and NaN are failures."""
        return value is not None and not math.isnan(value) and value >= self.minimum

    def minute(self, minute: Minute) -> Outcome | None:
        if self.failed >= self.threshold:
            return "revert"
        bad, total = minute.preview
        if not self.check(100.0 * (1.0 - bad / total) if total else None):
            self.failed += 1
            return None
        if self.weight >= self.max_weight:
            return "promote"
        self.weight = min(self.weight + self.step_weight, self.max_weight)
        return None


def whole_milliseconds(seconds: float) -> int:
    """How Flagger reads a latency quantile: cut off to whole milliseconds."""
    return int(seconds * 1000.0)


Phase = Literal["Successful", "Failed", "Inconclusive", "Error"]
Status = Literal["Successful", "Running", "Pending", "Inconclusive", "Error", "Failed"]
WORST_LAST: tuple[Status, ...] = ("Successful", "Running", "Pending", "Inconclusive", "Error", "Failed")


def argo_phase(success: bool | None, failure: bool | None) -> Phase:
    """One measurement from its conditions; None is a condition that is not set."""
    if failure:
        return "Failed"
    if success is None:
        return "Successful"
    if success:
        return "Successful"
    return "Failed" if failure is None else "Inconclusive"


def worst(statuses: list[Status]) -> Status:
    """The status of an analysis run with several metrics."""
    return max(statuses, key=WORST_LAST.index)


@dataclass
class Argo:
    """One metric of an analysis run: interval 60 s, success at 99 %, `count` measurements, then promote."""

    failure_limit: int = 1
    inconclusive_limit: int = 0
    consecutive_error_limit: int = 4
    count: int = 9
    minimum: float = 0.99
    failed: int = 0
    inconclusive: int = 0
    errors: int = 0
    measured: int = 0

    def measure(self, phase: Phase) -> Status:
        """The metric's status after one more measurement."""
        self.errors = self.errors + 1 if phase == "Error" else 0
        self.measured += phase != "Error"
        self.failed += phase == "Failed"
        self.inconclusive += phase == "Inconclusive"
        if self.failed > self.failure_limit:
            return "Failed"
        if self.inconclusive > self.inconclusive_limit:
            return "Inconclusive"
        if self.errors > self.consecutive_error_limit:
            return "Error"
        return "Successful" if self.measured >= self.count else "Running"

    def minute(self, minute: Minute) -> Outcome | None:
        bad, total = minute.preview
        status = self.measure(argo_phase(1.0 - bad / total >= self.minimum, None) if total else "Error")
        if status in ("Failed", "Error"):
            return "revert"
        return "promote" if status == "Successful" else None


def percentile(values: list[float], share: float) -> float:
    """R's type 7, which Kayenta uses for its summaries."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


@cache
def _rank_sum_quantile(share: float, m: int, n: int) -> int:
    """The smallest q with P(U <= q) >= share for the Mann-Whitney U of m and n untied values."""
    counts = [1] + [0] * (m * n)
    for size in range(1, m + 1):  # Gaussian binomial coefficient, factor by factor
        for u in range(m * n, n + size - 1, -1):
            counts[u] -= counts[u - n - size]
        for u in range(size, m * n + 1):
            counts[u] += counts[u - size]
    target, total = share * math.comb(m + n, n), 0
    for q, count in enumerate(counts):
        total += count
        if total >= target * (1.0 - 1e-12):
            return q
    return m * n


def _rank_z(experiment: list[float], control: list[float], shift: float) -> float:
    """The continuity-corrected z of the rank sum of experiment - shift against control, ties averaged."""
    m, n = len(experiment), len(control)
    ordered = sorted([(value - shift, 1) for value in experiment] + [(value, 0) for value in control])
    ranks, ties, i = 0.0, 0.0, 0
    while i < m + n:
        j, ones = i, 0
        while j < m + n and ordered[j][0] == ordered[i][0]:
            ones += ordered[j][1]
            j += 1
        ranks += ones * (i + j + 1) / 2.0
        ties += (j - i) ** 3 - (j - i)
        i = j
    dz = ranks - m * (m + 1) / 2.0 - m * n / 2.0
    sigma = math.sqrt(m * n / 12.0 * (m + n + 1 - ties / ((m + n) * (m + n - 1))))
    return (dz - math.copysign(0.5, dz) * (dz != 0.0)) / sigma if sigma else 0.0


def mann_whitney(experiment: list[float], control: list[float], confidence: float) -> tuple[float, float, float]:
    """(lower, upper, estimate) of the shift between two samples, as R's wilcox.test gives them.

    Exact below 50 untied values a side; otherwise from the normal approximation, whose z falls in steps at the
    pairwise differences, so that the roots are found among them.
    """
    differences = sorted(x - y for x in experiment for y in control)
    alpha, pairs = 1.0 - confidence, len(differences)
    if max(len(experiment), len(control)) < 50 and len({*experiment, *control}) == len(experiment) + len(control):
        q = max(1, _rank_sum_quantile(alpha / 2.0, len(experiment), len(control)))
        return differences[q - 1], differences[pairs - q], percentile(differences, 0.5)
    steps = sorted(set(differences))

    def crossing(level: float) -> float:
        low, high = 0, len(steps) - 1
        while low < high:
            middle = (low + high) // 2
            if _rank_z(experiment, control, 0.5 * (steps[middle] + steps[middle + 1])) > level:
                low = middle + 1
            else:
                high = middle
        return steps[low]

    quantile = NormalDist().inv_cdf(1.0 - alpha / 2.0)
    return crossing(quantile), crossing(-quantile), crossing(0.0)


Label = Literal["Pass", "High", "Low", "Nodata"]


def classify(
    experiment: list[float], control: list[float], *, tolerance: float = 0.25, confidence: float = 0.98,
    allowed_increase: float = 1.0,
) -> Label:  # fmt: skip
    """One metric whose increase is bad: High when the whole interval lies above a quarter of the estimate."""
    if not experiment or not control:
        return "Nodata"
    if sorted(experiment) == sorted(control) or len({*experiment, *control}) == 1:
        return "Pass"
    lower, _, estimate = mann_whitney(experiment, control, confidence)
    base = sum(control) / len(control)
    effect = sum(experiment) / len(experiment) / base if base else math.inf
    return "High" if lower > tolerance * abs(estimate) and effect >= allowed_increase else "Pass"


def group_score(labels: list[Label]) -> float:
    """The share of metrics that pass, in percent."""
    return 100.0 * labels.count("Pass") / len(labels)


def summary_score(groups: list[tuple[float, float]], critical_failed: bool = False) -> float:
    """The score from (weight, group score) pairs; a critical metric that does not pass makes it 0."""
    if critical_failed:
        return 0.0
    return sum(weight * score for weight, score in groups) / sum(weight for weight, _ in groups)


@dataclass
class Kayenta:
    """One error-rate metric, a point a minute, judged every `interval` minutes over everything since the start."""

    interval: int = 10
    lifetime: int = 60
    marginal: float = 75.0
    passing: float = 95.0
    experiment: list[float] = field(default_factory=list)
    control: list[float] = field(default_factory=list)
    minutes: int = 0

    def minute(self, minute: Minute) -> Outcome | None:
        self.minutes += 1
        for series, (bad, total) in ((self.experiment, minute.preview), (self.control, minute.stable)):
            if total:
                series.append(bad / total)
        if self.minutes % self.interval:
            return None
        score = group_score([classify(self.experiment, self.control)])
        if score < self.marginal:
            return "revert"
        if self.minutes < self.lifetime:
            return None
        return "promote" if score >= self.passing else "revert"
