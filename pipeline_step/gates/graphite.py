"""Gate `graphite`: the newest value of a target of the render API between `min` and `max`.

https://graphite.readthedocs.io/en/latest/render_api.html
"""

from __future__ import annotations

import base64
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
    """The server's address, and where it wants a password the file with USER:PASSWORD."""

    url: Annotated[str, says("the server")]
    password_file: Annotated[str, says("a file with USER:PASSWORD, where the server wants one")] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_url(self.url)


class _Series(msgspec.Struct, frozen=True):
    datapoints: list[tuple[float | None, float]]


def measure(
    name: str, settings: Settings, subject: Subject, sources: Sources, counters: Mapping[str, Any]
) -> Measurement:
    """Ask for the window's points; each series counts with its newest."""
    password = secret(settings.password_file, "password_file") if settings.password_file else ""
    headers = {"Authorization": "Basic " + base64.b64encode(password.encode()).decode()} if password else {}
    start, end = settings.range(subject)

    def ask(query: str) -> list[float | None]:
        response = sources.http.get(
            f"{settings.url.rstrip('/')}/render",
            params={"target": query, "from": start, "until": end, "format": "json"},
            headers=headers,
        )
        return [last([value for value, _ in series.datapoints]) for series in response.decode(list[_Series])]

    return measure_query(name, settings, subject, ask, [password])
