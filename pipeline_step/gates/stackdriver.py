"""Gate `stackdriver` (Google Cloud Monitoring): the value of a PromQL query between `min` and `max`.

https://cloud.google.com/monitoring/api/ref_v3/rest/v1/projects.location.prometheus.api.v1/query
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from pipeline_step.errors import HttpError
from pipeline_step.gates.promql import instant
from pipeline_step.gates.query import Query, check_url, secret
from pipeline_step.gates.query import measure as measure_query
from pipeline_step.settings import says

if TYPE_CHECKING:
    from pipeline_step.gates import Sources, Subject
    from pipeline_step.http import Http
    from pipeline_step.model import Measurement

TOKEN_PATH = "/computeMetadata/v1/instance/service-accounts/default/token"  # a path, no token


class Settings(Query, frozen=True, kw_only=True):
    """The project, and the file with an access token; without one it is asked of the metadata server.

    That server is there on every node of GKE, and gives the token of the pod's own service account.
    """

    project: Annotated[str, says("the Google Cloud project")]
    token_file: Annotated[str, says("a file with an access token; without one the metadata server gives it")] = ""
    url: Annotated[str, says("the API")] = "https://monitoring.googleapis.com"
    metadata_url: Annotated[str, says("the metadata server")] = "http://metadata.google.internal"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_url(self.url)
        check_url(self.metadata_url, "metadata_url")


class _Token(msgspec.Struct, frozen=True):
    access_token: str


def measure(
    name: str, settings: Settings, subject: Subject, sources: Sources, counters: Mapping[str, Any]
) -> Measurement:
    """Ask for the value, with the token of now."""
    url = f"{settings.url.rstrip('/')}/v1/projects/{settings.project}/location/global/prometheus"
    secrets: list[str] = []

    def ask(query: str) -> list[float]:
        if not secrets:
            secrets.append(access_token(settings, sources.http))
        return [sample.value for sample in instant(sources.http, url, query, secrets[0])]

    return measure_query(name, settings, subject, ask, secrets)


def access_token(settings: Settings, http: Http) -> str:
    """From the file, or from the metadata server; raises HttpError with what to do where there is none.

    https://cloud.google.com/compute/docs/access/authenticate-workloads#applications
    """
    if settings.token_file:
        return secret(settings.token_file, "token_file")
    try:
        answer = http.get(settings.metadata_url.rstrip("/") + TOKEN_PATH, headers={"Metadata-Flavor": "Google"})
        return answer.decode(_Token).access_token
    except HttpError as error:
        raise HttpError(f"no access token: {error}; outside of Google's cloud set token_file", error.status) from error
