"""How much traffic next, and how long a proof takes: the harm-budget ramp and the preflight. Pure."""

from __future__ import annotations

import math

from pipeline_step import stats
from pipeline_step.judge import Metric


def next_weight(
    current: float,
    *,
    upper: float,
    suspicious: bool,
    requests_per_second: float,
    delay: float,
    harm_budget: float = 20.0,
    max_weight: float = 50.0,
    resolution: float = 1.0,
) -> float:
    """The weight (a percentage) to set now so that about `harm_budget` requests fail before a fault can be seen.

    `upper` is `MetricVerdict.upper` of the errors (1 at the start), `delay` the poll interval plus the measured
    staleness of the metrics in seconds, `resolution` the smallest weight the route takes. The first step is at most
    10 %, a rise at most fourfold, and no rise while the preview is `suspicious`.
    """
    allowed = 100.0 * harm_budget / max(requests_per_second * delay * upper, 1e-9)
    ceiling = current if suspicious and current > 0.0 else 4.0 * current if current > 0.0 else 10.0
    wanted = min(max_weight, allowed, ceiling)
    return max(min(resolution, max_weight), math.floor(wanted / resolution + 1e-9) * resolution)


def seconds_to_promote(metric: Metric, rate: float, weight: float, requests_per_second: float, beta: float) -> float:
    """How long the proof of `metric.max_increase` takes when both sides fail at `rate`, at a constant weight (%)."""
    wanted = stats.requests_to_promote(rate, metric.max_increase, weight / 100.0, -math.log(beta))
    return wanted / (requests_per_second * weight / 100.0)
