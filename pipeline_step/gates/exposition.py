"""Counts of requests from Prometheus' text format. Pure.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from pipeline_step.errors import ConfigError
from pipeline_step.gates.latency import spelled
from pipeline_step.gates.placeholders import fill

STATUS_LABELS = ("code", "status", "response_code", "status_code", "http_status", "http_response_status_code")
START = "process_start_time_seconds"
MILLISECONDS = ("_milliseconds", "_millis", "_ms", "_rq_time", "_duration_milliseconds")


class Sample(NamedTuple):
    """One line of an exposition: a finite value of one series."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Metrics:
    """Which series count requests, bad ones and their durations; `presets.Series` says how they are chosen.

    An empty `status_label` is found among the usual names, an empty `unit` by the histogram's name.
    """

    requests: str
    histogram: str
    status_label: str = ""
    errors: str = "5..|0"
    unit: str = ""
    where: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that samples of these metrics have."""
        return (self.requests, f"{self.histogram}_bucket", START)

    @property
    def per_second(self) -> float:
        """How many of the histogram's units a second has: 1 or 1000."""
        unit = self.unit or ("ms" if self.histogram.endswith(MILLISECONDS) else "s")
        return 1000.0 if unit == "ms" else 1.0

    @property
    def tells_sides(self) -> bool:
        """Whether the labels tell preview and stable apart where both are in one place."""
        return any(re.search(r"\$\{?(service|namespace)", pattern) for pattern in self.where.values())

    def matches(self, labels: Mapping[str, str], side: Mapping[str, str]) -> bool:
        """Whether a series counts for a side, whose values of `SIDE` are given; a missing label is empty."""
        return all(
            bool(re.fullmatch(fill(pattern.removeprefix("!"), side), labels.get(label, ""))) != pattern.startswith("!")
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

    A series without a status is one only where `errors` matches the empty status: Envoy counts every request a second
    time by class alone, under the same name.
    Raises ConfigError where the series have no label with the status.
    """
    counted = [sample for sample in samples if sample.name == metrics.requests and metrics.matches(sample.labels, side)]
    if not counted:
        return None
    found = {name for sample in counted for name in sample.labels}
    label = metrics.status_label or next((name for name in STATUS_LABELS if name in found), "")
    if label not in found:
        there = ", ".join(sorted(found)) or "none"
        raise ConfigError(
            f"{metrics.requests} has no label {label or 'for the status'!r}, so failures can't be told; "
            f"set status_label to one of its labels: {there}"
        )
    if not re.fullmatch(metrics.errors, ""):
        counted = [sample for sample in counted if label in sample.labels]
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
