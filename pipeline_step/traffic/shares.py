"""Whole percentages that add up: the arithmetic all weighted routers share."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline_step.errors import Refused


def apportion(weights: Sequence[int], total: int) -> list[int]:
    """Share `total` out in proportion to `weights`, in whole numbers that sum to it (largest remainder).

    Equal remainders go to the earlier entry, and all-zero weights count as equal ones. See Balinski and Young,
    "Fair Representation" (1982), Hamilton's method.
    """
    if not weights:
        return []
    parts = list(weights) if any(weights) else [1] * len(weights)
    whole = sum(parts)
    floors = [part * total // whole for part in parts]
    by_remainder = sorted(range(len(parts)), key=lambda i: (-(parts[i] * total % whole), i))
    for i in by_remainder[: total - sum(floors)]:
        floors[i] += 1
    return floors


def rest(shares: Sequence[int]) -> int:
    """What the previews leave to stable, in percent. Raises `Refused` where they ask for more than there is."""
    left = 100 - sum(shares)
    if left < 0:
        raise Refused(f"the previews ask for {100 - left} % of the requests together; at most 100 % can be given")
    return left
