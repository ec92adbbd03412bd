"""What all gates share that ask a metrics service for a number: the limits, and what follows from the answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pipeline_step.errors import ConfigError, HttpError
from pipeline_step.gates.placeholders import SIDES, WINDOW, check, fill, sides
from pipeline_step.model import Counts, Measurement, Outcome
from pipeline_step.redaction import Redaction
from pipeline_step.settings import Duration, Strict, says, seconds

if TYPE_CHECKING:
    from pipeline_step.gates import Subject


class Query(Strict, frozen=True, kw_only=True):
    """A query in the service's own language, and the limits of its value; at least one of `min` and `max`.

    Both queries may use `${preview_namespace}`, `${preview_service}`, `${stable_namespace}`, `${stable_service}`
    and `${window}`. With `requests_query` the value counts only from `min_requests` on.
    """

    query: Annotated[str, says("gives one number; may name ${preview_service}, ${window} and the like")]
    min: Annotated[float | None, says("the lowest value that passes")] = None
    max: Annotated[float | None, says("the highest value that passes")] = None
    window: Annotated[Duration, says("the time that the query looks back at")] = "1m"
    requests_query: Annotated[str, says("gives the number of requests behind that value")] = ""
    min_requests: Annotated[float, says("how many of them it takes for the value to count")] = 20

    def __post_init__(self) -> None:
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is above max {self.max:g}")
        for query in (self.query, self.requests_query):
            check(query, (*SIDES, WINDOW))

    def range(self, subject: Subject) -> tuple[int, int]:
        """The window's first and last second, since 1970."""
        return int(subject.now - seconds(self.window)), int(subject.now)


Ask = Callable[[str], Sequence[float | None]]


def measure(name: str, settings: Query, subject: Subject, ask: Ask, secrets: Sequence[str] = ()) -> Measurement:
    """Put the queries to a service with `ask`, which raises HttpError where it can't be had; judge the answers.

    None and NaN among the answers are no values. Secrets are masked in what the service says of an error.
    """

    def values(query: str) -> list[float]:
        return [value for value in ask(fill(query, resolved)) if value is not None and not math.isnan(value)]

    resolved = sides(subject, settings.window)
    try:
        found = values(settings.query)
        requests = sum(values(settings.requests_query)) if settings.requests_query else None
    except HttpError as error:
        reason = Redaction(secrets).redact(f"{name}: {error}")
        return Measurement(gate=name, outcome=Outcome.UNREACHABLE, reason=reason)
    return judge(name, settings, found, requests)


def judge(name: str, settings: Query, values: Sequence[float], requests: float | None) -> Measurement:
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


def worst(values: Sequence[float], low: float | None, high: float | None) -> float:
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


def last(values: Sequence[float | None]) -> float | None:
    """The newest value of a series whose newest is at the end; services fill the future with gaps."""
    return next((value for value in reversed(values) if value is not None), None)


def secret(path: str, key: str) -> str:
    """What stands in the file that `key` of the settings names, read at every use since tokens are renewed."""
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{key}: {path} can't be read ({error})") from None
    if not text or not text.isprintable():
        raise ConfigError(f"{key}: {path} must hold one line, the secret alone")
    return text


def check_url(url: str, key: str = "url") -> None:
    """Raise ValueError where `url` is not absolute, or has placeholders other than those of the sides."""
    if not url.startswith(("http://", "https://")):
        raise ValueError(f"{key} {url!r} must begin with http:// or https://")
    check(url, SIDES)
