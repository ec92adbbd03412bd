"""Gate `prometheus`: the value of an instant query between `min` and `max`.

https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from pipeline_step.errors import ConfigError, HttpError
from pipeline_step.gates.placeholders import SIDES, WINDOW, check, fill, sides
from pipeline_step.model import Counts, Measurement, Outcome
from pipeline_step.settings import Duration, Strict

if TYPE_CHECKING:
    from pipeline_step.gates import Sources, Subject

TIMEOUT = "5s"


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


class _Series(msgspec.Struct, frozen=True):
    value: tuple[float, str]


class _Vector(msgspec.Struct, frozen=True, tag_field="resultType", tag="vector"):
    result: list[_Series]


class _Scalar(msgspec.Struct, frozen=True, tag_field="resultType", tag="scalar"):
    result: tuple[float, str]


class _Answer(msgspec.Struct, frozen=True):
    data: _Vector | _Scalar


def measure(
    name: str, settings: Settings, subject: Subject, sources: Sources, counters: Mapping[str, Any]
) -> Measurement:
    """Ask for the value, and for the number of requests where that is wanted."""
    try:
        values = ask(settings.url, settings.query, settings.window, settings.token_file, subject, sources)
        requests = None
        if settings.requests_query:
            asked = ask(settings.url, settings.requests_query, settings.window, settings.token_file, subject, sources)
            requests = sum(asked)
    except HttpError as error:
        return Measurement(gate=name, outcome=Outcome.UNREACHABLE, reason=f"{name}: {explain(error)}")
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


def ask(url: str, query: str, window: str, token_file: str, subject: Subject, sources: Sources) -> list[float]:
    """The values of an instant query, without NaN; raises HttpError where it can't be had."""
    values = sides(subject, window)
    headers = {"Authorization": f"Bearer {read_token(token_file)}"} if token_file else {}
    answer = sources.http.get(
        fill(url, values).rstrip("/") + "/api/v1/query",
        params={"query": fill(query, values), "timeout": TIMEOUT},
        headers=headers,
    )
    data = answer.decode(_Answer).data
    texts = [series.value[1] for series in data.result] if isinstance(data, _Vector) else [data.result[1]]
    try:
        numbers = [float(text) for text in texts]
    except ValueError as error:
        raise HttpError(f"{answer.url} answered with a value that is no number ({error})", answer.status) from None
    return [number for number in numbers if not math.isnan(number)]


def read_token(path: str) -> str:
    """The token that stands in a file, which is read at every use since tokens are renewed."""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"token_file: {path} can't be read ({error})") from None


def explain(error: HttpError) -> str:
    """The error, with what to do where the server refused the question."""
    if error.status in (400, 422):
        return f"{error}; correct the gate's query"
    if error.status == 401:
        return f"{error}; give the server's token in token_file"
    return str(error)
