"""Verdicts in words that a person can read. Pure."""

from __future__ import annotations

import math

from pipeline_step.verdict import MetricVerdict, Verdict


def sentence(result: Verdict, *, seconds: float, weight: float) -> str:
    """The verdict in words: counts, rates, weight, evidence and what was needed."""
    when = f"after {_duration(seconds)} at {weight:g} %"
    worst = result.leading
    affected = f"About {worst.preview[0]:,} requests affected."
    against = f'Evidence {_odds(result.log_revert)} against "no worse" (needed {_odds(result.needed_revert)})'
    if result.outcome == "revert":
        return f"REVERT {when}: {_counts(worst)}. {against}. {affected}"
    hardest = min(
        result.metrics, key=lambda m: min(m.log_promote, m.log_promote if m.log_within is None else m.log_within)
    )
    proof = f"{_odds(result.log_promote)} against {_refuted(hardest)} (needed {_odds(result.needed_promote)})"
    if result.outcome == "promote":
        return f"PROMOTE {when}: {_bound(hardest, len(result.metrics))}; {_counts(hardest)}. Evidence {proof}."
    findings = _findings(result)
    return f"UNDECIDED {when}: {findings}{_counts(worst)}. {against}, {proof}. {_outlook(result, hardest)}"


def _findings(result: Verdict) -> str:
    words = ""
    if result.environment_unhealthy:
        words += "environment unhealthy, stable misses its SLO too; "
    share = result.share
    if share.finding != "as configured":
        what = (
            "traffic is not reaching the preview"
            if share.finding == "too little"
            else "too much traffic reaches the preview"
        )
        words += (
            f"{what}, {share.preview:,} of {share.total:,} requests ({100 * share.observed:.2f} %) "
            f"instead of {100 * share.configured:g} %; "
        )
    return words


def _outlook(result: Verdict, hardest: MetricVerdict) -> str:
    known = (
        "No size of regression is excluded yet"
        if hardest.excluded is None
        else f"Regressions above {_points(hardest.excluded)} are excluded"
    )
    if result.wanted is None:
        return f"{known}; stable's own rate leaves no room to prove the SLO."
    return f"{known}; about {math.ceil(result.wanted):,} more preview requests are needed to promote."


def _refuted(metric: MetricVerdict) -> str:
    if metric.log_within is not None and metric.log_within < metric.log_promote:
        return '"misses the SLO"'
    return f'"worse by {_points(metric.margin)}"'


def _bound(hardest: MetricVerdict, metrics: int) -> str:
    upper = hardest.margin if hardest.excluded is None else hardest.excluded
    proven = f"no regression above {_points(hardest.margin)}, upper bound +{_points(upper)}"
    return proven if metrics == 1 else f"{metrics} metrics proven, the hardest is {hardest.name}: {proven}"


def _counts(metric: MetricVerdict) -> str:
    stable = f"stable {_rate(metric.stable)}" if metric.stable[1] else "stable without traffic"
    bad, total = metric.preview
    if not total:
        return f"preview without traffic, {stable}"
    return f"preview {bad:,}/{total:,} {_what(metric)} ({100 * bad / total:.2f} %), {stable}"


def _what(metric: MetricVerdict) -> str:
    return "failed" if metric.edge is None else f"slower than {_duration(metric.edge)}"


def _rate(side: tuple[int, int]) -> str:
    return f"{side[0]:,}/{side[1]:,} ({100 * side[0] / side[1]:.2f} %)"


def _points(share: float) -> str:
    return f"{100 * share:.2g} pp"


def _odds(log_odds: float) -> str:
    if log_odds > math.log(1e6):
        return "over 1,000,000:1"
    odds = math.exp(log_odds)
    return f"{odds:,.0f}:1" if odds >= 9.5 else f"{odds:.1g}:1"


def _duration(seconds: float) -> str:
    if seconds < 1.0:
        return f"{1000 * seconds:g} ms"
    return f"{seconds:g} s" if seconds < 120.0 else f"{seconds / 60.0:.3g} min"
