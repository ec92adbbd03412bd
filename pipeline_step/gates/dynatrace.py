"""Gate `dynatrace`: the value of a metric selector between `min` and `max`.

https://docs.dynatrace.com/docs/dynatrace-api/environment-api/metric-v2/get-data-points
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from pipeline_step.gates.query import Query, check_url, last, secret
from pipeline_step.gates.query import measure as measure_query
from pipeline_step.settings import says

if TYPE_CHECKING:
    from pipeline_step.gates import Sources, Subject
    from pipeline_step.model import Measurement


class Settings(Query, frozen=True, kw_only=True):
    """The environment's address (https://ID.live.dynatrace.com) and the file with a token that may read metrics.

    The query is a metric selector; the whole window becomes one value.
    """

    url: Annotated[str, says("the environment, such as https://ID.live.dynatrace.com")]
    token_file: Annotated[str, says("a file with a token that may read metrics")]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_url(self.url)


class _Points(msgspec.Struct, frozen=True):
    values: list[float | None]


class _Series(msgspec.Struct, frozen=True):
    data: list[_Points]


class _Answer(msgspec.Struct, frozen=True):
    result: list[_Series]


def measure(
    name: str, settings: Settings, subject: Subject, sources: Sources, counters: Mapping[str, Any]
) -> Measurement:
    """Ask for the window as one point; each combination of dimensions counts."""
    token = secret(settings.token_file, "token_file")
    start, end = settings.range(subject)

    def ask(query: str) -> list[float | None]:
        response = sources.http.get(
            f"{settings.url.rstrip('/')}/api/v2/metrics/query",
            params={"metricSelector": query, "resolution": "Inf", "from": start * 1000, "to": end * 1000},
            headers={"Authorization": f"Api-Token {token}"},
        )
        return [last(points.values) for series in response.decode(_Answer).result for points in series.data]

    return measure_query(name, settings, subject, ask, [token])
