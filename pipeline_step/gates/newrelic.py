"""Gate `newrelic`: the value of a NRQL query, asked through NerdGraph, between `min` and `max`.

https://docs.newrelic.com/docs/apis/nerdgraph/examples/nerdgraph-nrql-tutorial/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from pipeline_step.errors import HttpError
from pipeline_step.gates.query import Query, check_url, secret
from pipeline_step.gates.query import measure as measure_query
from pipeline_step.settings import says

if TYPE_CHECKING:
    from pipeline_step.gates import Sources, Subject
    from pipeline_step.model import Measurement

GRAPHQL = """\
query ($account: Int!, $nrql: Nrql!) {
  actor { account(id: $account) { nrql(query: $nrql, timeout: 5) { results } } }
}"""
TIMES = {"beginTimeSeconds", "endTimeSeconds", "timestamp"}


class Settings(Query, frozen=True, kw_only=True):
    """The account's number and the file with a user key; `url` differs for accounts in the EU.

    The query gives one number, such as `SELECT percentage(count(*), WHERE httpResponseCode < 500) FROM Transaction
    WHERE service = '${preview_service}' SINCE ${window} ago`, where `window` is written as `1 minute`.
    """

    account: Annotated[int, says("the account's number")]
    api_key_file: Annotated[str, says("a file with a user key")]
    url: Annotated[str, says("the API; accounts in the EU have another")] = "https://api.newrelic.com/graphql"
    window: Annotated[str, says("the time to look back at, as NRQL writes it")] = "1 minute"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_url(self.url)


class _Nrql(msgspec.Struct, frozen=True):
    results: list[dict[str, Any]]


class _Account(msgspec.Struct, frozen=True):
    nrql: _Nrql | None = None


class _Actor(msgspec.Struct, frozen=True):
    account: _Account | None = None


class _Data(msgspec.Struct, frozen=True):
    actor: _Actor | None = None


class _Error(msgspec.Struct, frozen=True):
    message: str = ""


class _Answer(msgspec.Struct, frozen=True):
    data: _Data | None = None
    errors: list[_Error] = []


def measure(
    name: str, settings: Settings, subject: Subject, sources: Sources, counters: Mapping[str, Any]
) -> Measurement:
    """Ask for the value; with FACET or TIMESERIES every row counts."""
    key = secret(settings.api_key_file, "api_key_file")

    def ask(query: str) -> list[float | None]:
        response = sources.http.request(
            "POST",
            settings.url,
            json={"query": GRAPHQL, "variables": {"account": settings.account, "nrql": query}},
            headers={"API-Key": key},
            idempotent=True,
        )
        answer = response.decode(_Answer)
        # GraphQL says 200 to everything, and what is wrong beside what it found.
        if answer.errors:
            raise HttpError(f"{response.url} answered: {answer.errors[0].message}; correct the gate's query", 400)
        found = answer.data and answer.data.actor and answer.data.actor.account and answer.data.actor.account.nrql
        if not found:
            raise HttpError(f"{response.url} knows no account {settings.account} for this key", response.status)
        return [number(row, response.url) for row in found.results]

    return measure_query(name, settings, subject, ask, [key])


def number(row: Mapping[str, Any], url: str) -> float | None:
    """The one number of a row; raises HttpError where there are several. A row without values has None."""
    values = {key: value for key, value in row.items() if key not in TIMES and isinstance(value, int | float)}
    if len(values) > 1:
        raise HttpError(f"{url} answered with several values ({', '.join(values)}); select one in the gate's query")
    return next(iter(values.values()), None)
