"""Gates: what measures a preview's health. One module each, in a visible table.

A gate reads (it does I/O) and says what it saw as a `Measurement`; what follows from that is for `decide` to say.
Its `Settings` are what the user writes under `- NAME:` in the list `gates:` of the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pipeline_step.gates import (
    approval,
    cloudwatch,
    compare,
    datadog,
    dynatrace,
    graphite,
    http_check,
    influxdb,
    job,
    newrelic,
    prometheus,
    scrape,
    stackdriver,
    webhook,
)
from pipeline_step.model import Backend, Measurement

if TYPE_CHECKING:
    from pipeline_step.cluster import Cluster
    from pipeline_step.http import Http
    from pipeline_step.scm import Repository, Scm


@dataclass(frozen=True, kw_only=True, slots=True)
class Subject:
    """What is measured: the two sides, the preview's percentage now, and what queries may name.

    `began` is when the preview got this percentage and `now` is the time of the measurement, in seconds since 1970.
    `share` is the percentage of both sides' requests that should be the preview's; None where nobody can know.
    """

    stable: Backend
    preview: Backend
    weight: int
    share: float | None
    began: float
    now: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversation:
    """The pull request at its Git provider, where people approve; `http` carries the provider's credentials."""

    scm: Scm
    http: Http
    repository: Repository
    number: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """Where gates read from: the clusters by context, judged together, plain HTTP, the pull request if there is one.

    All should give up after a few seconds (`Http(timeout=(2, 5), patience=5)`, `Cluster(patience=3)`), since
    requests are failing while a gate waits.
    """

    clusters: Mapping[str, Cluster]
    http: Http
    conversation: Conversation | None = None


class Gate(Protocol):
    """What a gate's module offers.

    `measure` raises nothing for a source that fails: that is an outcome. It raises `ConfigError` where what the
    source has can't answer what the settings ask, such as a latency that is no bucket edge.
    """

    @property
    def Settings(self) -> type:  # noqa: N802
        """What the user writes below the gate's name in the configuration."""

    def measure(
        self, name: str, settings: Any, subject: Subject, sources: Sources, counters: Mapping[str, Any]
    ) -> Measurement:
        """Look once.

        `counters` is what the gate's previous measurement of this rollout returned, through all its steps, or empty
        at its start; a gate that counts by step sees by `subject.began` that another one began.
        """


GATES: dict[str, Gate] = {
    "approval": approval,
    "cloudwatch": cloudwatch,
    "compare": compare,
    "datadog": datadog,
    "dynatrace": dynatrace,
    "graphite": graphite,
    "http": http_check,
    "influxdb": influxdb,
    "job": job,
    "newrelic": newrelic,
    "prometheus": prometheus,
    "scrape": scrape,
    "stackdriver": stackdriver,
    "webhook": webhook,
}
