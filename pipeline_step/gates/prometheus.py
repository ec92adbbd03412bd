"""Gate `prometheus`: the value of an instant query between `min` and `max`.

https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pipeline_step.gates.placeholders import fill, sides
from pipeline_step.gates.promql import instant
from pipeline_step.gates.query import Query, check_url, secret
from pipeline_step.gates.query import measure as measure_query
from pipeline_step.settings import says

if TYPE_CHECKING:
    from pipeline_step.gates import Sources, Subject
    from pipeline_step.model import Measurement


class Settings(Query, frozen=True, kw_only=True):
    """The server's address, and a file with a bearer token where it wants one.

    The query's range selectors use `${window}`, such as `rate(http_requests_total[${window}])`.
    """

    url: Annotated[str, says("the server")]
    token_file: Annotated[str, says("a file with a bearer token, where the server wants one")] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_url(self.url)


def measure(
    name: str, settings: Settings, subject: Subject, sources: Sources, counters: Mapping[str, Any]
) -> Measurement:
    """Ask for the value, and for the number of requests where that is wanted."""
    url = fill(settings.url, sides(subject))
    token = secret(settings.token_file, "token_file") if settings.token_file else ""

    def ask(query: str) -> list[float]:
        return [sample.value for sample in instant(sources.http, url, query, token)]

    return measure_query(name, settings, subject, ask, [token])
