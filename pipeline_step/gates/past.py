"""What stable's own past teaches the judge before it looks at a preview: the usual rates, and how much pods differ.

Evidence weighs less for as long as it is not known how much failures come in bursts, and so a fault takes longer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline_step.errors import ConfigError, HttpError
from pipeline_step.gates import history, promql
from pipeline_step.gates.history import History, only
from pipeline_step.gates.increments import Advance
from pipeline_step.gates.windows import windows
from pipeline_step.judge import Evidence, Policy, update

if TYPE_CHECKING:
    from pipeline_step.http import Http
    from pipeline_step.model import Backend

POLL = 5.0  # seconds of a window, or the time between two samples if that is longer
NOBODY = Advance({}, (), {})


def taught(policy: Policy, evidence: Evidence, found: History) -> Evidence:
    """The evidence with a history in it, for the metrics that have none yet. Pure."""
    new = tuple(metric for metric in policy.metrics if metric.name not in evidence.metrics)
    learnt = Evidence()
    for rows in found.windows:
        counted = windows(NOBODY, only(rows, list(rows), found.edges), new)
        learnt = update(policy, learnt, counted, 0.0)
    return Evidence({**evidence.metrics, **learnt.metrics}, evidence.share)


def learn(
    policy: Policy, evidence: Evidence, server: promql.Server, stable: Backend, http: Http, *, end: float, since: float
) -> Evidence:
    """The evidence with what a Prometheus server knows of stable before `end`; unchanged where it knows nothing.

    A past that can't be read is no reason to wait: the judge is only slower without it. Metrics are asked for one by
    one, since the durations of many pods may be more than a server gives in time.
    """
    for metric in policy.metrics:
        if since <= 0 or metric.name in evidence.metrics:
            continue
        limit, edges = (metric.edge, metric.edges) if metric.edges else (None, ())
        try:
            found = history.read(server, stable, http, limit=limit, end=end, since=since, poll=POLL, edges=edges)
            evidence = taught(replace(policy, metrics=(metric,)), evidence, found)
        except (HttpError, ConfigError):
            continue
    return evidence
