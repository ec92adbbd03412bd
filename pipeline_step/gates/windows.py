"""One poll of both sides as the judge wants it: increments of counters as windows of requests. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline_step.gates import exposition
from pipeline_step.gates.exposition import Metrics
from pipeline_step.gates.increments import Advance, Reading, advance
from pipeline_step.gates.scraping import Scraped
from pipeline_step.judge import Metric, Side, Window

FIXED = 3  # requests, failed, timed; then the slower ones by edge
FAR = 20  # edges above this many times the limit tell nothing


def common_edges(
    series: Metrics, scraped: Mapping[str, Scraped], labels: Mapping[str, Mapping[str, str]], limit: float
) -> tuple[float, ...]:
    """The bucket edges that every pod of both sides has, once both sides show any; empty before that.

    `labels` are the values of each side's placeholders. Raises ConfigError where `limit` (seconds) is no edge.
    """
    common: dict[float, float] | None = None
    for key, one in scraped.items():
        found = [exposition.durations(samples, series, labels[key]) for samples in one.samples.values()]
        known = [timed[1] for timed in found if timed is not None]
        if not known:
            return ()
        for edges in known:
            common = edges if common is None else {edge: 0.0 for edge in common if edge in edges}
    exposition.within(common or {}, limit, series.histogram)
    return tuple(edge for edge in common or {} if edge <= FAR * limit)


def count(
    series: Metrics,
    scraped: Scraped,
    labels: Mapping[str, str],
    edges: tuple[float, ...],
    before: Mapping[str, Any],
    began: float,
) -> Advance:
    """One side's window, in rows of requests, failed, timed and slower ones by edge; `before` is its last state."""
    readings = {}
    for pod, samples in scraped.samples.items():
        counts = exposition.requests(samples, series, labels) or (0.0, 0.0)
        total, by_edge = exposition.durations(samples, series, labels) or (0.0, dict.fromkeys(edges, 0.0))
        slower = tuple(total - exposition.within(by_edge, edge, series.histogram) for edge in edges)
        readings[pod] = Reading((*counts, total, *slower), exposition.started(samples))
    return advance(before, readings, began, FIXED + len(edges))


def windows(preview: Advance, stable: Advance, compared: tuple[Metric, ...]) -> dict[str, Window]:
    """One window for each metric, from what the pods added."""
    found = {}
    for metric in compared:
        total, first = (2, FIXED) if metric.edges else (0, 1)
        bad = tuple(range(first, first + max(1, len(metric.edges))))
        decisive = bad[metric.decisive]
        pods = tuple((_bounded(row[decisive], row[total]), round(row[total])) for row in stable.by_pod.values())
        found[metric.name] = Window(_side(preview, total, bad), _side(stable, total, bad), pods)
    return found


def _side(counted: Advance, total: int, bad: tuple[int, ...]) -> Side:
    rows = list(counted.by_pod.values())
    requests = sum(row[total] for row in rows)
    return Side(round(requests), tuple(_bounded(sum(row[column] for row in rows), requests) for column in bad))


def _bounded(bad: float, total: float) -> int:
    """Some clients count a request and its status at slightly different moments."""
    return round(max(0.0, min(bad, total)))
