"""Gate `prometheus`: the value of an instant query between `min` and `max`.

https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pipeline_step.errors import HttpError
from pipeline_step.gates.placeholders import SIDES, WINDOW, check, fill, sides
from pipeline_step.gates.promql import instant
from pipeline_step.model import Counts, Measurement, Outcome
from pipeline_step.settings import Duration, Strict

if TYPE_CHECKING:
    from pipeline_step.gates import Sources, Subject


class Settings(Strict, frozen=True):
    """The server, the query and the limits of its value; at least one of `min` and `max`.

    `query`, `requests_query` and `url` may use `${preview_namespace}`, `${preview_service}`, `${stable_namespace}`
    and `${stable_service}`, the queries also `${window}`. With `requests_query` the value counts only from
    `min_requests` on. `token_file` names a file with a bearer token.
    """

    url: str
    query: str
    min: float | None = None
    max: float | None = None
    window: Duration = "1m"
    requests_query: str = ""
    min_requests: float = 20
    token_file: str = ""

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ValueError(f"url {self.url!r} must begin with http:// or https://")
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        check(self.url, SIDES)
        for query in (self.query, self.requests_query):
            check(query, (*SIDES, WINDOW))


def measure(
    name: str, settings: Settings, subject: Subject, sources: Sources, counters: Mapping[str, Any]
) -> Measurement:
    """Ask for the value, and for the number of requests where that is wanted."""
    resolved = sides(subject, settings.window)

    def ask(query: str) -> list[float]:
        answer = instant(sources.http, fill(settings.url, resolved), fill(query, resolved), settings.token_file)
        return [sample.value for sample in answer if not math.isnan(sample.value)]

    try:
        values = ask(settings.query)
        requests = sum(ask(settings.requests_query)) if settings.requests_query else None
    except HttpError as error:
        return Measurement(gate=name, outcome=Outcome.UNREACHABLE, reason=f"{name}: {error}")
    return judge(name, settings, values, requests)


def judge(name: str, settings: Settings, values: list[float], requests: float | None) -> Measurement:
    """The verdict on the query's values, of which the worst counts, and on the number of requests if known."""
    counts = None if requests is None else Counts(total=requests)
    if requests is not None and requests < settings.min_requests:
        reason = f"{name}: {requests:,.0f} requests of the preview; needed at least {settings.min_requests:g} to judge"
        return Measurement(gate=name, outcome=Outcome.TOO_LITTLE, reason=reason, preview=counts)
    if not values:
        reason = f"{name}: the query has no value; it finds no series, or divides by zero requests"
        return Measurement(gate=name, outcome=Outcome.NO_DATA, reason=reason, preview=counts)
    value = worst(values, settings.min, settings.max)
    bad = is_outside(value, settings.min, settings.max)
    series = f", the worst of {len(values)} series" if len(values) > 1 else ""
    of = f" of {requests:,.0f} requests" if requests is not None else ""
    return Measurement(
        gate=name,
        outcome=Outcome.FAIL if bad else Outcome.PASS,
        reason=f"{name}: {value:.6g}{of}{series}; needed {needed(settings.min, settings.max)}",
        value=value,
        preview=counts,
    )


def worst(values: list[float], low: float | None, high: float | None) -> float:
    """The value farthest on the wrong side of the limits."""
    if high is None:
        return min(values)
    if low is None:
        return max(values)
    return max(values, key=lambda value: max(low - value, value - high))


def is_outside(value: float, low: float | None, high: float | None) -> bool:
    """Whether a value is below `low` or above `high`, where they are given."""
    return (low is not None and value < low) or (high is not None and value > high)


def needed(low: float | None, high: float | None) -> str:
    """The limits in words; at least one is given."""
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    return f"at least {low:g}" if low is not None else f"at most {high:g}"
