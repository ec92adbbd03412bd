"""A Prometheus server: instant queries, and raw counters of both sides at one timestamp.

Counters are never asked for as `rate()`, whose windows overlap: what is subtracted is subtracted here.
https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec

from pipeline_step.errors import HttpError
from pipeline_step.gates.exposition import STATUS_LABELS, Metrics, Sample
from pipeline_step.gates.placeholders import fill, side, sides
from pipeline_step.gates.presets import OWN_SERVICE, Series
from pipeline_step.gates.query import check_url, secret
from pipeline_step.gates.scraping import Scraped
from pipeline_step.settings import says

if TYPE_CHECKING:
    from pipeline_step.gates import Sources, Subject
    from pipeline_step.http import Http

TIMEOUT = "5s"
POINTS = 10_000
PROCESS = ("instance", "pod")  # labels that tell counters of one process from another's


class Value(NamedTuple):
    """One sample of an answer: its labels, the time it holds for, and its value, which may be NaN."""

    labels: Mapping[str, str]
    time: float
    value: float


class _Series(msgspec.Struct, frozen=True):
    value: tuple[float, str]
    metric: dict[str, str] = {}


class _Vector(msgspec.Struct, frozen=True, tag_field="resultType", tag="vector"):
    result: list[_Series]


class _Scalar(msgspec.Struct, frozen=True, tag_field="resultType", tag="scalar"):
    result: tuple[float, str]


class _Answer(msgspec.Struct, frozen=True):
    data: _Vector | _Scalar


class _Row(msgspec.Struct, frozen=True):
    values: list[tuple[float, str]]
    metric: dict[str, str] = {}


class _Matrix(msgspec.Struct, frozen=True):
    result: list[_Row]


class _Range(msgspec.Struct, frozen=True):
    data: _Matrix


def instant(http: Http, url: str, query: str, token: str = "", at: float | None = None) -> list[Value]:
    """The answer to an instant query, at a time or now; raises HttpError, with what to do, where there is none."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    params: dict[str, str | int] = {"query": query, "timeout": TIMEOUT}
    if at is not None:
        params["time"] = f"{at:.3f}"
    try:
        answer = http.get(f"{url.rstrip('/')}/api/v1/query", params=params, headers=headers)
        data = answer.decode(_Answer).data
    except HttpError as error:
        raise _advised(error) from error
    found = [(s.metric, *s.value) for s in data.result] if isinstance(data, _Vector) else [({}, *data.result)]
    try:
        return [Value(labels, time, float(text)) for labels, time, text in found]
    except ValueError as error:
        raise HttpError(f"{answer.url} answered with a value that is no number ({error})", answer.status) from None


def ranged(
    http: Http, url: str, query: str, token: str, start: float, end: float, step: float
) -> list[tuple[Mapping[str, str], list[tuple[float, float]]]]:
    """The answer to a range query: by labels the (time, value) at each step; raises HttpError.

    A server gives 11,000 points of a series at once, so a long range is asked for in parts.
    https://prometheus.io/docs/prometheus/latest/querying/api/#range-queries
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    found: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    while start <= end:
        last = min(end, start + (POINTS - 1) * step)
        params: dict[str, str | int] = {
            "query": query,
            "start": f"{start:.3f}",
            "end": f"{last:.3f}",
            "step": f"{step:g}",
        }
        try:
            rows = http.get(f"{url.rstrip('/')}/api/v1/query_range", params=params, headers=headers).decode(_Range)
        except HttpError as error:
            raise _advised(error) from error
        for row in rows.data.result:
            values = found.setdefault(tuple(sorted(row.metric.items())), [])
            values += [(time, float(text)) for time, text in row.values]
        start = last + step
    return [(dict(labels), values) for labels, values in found.items()]


def _advised(error: HttpError) -> HttpError:
    if error.status in (400, 422):
        return HttpError(f"{error}; correct the gate's query", error.status)
    if error.status == 401:
        return HttpError(f"{error}; give the server's token in token_file", error.status)
    return error


class Server(Series, frozen=True, kw_only=True):
    """The server that has the counters of both sides; `token_file` names a file with a bearer token.

    The labels `namespace` and `service` of the scrape tell the sides apart where neither preset nor `where` does.
    """

    url: Annotated[str, says("the server")]
    token_file: Annotated[str, says("a file with a bearer token, where the server wants one")] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_url(self.url)

    @property
    def metrics(self) -> Metrics:
        """The preset with the user's values over it, always with labels that tell the sides apart."""
        metrics = super().metrics
        if metrics.tells_sides:
            return metrics
        return dataclasses.replace(metrics, where={**OWN_SERVICE, **metrics.where})


def queries(metrics: Metrics, labels: Mapping[str, str], *, durations: bool) -> dict[str, str]:
    """The resolved queries of one side, whose values of `SIDE` are given, by the name that their samples have."""
    matchers = _matchers(metrics, labels)
    status = (metrics.status_label,) if metrics.status_label else STATUS_LABELS
    found = {metrics.requests: f"sum by ({', '.join((*PROCESS, *status))}) ({metrics.requests}{{{matchers}}})"}
    if durations:
        bucket = f"{metrics.histogram}_bucket"
        found[bucket] = f"sum by ({', '.join((*PROCESS, 'le'))}) ({bucket}{{{matchers}}})"
    return found


def _matchers(metrics: Metrics, labels: Mapping[str, str]) -> str:
    return ",".join(
        f"{label}{'!~' if pattern.startswith('!') else '=~'}"
        f"{json.dumps(fill(pattern.removeprefix('!'), labels), ensure_ascii=False)}"
        for label, pattern in metrics.where.items()
    )


def between_samples(metrics: Metrics, labels: Mapping[str, str]) -> str:
    """The query for the seconds between two samples of one side, on average over at most five minutes."""
    series = f"{metrics.requests}{{{_matchers(metrics, labels)}}}"
    return f"(time() - min(min_over_time(timestamp({series})[5m:5s]))) / max(count_over_time({series}[5m]))"


def staleness(metrics: Metrics, labels: Mapping[str, str]) -> str:
    """The query for the seconds that one side's counters may lag behind: between two samples, or the newest's age.

    The newest is older than that where samples arrive late, as from recording rules or a remote write.
    """
    between = between_samples(metrics, labels)
    age = f"(time() - max(timestamp({metrics.requests}{{{_matchers(metrics, labels)}}})))"
    return f"({between} > {age}) or {age}"


def read(
    settings: Server, subject: Subject, sources: Sources, *, durations: bool, at: float | None = None
) -> dict[str, Scraped]:
    """The samples of `preview` and `stable` by process, all of one time; a server that can't say is a failure.

    They are summed by the server and so without the labels of `where`.
    """
    url = fill(settings.url, sides(subject))
    token = secret(settings.token_file, "token_file") if settings.token_file else ""
    samples: dict[str, dict[str, list[Sample]]] = {"preview": {}, "stable": {}}
    late = 0.0
    try:
        # Stable first: its answer is hardly ever empty, and gives the time that holds for all.
        for key, backend in (("stable", subject.stable), ("preview", subject.preview)):
            for name, query in queries(settings.metrics, side(backend), durations=durations).items():
                for labels, time, value in instant(sources.http, url, query, token, at):
                    at = time if at is None else at
                    process = "/".join(filter(None, (labels.get(label, "") for label in PROCESS)))
                    if math.isfinite(value):
                        samples[key].setdefault(process, []).append(Sample(name, labels, value))
        for _, _, value in instant(sources.http, url, staleness(settings.metrics, side(subject.stable)), token, at):
            late = value
    except HttpError as error:
        return {key: Scraped({}, 1, (str(error),)) for key in samples}
    # A proxy that counts for one side is there for the other too, at nothing until its first request.
    processes = samples["preview"].keys() | samples["stable"].keys()
    return {
        key: Scraped({process: found.get(process, []) for process in processes}, len(found), (), staleness=late)
        for key, found in samples.items()
    }
