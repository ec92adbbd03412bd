"""What stable has served, from a Prometheus server: the counters of each of its processes, differenced here."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline_step.errors import ConfigError
from pipeline_step.gates import exposition, promql
from pipeline_step.gates.exposition import Sample
from pipeline_step.gates.increments import Advance
from pipeline_step.gates.placeholders import fill, side
from pipeline_step.gates.query import secret
from pipeline_step.gates.scraping import Scraped
from pipeline_step.gates.windows import FIXED, common_edges, count

if TYPE_CHECKING:
    from pipeline_step.http import Http
    from pipeline_step.model import Backend

Rows = Mapping[str, tuple[float, ...]]
"""By process what a window added: requests, failed, timed and the slower ones by edge."""


@dataclass(frozen=True, kw_only=True)
class History:
    """Windows of `step` seconds, and the edges that their last columns count by."""

    step: float
    edges: tuple[float, ...]
    windows: Sequence[Rows]

    @property
    def processes(self) -> list[str]:
        """All that counted requests, by name."""
        return sorted({name for rows in self.windows for name, row in rows.items() if row[0]})


def read(
    server: promql.Server,
    stable: Backend,
    http: Http,
    *,
    limit: float | None,
    end: float,
    since: float,
    poll: float,
    edges: tuple[float, ...] = (),
) -> History:
    """Stable's counters from `since` seconds before `end` on, at every poll but not more often than they change.

    Durations are read where there is a `limit` for them, in seconds, by `edges` or all that stable has. Raises
    `HttpError`, and `ConfigError` where the server has nothing that can be counted.
    """
    labels = side(stable)
    url = fill(server.url, {"stable_service": stable.service, "stable_namespace": stable.namespace})
    token = secret(server.token_file, "token_file") if server.token_file else ""
    between = promql.instant(http, url, promql.between_samples(server.metrics, labels), token, end)
    step = max(poll, round(between[0].value, 1) if between else 0.0)
    samples: dict[float, dict[str, list[Sample]]] = {}
    for name, query in promql.queries(server.metrics, labels, durations=limit is not None).items():
        for found, values in promql.ranged(http, url, query, token, end - since, end, step):
            process = "/".join(filter(None, (found.get(label, "") for label in promql.PROCESS)))
            for time, value in values:
                if math.isfinite(value):
                    samples.setdefault(time, {}).setdefault(process, []).append(Sample(name, found, value))
    if len(samples) < 2:
        query = next(iter(promql.queries(server.metrics, labels, durations=False).values()))
        raise ConfigError(f"{url} has no history of stable in that time: {query}")
    scraped = {time: Scraped(one, len(one), ()) for time, one in sorted(samples.items())}
    series = dataclasses.replace(server.metrics, where={})  # which the server has applied
    last = list(scraped.values())[-1]
    if limit is not None and not edges:
        edges = common_edges(series, {"stable": last}, {"stable": labels}, limit)
    return History(step=step, edges=edges, windows=_windows(series, list(scraped.values()), labels, edges))


def _windows(
    series: exposition.Metrics, scraped: Sequence[Scraped], labels: Mapping[str, str], edges: tuple[float, ...]
) -> list[Rows]:
    state: Mapping[str, object] = {}
    rows = []
    for one in scraped:
        counted = count(series, one, labels, edges, state, math.inf)
        state = counted.state
        rows.append(counted.by_pod)
    return rows[1:]


def only(rows: Rows, names: Sequence[str], edges: tuple[float, ...]) -> Advance:
    """What these processes added, as one side of a comparison."""
    nothing = (0.0,) * (FIXED + len(edges))
    return Advance({name: rows.get(name, nothing) for name in names}, nothing, {})
