"""The judge's memory: folds the counts of each poll window into evidence. Pure; see stats.py for the tests.

Per metric it keeps running products of e-values: for `revert` one per alternative (and start time, as a mixture),
for `promote` one per margin. Every alternative is chosen from windows that are already over. Evidence is carried
across steps and weights; the caller starts again from `Evidence()` when the preview's revision changes.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pipeline_step import stats

ERROR_ODDS = ((3.0, 0.3), (8.0, 0.2), (30.0, 0.2), (200.0, 0.15), (5000.0, 0.15))
LATENCY_ODDS = ((1.6, 0.5), (4.0, 0.5))
LATENCY_SURVIVALS = (0.5, 0.06, 0.004)  # the edges watched: where stable's share of slower requests is nearest
MARGIN_FACTORS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 4.0, 10.0)
FORGET_ABOVE, FORGET = 5_000.0, 59.0 / 60.0  # past rates: about the last 60 windows, but never fewer requests
ERROR_PRIOR, LATENCY_PRIOR = (0.5, 500.0), (0.5, 1.0)  # (bad, total) assumed of stable before it has been seen


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What is compared. Rates are fractions; bucket edges are in seconds.

    `max_increase` is the margin to prove before promoting; `limit` the SLO as the largest share of bad requests.
    Errors have no `edges`; a latency metric lists the histogram's and names the SLO's in `edge`.
    """

    name: str
    max_increase: float = 0.005
    limit: float | None = None
    edges: tuple[float, ...] = ()
    edge: float | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.max_increase < 1.0:
            raise ValueError(f"{self.name}: max_increase is {self.max_increase:g}, valid is a share between 0 and 1")
        if self.limit is not None and not 0.0 < self.limit < 1.0:
            raise ValueError(f"{self.name}: the SLO allows {self.limit:g}, valid is a share between 0 and 1")
        if self.weight <= 0.0:
            raise ValueError(f"{self.name}: weight is {self.weight:g}, valid is above 0")
        if list(self.edges) != sorted(set(self.edges)):
            raise ValueError(f"{self.name}: the bucket edges {self.edges} must rise")
        if (self.edges or self.edge is not None) and self.edge not in self.edges:
            listed = ", ".join(f"{edge:g}" for edge in self.edges) or "none"
            raise ValueError(f"{self.name}: {self.edge} s is not a bucket edge of the histogram, valid are {listed}")

    @property
    def decisive(self) -> int:
        """The index, in `Side.bad`, of the count that promote and the SLO look at."""
        return bisect_left(self.edges, self.edge) if self.edge is not None else 0

    @property
    def odds(self) -> tuple[tuple[float, float], ...]:
        """The alternatives for `revert`: odds ratio and weight."""
        return LATENCY_ODDS if self.edges else ERROR_ODDS

    @property
    def margins(self) -> tuple[float, ...]:
        """The margins that are followed, rising; one of them is `max_increase`."""
        return tuple(self.max_increase * factor for factor in MARGIN_FACTORS if self.max_increase * factor < 1.0)


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How sure to be: alpha bounds false reverts, all metrics together, and beta false promotes; valid at any time.

    `tolerance` is how much worse the preview may be and still count as not worse; `onset_hazard` the prior chance
    per window that a fault starts after a while; `assumed_phi` the overdispersion between stable's pods until it has
    been seen: it takes some minutes of stable's past, which `update` learns from windows with an empty preview.
    """

    metrics: tuple[Metric, ...]
    alpha: float = 0.01
    beta: float = 0.05
    tolerance: float = 0.0
    onset_hazard: float = 1.0 / 240.0
    assumed_phi: float = 3.0


@dataclass(frozen=True)
class Side:
    """Counts of one side in one window: requests, and bad ones (errors: one count; latency: slower than each edge)."""

    total: int
    bad: tuple[int, ...]


@dataclass(frozen=True)
class Window:
    """One metric in one poll window; `stable_pods` are optional (bad, total) counts of stable, pod by pod."""

    preview: Side
    stable: Side
    stable_pods: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class MetricEvidence:
    """One metric so far: (bad, total) of both sides, their recent counts, and the log products of e-values.

    `revert` has one entry per watched edge and alternative, `promote` one per margin, `within` the preview's
    (bad, total) in windows where stable kept the SLO. `x2` and `df` sum the spread between stable's pods, from which
    `phi` is estimated, the overdispersion that divides the log evidence of later windows.
    """

    windows: int = 0
    preview: tuple[int, int] = (0, 0)
    stable: tuple[int, int] = (0, 0)
    recent_total: float = 0.0
    recent_bad: tuple[float, ...] = ()
    recent_preview: tuple[float, float] = (0.0, 0.0)
    revert: tuple[float, ...] = ()
    promote: tuple[float, ...] = ()
    within: tuple[int, int] = (0, 0)
    x2: float = 0.0
    df: int = 0
    phi: float = 1.0


@dataclass(frozen=True)
class ShareEvidence:
    """Requests of both sides since the weight (a percentage) last changed, and the log e-value before that."""

    weight: float = 0.0
    preview: int = 0
    stable: int = 0
    before: float = 0.0

    @property
    def log_e(self) -> float:
        """Log e-value against the null that the requests are split as configured."""
        return stats.clip(self.before + stats.log_e_share(self.preview, self.stable, self.weight / 100.0))


@dataclass(frozen=True)
class Evidence:
    """All that the judge remembers: plain numbers and lists, about 300 bytes of JSON a metric."""

    metrics: Mapping[str, MetricEvidence] = field(default_factory=dict)
    share: ShareEvidence = ShareEvidence()


def update(policy: Policy, evidence: Evidence, windows: Mapping[str, Window], weight: float | None) -> Evidence:
    """The evidence after one more poll; `windows` by metric name, `weight` the percentage in force during it.

    Without a weight nobody knows how the requests should be shared, and that is not checked.

    A metric without data is left out of `windows`. Before any traffic is shifted, windows with an empty preview
    teach the judge stable's rates.
    """
    metrics = dict(evidence.metrics)
    for metric in policy.metrics:
        window = windows.get(metric.name)
        if window is not None:
            metrics[metric.name] = _fold(policy, metric, metrics.get(metric.name, MetricEvidence()), window)
    counted = next((windows[m.name] for m in policy.metrics if m.name in windows), None)
    share = evidence.share if counted is None or weight is None else _fold_share(evidence.share, counted, weight)
    return Evidence(metrics, share)


def _fold_share(share: ShareEvidence, window: Window, weight: float) -> ShareEvidence:
    if weight != share.weight:
        share = ShareEvidence(weight, 0, 0, round(share.log_e, 6))
    return replace(share, preview=share.preview + window.preview.total, stable=share.stable + window.stable.total)


def _fold(policy: Policy, metric: Metric, past: MetricEvidence, window: Window) -> MetricEvidence:
    """One metric's evidence after one window."""
    for side in (window.preview, window.stable):
        if len(side.bad) != max(1, len(metric.edges)):
            raise ValueError(
                f"{metric.name}: {len(side.bad)} counts of bad requests, {max(1, len(metric.edges))} wanted"
            )
        if min(side.bad) < 0 or max(side.bad) > side.total:
            raise ValueError(f"{metric.name}: bad counts {side.bad} of {side.total} requests, valid is 0 to the total")
    i = metric.decisive
    y_c, n_c, y_b, n_b = window.preview.bad[i], window.preview.total, window.stable.bad[i], window.stable.total
    unhealthy = metric.limit is not None and y_b > metric.limit * n_b
    assumed = policy.assumed_phi if len(window.stable_pods) > 1 else 1.0
    if past.df == 0:
        past = replace(past, phi=assumed)
    x2, df = stats.pearson(window.stable_pods)
    keep = FORGET if past.recent_total > FORGET_ABOVE else 1.0
    recent_bad = past.recent_bad or (0.0,) * len(window.stable.bad)
    observed = replace(
        past,
        preview=(past.preview[0] + y_c, past.preview[1] + n_c),
        stable=(past.stable[0] + y_b, past.stable[1] + n_b) if n_c else past.stable,
        recent_total=round(past.recent_total * keep + n_b, 2),
        recent_bad=tuple(round(old * keep + new, 2) for old, new in zip(recent_bad, window.stable.bad, strict=True)),
        recent_preview=(
            round(past.recent_preview[0] * keep + y_c, 2), round(past.recent_preview[1] * keep + n_c, 2)
        ),
        within=past.within if unhealthy else (past.within[0] + y_c, past.within[1] + n_c),
        x2=round(past.x2 + x2, 3),
        df=past.df + df,
        phi=round(stats.overdispersion(past.x2 + x2, past.df + df, assumed), 4),
    )  # fmt: skip
    if n_c == 0:
        return observed
    return replace(
        observed,
        windows=past.windows + 1,
        revert=_fold_revert(policy, metric, past, window),
        promote=_fold_promote(metric, past, window),
    )


def _rate(metric: Metric, bad: float, total: float) -> float:
    prior_bad, prior_total = LATENCY_PRIOR if metric.edges else ERROR_PRIOR
    return min((bad + prior_bad) / (total + prior_total), 1.0 - 1e-6)


def stable_rate(metric: Metric, past: MetricEvidence, index: int) -> float:
    """Stable's rate from the windows so far, in (0, 1)."""
    return _rate(metric, past.recent_bad[index] if past.recent_bad else 0.0, past.recent_total)


def watched_edges(metric: Metric, past: MetricEvidence) -> tuple[int, ...]:
    """The indexes of the counts that `revert` compares in the next window, chosen from stable's past."""
    if not metric.edges:
        return (0,)
    rates = [stable_rate(metric, past, index) for index in range(len(metric.edges))]
    return tuple(
        min(range(len(rates)), key=lambda index: abs(_logit(rates[index]) - _logit(survival)))
        for survival in LATENCY_SURVIVALS
    )


def _fold_revert(policy: Policy, metric: Metric, past: MetricEvidence, window: Window) -> tuple[float, ...]:
    """A <- (A + mass of faults that start now) * e, for every watched edge and alternative.

    A latency metric waits until it has seen stable: only then does it know which edges to watch.
    """
    unknown = bool(metric.edges) and past.recent_total == 0.0
    start = stats.log_onset_mass(past.windows, policy.onset_hazard)
    products = []
    for slot, index in enumerate(watched_edges(metric, past)):
        a_b = stable_rate(metric, past, index)
        boundary = min(a_b + policy.tolerance, 1.0 - 1e-6)
        for k, (odds, _) in enumerate(metric.odds):
            value = 0.0 if unknown else stats.log_e(
                window.preview.bad[index], window.preview.total, window.stable.bad[index], window.stable.total,
                stats.shift_odds(boundary, odds), a_b, null="at most", margin=policy.tolerance,
            )  # fmt: skip
            before = past.revert[slot * len(metric.odds) + k] if past.revert else None
            begun = start if before is None else stats.log_add(before, start)
            products.append(round(stats.clip(begun + value / past.phi), 6))
    return tuple(products)


def _fold_promote(metric: Metric, past: MetricEvidence, window: Window) -> tuple[float, ...]:
    """The alternative is that both sides fail alike, at their common past rate: steadier than stable's alone."""
    i = metric.decisive
    y_c, n_c, y_b, n_b = window.preview.bad[i], window.preview.total, window.stable.bad[i], window.stable.total
    before = past.promote or (0.0,) * len(metric.margins)
    if past.recent_total + past.recent_preview[1] == 0.0:
        return before
    rate = _rate(metric, past.recent_bad[i] + past.recent_preview[0], past.recent_total + past.recent_preview[1])
    return tuple(
        round(stats.clip(
            old + stats.log_e(y_c, n_c, y_b, n_b, rate, rate, null="at least", margin=margin) / past.phi
        ), 6)
        for old, margin in zip(before, metric.margins, strict=True)
    )  # fmt: skip


def log_revert(policy: Policy, metric: Metric, evidence: MetricEvidence) -> float:
    """Log evidence that the preview is worse: mean over watched edges, alternatives and start times."""
    if not evidence.revert:
        return 0.0
    left = stats.log_onset_left(evidence.windows, policy.onset_hazard)
    weights = [weight for _, weight in metric.odds] * (len(evidence.revert) // len(metric.odds))
    return stats.clip(
        stats.log_mean((w, stats.log_add(a, left)) for w, a in zip(weights, evidence.revert, strict=True))
    )


def _logit(rate: float) -> float:
    return math.log(rate / (1.0 - rate))
