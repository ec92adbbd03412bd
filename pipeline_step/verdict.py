"""What the evidence says: revert, promote or undecided, with bounds and findings. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pipeline_step import stats
from pipeline_step.judge import Evidence, Metric, MetricEvidence, Policy, log_revert, stable_rate

SLO_SHARE = 0.1  # of a metric's revert evidence: its SLO, which matters when stable has no traffic to compare with
SHARE_TOLERANCE = 0.2  # a split of traffic within a fifth of the configured weight is not worth a finding


@dataclass(frozen=True, kw_only=True)
class MetricVerdict:
    """One metric: (bad, total) of both sides, log evidence both ways, and bounds that hold at any time.

    `excluded` is the smallest margin by which the preview is shown not to be worse, None if none is; `wanted` is the
    preview requests still needed to promote if it equals stable, None if no number would do.
    """

    name: str
    edge: float | None
    preview: tuple[int, int]
    stable: tuple[int, int]
    log_revert: float
    log_promote: float
    log_within: float | None
    excluded: float | None
    phi: float
    unhealthy: bool
    wanted: float | None
    margin: float
    beta: float

    @property
    def upper(self) -> float:
        """A bound on the preview's own bad share, wrong at any time with chance at most beta; 1 before any request."""
        return stats.upper_bound(*self.preview, self.beta)


@dataclass(frozen=True, kw_only=True)
class Share:
    """The preview's observed share of requests since the weight changed, against the configured one."""

    observed: float
    configured: float
    preview: int
    total: int
    log_e: float
    finding: Literal["as configured", "too little", "too much"]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The outcome with log evidence and what was needed; `leading` is the metric with most evidence for a revert."""

    outcome: Literal["revert", "promote", "undecided"]
    log_revert: float
    log_promote: float
    needed_revert: float
    needed_promote: float
    metrics: tuple[MetricVerdict, ...]
    share: Share
    environment_unhealthy: bool

    @property
    def leading(self) -> MetricVerdict:
        return max(self.metrics, key=lambda metric: metric.log_revert)

    @property
    def wanted(self) -> float | None:
        """Preview requests still needed to promote, None if no number would do."""
        each = [metric.wanted for metric in self.metrics]
        known = [count for count in each if count is not None]
        return max(known) if len(known) == len(each) else None

    @property
    def slo_proven(self) -> bool:
        """Whether every SLO is shown to be kept, and there is one: what `promote-if-slo` asks."""
        within = [metric.log_within for metric in self.metrics if metric.log_within is not None]
        return bool(within) and min(within) >= self.needed_promote

    @property
    def suspicious(self) -> bool:
        """Whether there is enough evidence against the preview to stop raising its weight."""
        return self.log_revert >= 0.5 * self.needed_revert


def verdict(policy: Policy, evidence: Evidence) -> Verdict:
    """Weigh the evidence: chance of a false revert <= alpha and of a false promote <= beta, however often it is asked.

    Promote also waits while the preview is under suspicion, stable misses its SLO or traffic does not arrive.
    """
    needed_revert, needed_promote = -math.log(policy.alpha), -math.log(policy.beta)
    metrics = tuple(
        _judge_metric(policy, metric, evidence.metrics.get(metric.name, MetricEvidence())) for metric in policy.metrics
    )
    weights = [metric.weight for metric in policy.metrics]
    against = stats.log_mean((w, m.log_revert) for w, m in zip(weights, metrics, strict=True))
    within = [m.log_within for m in metrics if m.log_within is not None]
    promote = min([m.log_promote for m in metrics] + within)
    share = _judge_share(policy, evidence)
    unhealthy = any(m.unhealthy for m in metrics)
    outcome: Literal["revert", "promote", "undecided"] = "undecided"
    if against >= needed_revert:
        outcome = "revert"
    elif promote >= needed_promote and against < 0.5 * needed_revert:
        outcome = "undecided" if unhealthy or share.finding == "too little" else "promote"
    return Verdict(
        outcome=outcome, log_revert=against, log_promote=promote, needed_revert=needed_revert,
        needed_promote=needed_promote, metrics=metrics, share=share, environment_unhealthy=unhealthy,
    )  # fmt: skip


def _judge_metric(policy: Policy, metric: Metric, past: MetricEvidence) -> MetricVerdict:
    needed = -math.log(policy.beta)
    against, unhealthy, within = log_revert(policy, metric, past), False, None
    if metric.limit is not None:
        broken = stats.log_e_limit(*past.within, metric.limit, null="at most") / past.phi
        against = stats.log_mean([(1.0 - SLO_SHARE, against), (SLO_SHARE, broken)])
        within = stats.log_e_limit(*past.within, metric.limit, null="at least") / past.phi
        unhealthy = _stable_misses(policy, metric, past)
    promote = past.promote[metric.margins.index(metric.max_increase)] if past.promote else 0.0
    return MetricVerdict(
        name=metric.name,
        edge=metric.edge,
        preview=past.preview,
        stable=past.stable,
        log_revert=against,
        log_promote=promote,
        log_within=within,
        excluded=_smallest_excluded(metric, past, needed),
        phi=past.phi,
        unhealthy=unhealthy,
        wanted=_wanted(metric, past, needed - promote, 0.0 if within is None else needed - within),
        margin=metric.max_increase,
        beta=policy.beta,
    )


def _stable_misses(policy: Policy, metric: Metric, past: MetricEvidence) -> bool:
    """Whether stable's recent requests show that it misses the SLO itself."""
    if metric.limit is None or not past.recent_bad:
        return False
    recent = stats.log_e_limit(past.recent_bad[metric.decisive], past.recent_total, metric.limit, null="at most")
    return recent / past.phi >= -math.log(policy.alpha)


def _smallest_excluded(metric: Metric, past: MetricEvidence, needed: float) -> float | None:
    """The smallest margin from which all larger ones are excluded: wrong at any time with chance at most beta."""
    smallest = None
    for margin, value in zip(reversed(metric.margins), reversed(past.promote), strict=False):
        if value < needed:
            break
        smallest = margin
    return smallest


def _wanted(metric: Metric, past: MetricEvidence, missing: float, missing_within: float) -> float | None:
    rate = stable_rate(metric, past, metric.decisive)
    seen = past.preview[1] + past.stable[1]
    share = min(max(past.preview[1] / seen if seen else 0.5, 0.001), 0.999)
    if rate + metric.max_increase >= 1.0:
        return None
    wanted = stats.requests_to_promote(rate, metric.max_increase, share, missing)
    if metric.limit is None:
        return wanted
    return max(wanted, max(0.0, missing_within) / stats.divergence(rate, metric.limit)) if rate < metric.limit else None


def _judge_share(policy: Policy, evidence: Evidence) -> Share:
    split = evidence.share
    total, configured = split.preview + split.stable, split.weight / 100.0
    observed = split.preview / total if total else configured
    finding: Literal["as configured", "too little", "too much"] = "as configured"
    if split.log_e >= -math.log(policy.alpha) and abs(observed - configured) > SHARE_TOLERANCE * configured:
        finding = "too little" if observed < configured else "too much"
    return Share(
        observed=observed, configured=configured, preview=split.preview, total=total, log_e=split.log_e, finding=finding
    )
