"""Counts of requests from Prometheus' text format. Pure.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

import msgspec

from pipeline_step.errors import ConfigError
from pipeline_step.gates.latency import spelled
from pipeline_step.gates.placeholders import SIDE, check, check_pattern, fill
from pipeline_step.settings import Strict

STATUS_LABELS = ("code", "status", "response_code", "status_code", "http_status", "http_response_status_code")
START = "process_start_time_seconds"
MILLISECONDS = ("_milliseconds", "_millis", "_ms", "_rq_time", "_duration_milliseconds")


class Sample(NamedTuple):
    """One line of an exposition: a finite value of one series."""

    name: str
    labels: Mapping[str, str]
    value: float


class Metrics(Strict, frozen=True):
    """Which series count requests, bad ones and their durations.

    `requests` is a counter with the status in `status_label` (found by itself among the usual names); requests
    whose status matches `errors` as a whole are bad. `histogram` holds durations, in seconds unless its name or
    `unit` (`s` or `ms`) says milliseconds. `where` restricts both by label: a regular expression that the whole
    value must match, or must not where it begins with `!`. `side` tells the two sides apart where one source has
    both: label to value, with `${service}` and `${namespace}` of each side.
    """

    requests: str = "http_requests_total"
    status_label: str = ""
    errors: str = "5..|0"
    histogram: str = "http_request_duration_seconds"
    unit: str = ""
    where: dict[str, str] = msgspec.field(default_factory=dict)
    side: dict[str, str] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.unit not in ("", "s", "ms"):
            raise ValueError(f"unit {self.unit!r} is not valid; valid: s, ms")
        check_pattern(self.errors)
        for pattern in self.where.values():
            check_pattern(pattern)
        for value in self.side.values():
            check(value, SIDE)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that samples of these metrics have; a counter may be given without its `_total`."""
        return (
            self.requests,
            f"{self.requests}_total",
            f"{self.histogram}_bucket",
            f"{self.histogram}_count",
            START,
        )

    @property
    def per_second(self) -> float:
        """How many of the histogram's units a second has: 1 or 1000."""
        unit = self.unit or ("ms" if self.histogram.endswith(MILLISECONDS) else "s")
        return 1000.0 if unit == "ms" else 1.0

    def matches(self, labels: Mapping[str, str], side: Mapping[str, str]) -> bool:
        """Whether a series counts for a side, whose values of `SIDE` are given; a missing label is empty."""
        if any(labels.get(label, "") != fill(value, side) for label, value in self.side.items()):
            return False
        return all(
            bool(re.fullmatch(pattern.removeprefix("!"), labels.get(label, ""))) != pattern.startswith("!")
            for label, pattern in self.where.items()
        )


def parse(text: str, names: Collection[str]) -> list[Sample]:
    """The samples with these names whose values are finite; raises ValueError where `text` is not in the format.

    Lines of other metrics are left unread, since a proxy has thousands of them.
    """
    from prometheus_client.parser import text_string_to_metric_families

    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    wanted = [line for line in lines if line.startswith(tuple(names))]
    try:
        families = list(text_string_to_metric_families("\n".join(wanted or lines[:1]) + "\n"))
    except (ValueError, IndexError, KeyError) as error:
        raise ValueError(f"not in Prometheus' text format ({error})") from None
    found = [Sample(s.name, s.labels, s.value) for family in families for s in family.samples if s.name in names]
    return [sample for sample in found if math.isfinite(sample.value)]


def counter_names(text: str) -> list[str]:
    """What an exposition offers as counters of requests, to show where the configured one is missing."""
    found = re.findall(r"^([a-zA-Z_:][\w:]*(?:_total|_requests|_rq|_count))[{ ]", text, re.MULTILINE)
    return sorted({name for name in found if not name.startswith(("go_", "python_gc", "process_"))})


def started(samples: Iterable[Sample]) -> float | None:
    """When the process began, in seconds since 1970, where it says so."""
    return next((sample.value for sample in samples if sample.name == START), None)


def requests(samples: Iterable[Sample], metrics: Metrics, side: Mapping[str, str]) -> tuple[float, float] | None:
    """All requests of a side and the bad ones, or None where no series counts them.

    Raises ConfigError where the series have no label with the status.
    """
    counted = [
        sample
        for sample in samples
        if sample.name in (metrics.requests, f"{metrics.requests}_total") and metrics.matches(sample.labels, side)
    ]
    if not counted:
        return None
    label = metrics.status_label or next((name for name in STATUS_LABELS if name in counted[0].labels), "")
    if label not in counted[0].labels:
        there = ", ".join(sorted(counted[0].labels)) or "none"
        raise ConfigError(
            f"{metrics.requests} has no label {label or 'for the status'!r}, so failures can't be told; "
            f"set status_label to one of its labels: {there}"
        )
    bad = sum(s.value for s in counted if re.fullmatch(metrics.errors, s.labels.get(label, "")))
    return sum(s.value for s in counted), bad


def durations(
    samples: Iterable[Sample], metrics: Metrics, side: Mapping[str, str]
) -> tuple[float, dict[float, float]] | None:
    """All timed requests of a side, and by bucket edge (seconds, rising) those not slower; None without series."""
    edges: dict[float, float] = {}
    total = 0.0
    for sample in samples:
        if sample.name != f"{metrics.histogram}_bucket" or not metrics.matches(sample.labels, side):
            continue
        edge = float(sample.labels.get("le", "nan"))
        if edge == math.inf:
            total += sample.value
        elif math.isfinite(edge):
            edge = round(edge / metrics.per_second, 9)
            edges[edge] = edges.get(edge, 0.0) + sample.value
    return (total, dict(sorted(edges.items()))) if edges else None


def within(edges: Mapping[float, float], limit: float, histogram: str) -> float:
    """The count at the bucket edge `limit` (seconds); raises ConfigError naming the edges where it is none."""
    if limit not in edges:
        listed = ", ".join(map(spelled, edges))
        raise ConfigError(f"slower_than: {spelled(limit)} is no bucket edge of {histogram}; its edges are: {listed}")
    return edges[limit]
