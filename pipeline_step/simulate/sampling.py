"""Exact draws of counts from `random`, the same on every version of Python, in time that grows with log(n)."""

from __future__ import annotations

import math
from random import Random

FEW = 16.0  # expected events up to which they are drawn one by one


def binomial(source: Random, n: int, p: float) -> int:
    """How many of `n` requests are bad if each is with chance `p`.

    A median of `n` uniform numbers is drawn from its Beta distribution, which leaves half of them to be drawn;
    few are drawn by the geometric gaps between them (Devroye, Non-Uniform Random Variate Generation, X.4).
    """
    count = 0
    while n > 0 and p > 0.0:
        if p >= 1.0:
            return count + n
        if n * p <= FEW:
            return count + _by_gaps(source, n, p)
        if n * (1.0 - p) <= FEW:
            return count + n - _by_gaps(source, n, 1.0 - p)
        middle = n // 2 + 1
        x = source.betavariate(middle, n + 1 - middle)
        if x <= p:
            count, n, p = count + middle, n - middle, (p - x) / (1.0 - x)
        else:
            n, p = middle - 1, p / x
    return count


def _by_gaps(source: Random, n: int, p: float) -> int:
    gap, at, count = math.log1p(-p), 0, 0
    if gap == 0.0:  # p is below what a float can tell from 0
        return 0
    while True:
        at += int(math.log(1.0 - source.random()) / gap) + 1
        if at > n:
            return count
        count += 1


def poisson(source: Random, mean: float) -> int:
    """How many requests arrive where `mean` are expected (Ahrens and Dieter: by a Gamma-distributed arrival)."""
    count = 0
    while mean > FEW:
        nth = int(mean * 7 / 8)
        at = source.gammavariate(nth, 1.0)
        if at > mean:
            return count + binomial(source, nth - 1, mean / at)
        count, mean = count + nth, mean - at
    left = -mean
    while (left := left - math.log(1.0 - source.random())) <= 0.0:
        count += 1
    return count
