"""Gate `scrape`: the share of failed and of slow requests, from counters that pods or a proxy already show.

Nothing has to be installed: every ready pod's Prometheus endpoint is read through the API server's pod proxy, or
one proxy's by `url`. Counters are subtracted here, from the first measurement of the step on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline_step.errors import ConfigError, HttpError
from pipeline_step.gates import exposition, pods
from pipeline_step.gates.increments import Reading, advance
from pipeline_step.gates.latency import Latency, latency
from pipeline_step.gates.placeholders import SIDES, check, fill, side, sides
from pipeline_step.model import Backend, Counts, Measurement, Outcome
from pipeline_step.settings import Percent, Port

if TYPE_CHECKING:
    from pipeline_step.gates import Sources, Subject

WIDTH = 4  # requests, failed, timed, slow
ROWS = ("preview", "stable")


class Settings(exposition.Metrics, frozen=True):
    """Where the counters are, and the limits: percentages of the preview's requests since the step began.

    Durations are judged only with `slower_than`, which must be an edge of the histogram's buckets. `port` is that
    of the metrics where it is not the Service's own.
    """

    url: str = ""
    port: Port | None = None
    path: str = "/metrics"
    min_success: Percent = 99
    slower_than: Latency = ""
    max_slow: Percent = 1
    min_requests: int = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.url, SIDES)
        if self.url and not self.side:
            raise ValueError("url needs `side`, the labels that tell preview and stable apart in one source")
        if self.slower_than:
            latency(self.slower_than)
        if self.min_requests < 1:
            raise ValueError(f"min_requests is {self.min_requests}; valid: 1 or more")


@dataclass(frozen=True, slots=True)
class _Scraped:
    """One side's rows by pod; `counted` says whether any pod had the series at all."""

    rows: Mapping[str, Reading]
    counted: bool
    pods: int
    failures: tuple[str, ...]
    offered: tuple[str, ...]


def measure(
    name: str, settings: Settings, subject: Subject, sources: Sources, counters: Mapping[str, Any]
) -> Measurement:
    """Read both sides, subtract, judge; raises ConfigError where the series can't answer what the settings ask."""
    if settings.url:
        both = _from_url(settings, subject, sources)
    else:
        both = {
            "preview": _from_pods(settings, subject.preview, sources),
            "stable": _from_pods(settings, subject.stable, sources),
        }
    totals: dict[str, tuple[float, ...]] = {}
    state: dict[str, Any] = {}
    for row in ROWS:
        result = advance(counters.get(row, {}), both[row].rows, subject.began, WIDTH)
        totals[row], state[row] = result.total, result.state
    missing = _missing(settings, both["preview"], known=totals["preview"][0] > 0)
    if missing:
        outcome, reason = missing
        return Measurement(gate=name, outcome=outcome, reason=f"{name}: {reason}", counters=state)
    return judge(name, settings, totals["preview"], totals["stable"], state, both["preview"].failures)


def judge(
    name: str,
    settings: Settings,
    preview: tuple[float, ...],
    stable: tuple[float, ...],
    state: Mapping[str, Any],
    failures: tuple[str, ...] = (),
) -> Measurement:
    """The verdict on (requests, failed, timed, slow) of both sides since the step began."""
    requests, failed, timed, slow = preview
    limit = settings.slower_than
    parts = [f"preview {share(failed, requests, 'failed')}, stable {share(stable[1], stable[0], 'failed')}"]
    outcome = Outcome.PASS
    success = 100.0 * (1.0 - failed / requests) if requests else None
    if requests < settings.min_requests or (limit and timed < settings.min_requests):
        outcome = Outcome.TOO_LITTLE
        parts.append(f"needed at least {settings.min_requests} requests of the preview to judge")
    else:
        if success is not None and success < settings.min_success:
            outcome = Outcome.FAIL
        parts.append(f"needed at least {settings.min_success:g} % success")
        if limit:
            word = f"slower than {limit}"
            parts.append(f"preview {share(slow, timed, word)}, stable {share(stable[3], stable[2], word)}")
            parts.append(f"allowed at most {settings.max_slow:g} %")
            if 100.0 * slow / timed > settings.max_slow:
                outcome = Outcome.FAIL
    if failures:
        parts.append(f"{len(failures)} of the preview's pods could not be read")
    return Measurement(
        gate=name,
        outcome=outcome,
        reason=f"{name}: {'; '.join(parts)}",
        value=success,
        preview=Counts(total=requests, bad=failed),
        stable=Counts(total=stable[0], bad=stable[1]),
        counters=state,
    )


def share(bad: float, total: float, word: str) -> str:
    """Such as "11 of 620 failed (1.77 %)"; no percentage where there was nothing."""
    percent = f" ({100.0 * bad / total:.2f} %)" if total else ""
    return f"{bad:,.0f} of {total:,.0f} {word}{percent}"


def _missing(settings: Settings, preview: _Scraped, known: bool) -> tuple[Outcome, str] | None:
    """Why the preview can't be judged, if it can't; stable's absence is no reason.

    `known` says that requests were counted earlier in the step: then a restarted pod that has no series yet is none.
    """
    if not preview.rows and preview.failures:
        return Outcome.UNREACHABLE, f"the preview's metrics can't be read: {preview.failures[0]}"
    if not preview.pods:
        return Outcome.NO_DATA, "the preview's Service has no ready pod"
    if preview.counted or known:
        return None
    where = " that matches `where` and `side`" if settings.where or settings.side else ""
    offered = f"; it offers: {', '.join(preview.offered[:8])}" if preview.offered else ""
    return Outcome.NO_DATA, f"the preview has no series {settings.requests}{where} yet{offered}"


def _from_pods(settings: Settings, backend: Backend, sources: Sources) -> _Scraped:
    answers = pods.read(sources.clusters, backend, settings.port, settings.path)
    return _scraped(settings, backend, answers)


def _from_url(settings: Settings, subject: Subject, sources: Sources) -> dict[str, _Scraped]:
    url = fill(settings.url, sides(subject))
    try:
        text = sources.http.get(url, headers={"Accept": "text/plain"}).text
        answers = pods.Answers({"proxy": text}, 1, ())
    except HttpError as error:
        answers = pods.Answers({}, 1, (str(error),))
    backends = {"preview": subject.preview, "stable": subject.stable}
    return {row: _scraped(settings, backends[row], answers) for row in ROWS}


def _scraped(settings: Settings, backend: Backend, answers: pods.Answers) -> _Scraped:
    rows: dict[str, Reading] = {}
    failures = list(answers.failures)
    offered: set[str] = set()
    counted = False
    for pod, text in answers.texts.items():
        try:
            samples = exposition.parse(text, settings.names)
        except ValueError as error:
            failures.append(f"{pod} answered at {settings.url or settings.path} with something {error}")
            continue
        row = _row(settings, samples, side(backend))
        if row is None:
            offered.update(exposition.counter_names(text))
        counted = counted or row is not None
        rows[pod] = Reading(row or (0.0,) * WIDTH, exposition.started(samples))
    return _Scraped(rows, counted, answers.pods, tuple(failures), tuple(sorted(offered)))


def _row(
    settings: Settings, samples: list[exposition.Sample], labels: Mapping[str, str]
) -> tuple[float, float, float, float] | None:
    """Requests, failed, timed and slow of one pod, or None where no series counts its requests."""
    counts = exposition.requests(samples, settings, labels)
    if counts is None:
        return None
    if not settings.slower_than:
        return (*counts, 0.0, 0.0)
    timed = exposition.durations(samples, settings, labels)
    if timed is None:
        if counts[0]:
            raise ConfigError(f"slower_than needs the histogram {settings.histogram}, but {_absent(settings)}")
        return (*counts, 0.0, 0.0)
    total, edges = timed
    return (
        *counts,
        total,
        total - exposition.within(edges, latency(settings.slower_than), settings.histogram),
    )


def _absent(settings: Settings) -> str:
    where = " with labels that match `where` and `side`" if settings.where or settings.side else ""
    return f"there is no {settings.histogram}_bucket{where}; set `histogram` to the name of one"
