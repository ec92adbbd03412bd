"""Wald's limit: what any sequential test with the same error rates must spend on average."""

from __future__ import annotations

import math

from pipeline_step.stats import divergence, requests_to_promote


def wald(wrongly: float, missed: float) -> float:
    """Nats of evidence that a sequential test needs on average when the alternative is true."""
    return (1.0 - missed) * math.log((1.0 - missed) / wrongly) + missed * math.log(missed / (1.0 - wrongly))


def failed_requests(p_c: float, p_b: float, weight: float, alpha: float = 0.01, beta: float = 0.05) -> float:
    """Failed preview requests before a revert, on average, at a constant weight (a share)."""
    pooled = weight * p_c + (1.0 - weight) * p_b
    own = divergence(p_c, pooled) if p_c < 1.0 else -math.log(pooled)
    gain = own + (1.0 - weight) / weight * divergence(p_b, pooled)
    return wald(alpha, beta) / gain * p_c


def promote_requests(rate: float, margin: float, weight: float, alpha: float = 0.01, beta: float = 0.05) -> float:
    """Preview requests before a promote, on average, when both sides fail at `rate`."""
    return requests_to_promote(rate, margin, weight, wald(beta, alpha))
