"""Gate `datadog`: the newest value of a metrics query between `min` and `max`.

https://docs.datadoghq.com/api/latest/metrics/#query-timeseries-points
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from pipeline_step.errors import HttpError
from pipeline_step.gates.query import Query, check_url, last, secret
from pipeline_step.gates.query import measure as measure_query
from pipeline_step.settings import Duration, says

if TYPE_CHECKING:
    from pipeline_step.gates import Sources, Subject
    from pipeline_step.model import Measurement


class Settings(Query, frozen=True, kw_only=True):
    """The API of the account's site, and the files with an API key and an application key.

    Datadog needs some minutes of points to answer, so the window is longer than elsewhere.
    """

    api_key_file: Annotated[str, says("a file with an API key")]
    app_key_file: Annotated[str, says("a file with an application key")]
    url: Annotated[str, says("the API of the account's site")] = "https://api.datadoghq.com"
    window: Annotated[Duration, says("the time that the query looks back at")] = "5m"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_url(self.url)


class _Series(msgspec.Struct, frozen=True):
    pointlist: list[tuple[float | None, float | None]]


class _Answer(msgspec.Struct, frozen=True):
    status: str
    series: list[_Series] = []
    error: str = ""


def measure(
    name: str, settings: Settings, subject: Subject, sources: Sources, counters: Mapping[str, Any]
) -> Measurement:
    """Ask for the window's points; each series counts with its newest."""
    api_key = secret(settings.api_key_file, "api_key_file")
    app_key = secret(settings.app_key_file, "app_key_file")
    start, end = settings.range(subject)

    def ask(query: str) -> list[float | None]:
        response = sources.http.get(
            f"{settings.url.rstrip('/')}/api/v1/query",
            params={"from": start, "to": end, "query": query},
            headers={"DD-API-KEY": api_key, "DD-APPLICATION-KEY": app_key},
        )
        answer = response.decode(_Answer)
        if answer.status != "ok":
            raise HttpError(f"{response.url} answered {answer.status}: {answer.error}", response.status)
        return [last([value for _, value in series.pointlist]) for series in answer.series]

    return measure_query(name, settings, subject, ask, [api_key, app_key])
