"""Shares of requests by counting pods: what can be reached, and how near. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, floor
from typing import NamedTuple

LARGEST = 1000
"""As many of production's pods as are thought of when saying how many a percentage would take."""


class Counted(NamedTuple):
    """The pods that a preview is given for its percentage, beside this many of production's."""

    weight: int
    pods: int
    beside: int


def count(stable: int, weights: Mapping[str, int]) -> dict[str, Counted]:
    """Pods for each preview that come nearest to its percentage, at least one."""
    left = 100 - sum(weights.values())
    return {
        preview: Counted(weight, max(1, round(stable * weight / left)) if left > 0 else max(1, stable), stable)
        for preview, weight in weights.items()
    }


def percent(pods: int, all_pods: int) -> float:
    """The share of the requests that pods get, 0 to 100."""
    return 100 * pods / all_pods if all_pods else 0.0


def out_of_reach(stable: int, weights: Mapping[str, int], tolerance: float) -> str:
    """Why pods can't give these percentages within the tolerance (in points), and what is near; "" where they can."""
    if sum(weights.values()) >= 100:
        return f"pods can't give previews {sum(weights.values())} % of the requests while production has pods"
    if weights and not stable:
        return "production has no ready pod, so no share can be counted"
    counted = count(stable, weights)
    total = stable + sum(entry.pods for entry in counted.values())
    for preview, (weight, pods, _) in counted.items():
        if abs(percent(pods, total) - weight) > tolerance:
            return _sentence(preview, weight, stable, total - stable - pods, tolerance)
    return ""


def _sentence(preview: str, weight: int, stable: int, others: int, tolerance: float) -> str:
    """The percentages that are reachable below and above, and the number of pods that would make this one so."""
    exact = (stable + others) * weight / (100 - weight)
    near = [pods for pods in dict.fromkeys((floor(exact), ceil(exact))) if pods]
    offers = " and ".join(f"{percent(pods, stable + others + pods):.3g} % ({pods} {_pods(pods)})" for pods in near)
    words = f"{weight} % can't be reached for {preview} beside {stable} {_pods(stable)} of production: "
    words += f"the nearest {'is' if len(near) == 1 else 'are'} {offers}"
    for more in range(stable + 1, LARGEST):
        pods = max(1, round((more + others) * weight / (100 - weight)))
        if abs(percent(pods, more + others + pods) - weight) <= tolerance:
            return f"{words}; {weight} % takes {more} {_pods(more)} of production and {pods} of the preview"
    return words


def _pods(number: int) -> str:
    return "pod" if number == 1 else "pods"
