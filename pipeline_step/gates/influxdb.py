"""Gate `influxdb`: the newest value of a Flux query between `min` and `max`.

https://docs.influxdata.com/influxdb/v2/api/v2/#post-/api/v2/query
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pipeline_step.errors import HttpError
from pipeline_step.gates.query import Query, check_url, secret
from pipeline_step.gates.query import measure as measure_query
from pipeline_step.settings import says

if TYPE_CHECKING:
    from pipeline_step.gates import Sources, Subject
    from pipeline_step.model import Measurement


class Settings(Query, frozen=True, kw_only=True):
    """The server's address, the organisation, and the file with an API token.

    The query is Flux, such as `from(bucket: "shop") |> range(start: -${window}) |> ...`; its column `_value` counts.
    """

    url: Annotated[str, says("the server")]
    org: Annotated[str, says("the organisation")]
    token_file: Annotated[str, says("a file with an API token")]

    def __post_init__(self) -> None:
        super().__post_init__()
        check_url(self.url)


def measure(
    name: str, settings: Settings, subject: Subject, sources: Sources, counters: Mapping[str, Any]
) -> Measurement:
    """Run the query; each table of the answer counts with its last row."""
    token = secret(settings.token_file, "token_file")

    def ask(query: str) -> list[float | None]:
        response = sources.http.request(
            "POST",
            f"{settings.url.rstrip('/')}/api/v2/query",
            params={"org": settings.org},
            body=query.encode(),
            headers={
                "Authorization": f"Token {token}",
                "Content-Type": "application/vnd.flux",
                "Accept": "application/csv",
            },
            idempotent=True,
        )
        try:
            return table_ends(response.text)
        except ValueError as error:
            raise HttpError(f"{response.url} answered {error}", response.status) from None

    return measure_query(name, settings, subject, ask, [token])


def table_ends(text: str) -> list[float | None]:
    """The last `_value` of every table in an answer; raises ValueError for an error in it, or for other text."""
    header: list[str] = []
    ends: dict[tuple[str, str], float | None] = {}
    for row in csv.reader(text.splitlines()):
        if not any(row):
            header = []  # tables of another shape follow
        elif not header:
            header = row
            if "error" not in header and not {"table", "_value"} <= set(header):
                raise ValueError(f"with no column _value, but: {', '.join(filter(None, header))[:200]}")
        else:
            cells = dict(zip(header, row, strict=False))
            if cells.get("error"):
                raise ValueError(f"an error: {cells['error']}; correct the gate's query")
            ends[cells.get("result", ""), cells.get("table", "")] = _number(cells.get("_value", ""))
    return list(ends.values())


def _number(text: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        raise ValueError(f"with a _value that is no number: {text[:80]!r}") from None
