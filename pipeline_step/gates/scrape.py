"""Gate `scrape`: the share of failed and of slow requests, from counters that pods or a proxy already show.

Counters are subtracted here, from the first measurement of the step on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from pipeline_step.errors import ConfigError
from pipeline_step.gates import exposition
from pipeline_step.gates.increments import Reading, advance, fingerprint, remembered
from pipeline_step.gates.latency import Latency, latency
from pipeline_step.gates.placeholders import side
from pipeline_step.gates.scraping import Scraped, Scraping, read
from pipeline_step.model import Counts, Measurement, Outcome
from pipeline_step.settings import Percent, says

if TYPE_CHECKING:
    from pipeline_step.gates import Sources, Subject

WIDTH = 4  # requests, failed, timed, slow


class Settings(Scraping, frozen=True):
    """Where the counters are, and the limits: percentages of the preview's requests since the step began.

    Durations are judged only with `slower_than`, which must be an edge of the histogram's buckets.
    """

    min_success: Annotated[Percent, says("the percentage of the preview's requests that must succeed")] = 99
    slower_than: Annotated[Latency, says("an edge of the histogram's buckets; without it durations are not judged")] = (
        ""
    )
    max_slow: Annotated[Percent, says("the percentage of the preview's requests that may be slower")] = 1
    min_requests: Annotated[int, says("how many requests a verdict takes")] = 20

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.slower_than:
            latency(self.slower_than)
        if self.min_requests < 1:
            raise ValueError(f"min_requests is {self.min_requests}; valid: 1 or more")


def measure(
    name: str, settings: Settings, subject: Subject, sources: Sources, counters: Mapping[str, Any]
) -> Measurement:
    """Read both sides, subtract, judge; raises ConfigError where the series can't answer what the settings ask."""
    scraped = read(settings, subject, sources)
    counters = remembered(counters, settings)
    same_step = counters.get("began") == subject.began
    state: dict[str, Any] = {"of": fingerprint(settings), "began": subject.began}
    totals: dict[str, tuple[float, ...]] = {}
    counted: dict[str, bool] = {}
    for key, backend in (("preview", subject.preview), ("stable", subject.stable)):
        found = {pod: row(settings, samples, side(backend)) for pod, samples in scraped[key].samples.items()}
        readings = {
            # A pod that answers without a series has counted nothing, so what appears later is all new.
            pod: Reading(values or (0.0,) * WIDTH, exposition.started(scraped[key].samples[pod]))
            for pod, values in found.items()
        }
        before = counters.get(key, {})
        if not same_step and before:
            before = {**before, "sum": [0] * WIDTH}
        result = advance(before, readings, subject.began, WIDTH)
        totals[key], state[key] = result.total, result.state
        counted[key] = any(values is not None for values in found.values())
    missing = _missing(settings, scraped["preview"], counted=counted["preview"] or totals["preview"][0] > 0)
    if missing:
        outcome, reason = missing
        return Measurement(gate=name, outcome=outcome, reason=f"{name}: {reason}", counters=state)
    return judge(name, settings, totals["preview"], totals["stable"], state, scraped["preview"].failures)


def row(
    settings: Settings, samples: list[exposition.Sample], labels: Mapping[str, str]
) -> tuple[float, float, float, float] | None:
    """Requests, failed, timed and slow of one pod, or None where no series counts its requests."""
    metrics = settings.metrics
    counts = exposition.requests(samples, metrics, labels)
    if counts is None:
        return None
    if not settings.slower_than:
        return (*counts, 0.0, 0.0)
    timed = exposition.durations(samples, metrics, labels)
    if timed is None:
        if counts[0]:
            raise ConfigError(
                f"slower_than needs a histogram, but there is no {metrics.histogram}_bucket with the labels of "
                "`where`; set `histogram` to the name of one"
            )
        return (*counts, 0.0, 0.0)
    total, edges = timed
    return (*counts, total, total - exposition.within(edges, latency(settings.slower_than), metrics.histogram))


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


def _missing(settings: Settings, preview: Scraped, *, counted: bool) -> tuple[Outcome, str] | None:
    """Why the preview can't be judged, if it can't; stable's absence is no reason.

    `counted` says that a series counts its requests, or did earlier in the step: a restarted pod may have none yet.
    """
    if not preview.samples and preview.failures:
        return Outcome.UNREACHABLE, f"the preview's metrics can't be read: {preview.failures[0]}"
    if not preview.pods:
        whose = f"proxy {settings.proxy}" if settings.proxy else "preview's Service"
        return Outcome.NO_DATA, f"the {whose} has no ready pod"
    if counted:
        return None
    where = " with the labels of `where`" if settings.metrics.where else ""
    offered = f"; it offers: {', '.join(preview.offered[:8])}" if preview.offered else ""
    return Outcome.NO_DATA, f"the preview has no series {settings.metrics.requests}{where} yet{offered}"
