"""Differences of counters over time, per pod, through restarts and pods that come and go. Pure.

A reading is a row of counters of one pod at one time. The state that it is subtracted from is small JSON, since it
is kept in the rollout's record: the last row of every pod seen, and the sum of all increments so far.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

FORMAT = 1  # of the states that gates keep; another number makes them begin anew


@dataclass(frozen=True, slots=True)
class Reading:
    """Counters of one pod at one time; `started` is when its process began, seconds since 1970, if known."""

    values: tuple[float, ...]
    started: float | None = None


@dataclass(frozen=True, slots=True)
class Advance:
    """What a round of readings added: by pod and in all, and the state for the next round.

    `total` is the sum since the state was empty; pods that vanished keep what they had added.
    """

    by_pod: Mapping[str, tuple[float, ...]]
    total: tuple[float, ...]
    state: Mapping[str, Any]


def fingerprint(settings: msgspec.Struct) -> str:
    """What tells counters of these settings from those of others."""
    return hashlib.sha256(repr((FORMAT, settings)).encode()).hexdigest()[:12]


def remembered(counters: Mapping[str, Any], settings: msgspec.Struct) -> Mapping[str, Any]:
    """The counters of an earlier measurement if they are `of` these settings, else nothing: a run may be resumed
    after its configuration or this program has changed.
    """
    return counters if counters.get("of") == fingerprint(settings) else {}


def advance(state: Mapping[str, Any], readings: Mapping[str, Reading], began: float, width: int) -> Advance:
    """Subtract the state from the readings, rows of `width` counters; `began` is when counting began.

    A pod's increment is its new row where the process restarted or a counter fell. A pod first seen counts from
    zero if it started after `began`, else from its first row. A state of another width is dropped.
    """
    seen: dict[str, list[float]] = dict(state.get("seen", {}))
    total = tuple(state.get("sum", ()))
    if len(total) != width:
        seen, total = {}, (0.0,) * width
    by_pod = {pod: _increment(seen.get(pod), reading, began) for pod, reading in readings.items()}
    for pod, reading in readings.items():
        seen[pod] = [_small(reading.started or 0), *map(_small, reading.values)]
    for added in by_pod.values():
        total = tuple(old + new for old, new in zip(total, added, strict=True))
    return Advance(by_pod, total, {"seen": seen, "sum": [_small(value) for value in total]})


def _increment(before: list[float] | None, reading: Reading, began: float) -> tuple[float, ...]:
    now = reading.values
    if before is None:
        fresh = reading.started is not None and reading.started > began
        return now if fresh else (0.0,) * len(now)
    start, *old = before
    # Some exporters round their start time differently from scrape to scrape.
    restarted = bool(start and reading.started and reading.started > start + 1)
    if restarted or any(new < last for new, last in zip(now, old, strict=True)):
        return now
    return tuple(new - last for new, last in zip(now, old, strict=True))


def _small(value: float) -> float:
    """Whole numbers without a fraction, so that they are short in JSON."""
    return int(value) if float(value).is_integer() else round(value, 3)
