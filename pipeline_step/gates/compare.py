"""Gate `compare`: the preview against stable's own traffic at the same time, by evidence that may be looked at always.

Each measurement is one window: what both sides counted since the last one. What has been seen so far is kept in the
counters, across steps and weights, until the preview changes. See judge.py and verdict.py for what follows from it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from pipeline_step.gates import exposition, past, promql, scraping
from pipeline_step.gates.increments import Advance, fingerprint, remembered
from pipeline_step.gates.latency import Latency, latency
from pipeline_step.gates.placeholders import side
from pipeline_step.gates.promql import Server
from pipeline_step.gates.scraping import Scraped, Scraping
from pipeline_step.gates.shares import Percentage, Points, share
from pipeline_step.gates.windows import common_edges, count, windows
from pipeline_step.judge import Evidence, Metric, Policy, update
from pipeline_step.model import Backend, Counts, Judged, Measurement, Outcome, Seconds
from pipeline_step.sentence import sentence
from pipeline_step.settings import Duration, Strict, says, seconds
from pipeline_step.verdict import Verdict, verdict

if TYPE_CHECKING:
    from pipeline_step.gates import Sources, Subject
    from pipeline_step.http import Http

PAST = 1800.0  # seconds that a Prometheus server is asked for
SMOOTHING = 0.5  # of the requests a second: how much the latest window counts
OUTCOMES = {"revert": Outcome.FAIL, "promote": Outcome.PASS, "undecided": Outcome.UNDECIDED}


class Errors(Strict, frozen=True):
    """How much more often the preview may fail before it counts as worse, and the share that must succeed at all."""

    max_increase: Annotated[Points, says("how many more of the preview's requests may fail, in percentage points")] = (
        "0.5pp"
    )
    slo: Annotated[
        Percentage | None, says("the share that must succeed at all; without it only the comparison counts")
    ] = None


class Slowness(Strict, frozen=True):
    """Requests slower than a bucket edge: how many more the preview may have, and the share that must be faster."""

    slower_than: Annotated[Latency, says("the limit: an edge of the histogram's buckets")] = "500ms"
    max_increase: Annotated[
        Points, says("how many more of the preview's requests may be slower, in percentage points")
    ] = "1pp"
    slo: Annotated[Percentage | None, says("the share that must be faster at all")] = None


class Settings(Strict, frozen=True):
    """How sure to be, what to compare, and where the counters are: `scrape` (the default) or `prometheus`.

    `false_revert` and `false_promote` are the chances of either mistake over the whole rollout, all metrics together.
    What both sides count during `warmup` is left out. `past` is how much of stable alone is looked at to know what is
    usual: a Prometheus server is asked for half an hour, and without one stable is watched that long before the first
    shift, which is only done where `past` is given.
    """

    false_revert: Annotated[
        float, says("the chance of reverting a preview that is as good as stable, over the whole rollout")
    ] = 0.01
    false_promote: Annotated[float, says("the chance of promoting one that is worse than allowed, likewise")] = 0.05
    errors: Annotated[Errors, says("what is allowed of failing requests")] = Errors()
    latency: Annotated[Slowness | None, says("what is allowed of slow requests; without it they are not compared")] = (
        None
    )
    warmup: Annotated[Duration | None, says("the time at the beginning of which nothing is counted")] = None
    past: Annotated[
        Duration | None,
        says("how much of stable alone tells what is usual: asked of Prometheus (30m), else watched before the shift"),
    ] = None
    scrape: Annotated[Scraping | None, says("read the counters at pods or proxies")] = None
    prometheus: Annotated[Server | None, says("read the counters from a Prometheus server")] = None

    def __post_init__(self) -> None:
        for key, chance in (("false_revert", self.false_revert), ("false_promote", self.false_promote)):
            if not 0 < chance <= 0.5:
                raise ValueError(f"{key} is {chance:g}; valid: above 0, at most 0.5")
        if self.scrape is not None and self.prometheus is not None:
            raise ValueError("give scrape or prometheus, not both")
        metrics(self, ())

    @property
    def series(self) -> exposition.Metrics:
        """The series as they arrive here: a Prometheus server has applied `where` to them."""
        if self.prometheus is not None:
            return dataclasses.replace(self.prometheus.metrics, where={})
        return (self.scrape or Scraping()).metrics


def metrics(settings: Settings, edges: tuple[float, ...]) -> tuple[Metric, ...]:
    """What the judge compares; slowness only once the histogram's edges are known. Raises ValueError."""
    errors = Metric(
        name="errors", max_increase=share(settings.errors.max_increase, "pp"), limit=_allowed(settings.errors.slo)
    )
    if settings.latency is None:
        return (errors,)
    limit = latency(settings.latency.slower_than)
    slow = Metric(
        name="latency",
        max_increase=share(settings.latency.max_increase, "pp"),
        limit=_allowed(settings.latency.slo),
        edges=edges or (limit,),
        edge=limit,
    )
    return (errors, slow) if edges else (errors,)


def slow_from(settings: Settings) -> float | None:
    """From how many seconds on a request is slow; None where durations are not compared."""
    return latency(settings.latency.slower_than) if settings.latency else None


def resolved(settings: Settings, subject: Subject) -> dict[str, dict[str, str]]:
    """The queries or the series of each side with all names filled in, to be shown."""
    asked = (settings.prometheus or settings.scrape or Scraping()).metrics
    shown = {}
    for key, backend in (("preview", subject.preview), ("stable", subject.stable)):
        shown[key] = promql.queries(asked, side(backend), durations=settings.latency is not None)
    return shown


def measure(
    name: str, settings: Settings, subject: Subject, sources: Sources, counters: Mapping[str, Any]
) -> Measurement:
    """Count one window and weigh all of them; raises ConfigError where the limit is no edge of the histogram."""
    scraped = read(settings, subject, sources)
    if why := blocked(scraped):
        # Neither side's counters move on, so that the next window is the same time for both.
        return Measurement(gate=name, outcome=why[0], reason=f"{name}: {why[1]}", counters=counters)

    counters = remembered(counters, settings)
    began = counters.get("began", subject.began)
    labels = {"preview": side(subject.preview), "stable": side(subject.stable)}
    edges = tuple(counters.get("edges", ()))
    if settings.latency and not edges:
        edges = common_edges(settings.series, scraped, labels, latency(settings.latency.slower_than))
    counted = {
        key: count(settings.series, scraped[key], labels[key], edges, counters.get(key, {}), began) for key in labels
    }
    policy = rules(settings, edges)
    rate = _rate(counters, counted, subject.now)
    evidence = taught(settings, policy, recall(counters), subject.stable, sources.http, began)
    warm = began + (seconds(settings.warmup) if settings.warmup else 0.0)
    if subject.now >= warm:
        window = windows(counted["preview"], counted["stable"], policy.metrics)
        # The window began under the weight that the last measurement saw.
        evidence = update(policy, evidence, window, counters.get("share", subject.share))
    state = {
        "of": fingerprint(settings),
        "began": began,
        "at": subject.now,
        "rate": rate,
        "share": subject.share,
        "edges": list(edges),
        "evidence": msgspec.to_builtins(evidence),
        **{key: one.state for key, one in counted.items()},
    }
    result = verdict(policy, evidence)
    found, reason = _say(settings, subject, scraped["preview"], result, edges, began)
    return Measurement(
        gate=name,
        outcome=found,
        reason=f"{name}: {reason}",
        value=result.leading.upper,
        preview=_counts(result.metrics[0].preview),
        stable=_counts(result.metrics[0].stable),
        counters=state,
        judged=known(result, rate, scraped["stable"].staleness),
    )


def taught(settings: Settings, policy: Policy, evidence: Evidence, stable: Backend, http: Http, end: float) -> Evidence:
    """The evidence with stable's past before `end`, for the metrics that have none yet."""
    if settings.prometheus is None:
        return evidence
    return past.learn(policy, evidence, settings.prometheus, stable, http, end=end, since=past_of(settings))


def past_of(settings: Settings) -> float:
    """How many seconds of stable alone tell what is usual."""
    if settings.past is None:
        return PAST if settings.prometheus is not None else 0.0
    return seconds(settings.past)


def rules(settings: Settings, edges: tuple[float, ...]) -> Policy:
    """What the judge follows, once the histogram's edges are known."""
    return Policy(metrics=metrics(settings, edges), alpha=settings.false_revert, beta=settings.false_promote)


def known(result: Verdict, rate: float, staleness: float) -> Judged | None:
    """What the ramp may go by; nothing where there are no requests to bound anything with."""
    if not rate:
        return None
    return Judged(
        upper=result.metrics[0].upper,
        suspicious=result.suspicious,
        slo_proven=result.slo_proven,
        rate=rate,
        staleness=Seconds(staleness),
    )


def outcome(result: Verdict) -> Outcome:
    """What a verdict means for the rollout.

    Suspicion and trouble of stable's own hold the weight, where an open question would let it rise.
    """
    if result.outcome == "revert":
        return Outcome.FAIL
    if not result.metrics[0].preview[1] or result.share.finding == "too little":
        return Outcome.NO_DATA
    if result.outcome == "undecided" and (result.suspicious or result.environment_unhealthy):
        return Outcome.TOO_LITTLE
    return OUTCOMES[result.outcome]


def _rate(counters: Mapping[str, Any], counted: Mapping[str, Advance], now: float) -> float:
    """Requests a second of both sides, smoothed over a few windows; 0 before the first."""
    elapsed = now - counters.get("at", now)
    before: float = counters.get("rate", 0.0)
    if elapsed <= 0:
        return before
    return smoothed(before, sum(row[0] for one in counted.values() for row in one.by_pod.values()) / elapsed)


def smoothed(before: float, latest: float) -> float:
    """Requests a second after one more window, from those before it (0 for none)."""
    return round(before + SMOOTHING * (latest - before) if before else latest, 3)


def recall(counters: Mapping[str, Any]) -> Evidence:
    """The evidence in the counters of an earlier measurement, or none."""
    return msgspec.convert(counters.get("evidence", {}), Evidence)


def judged(settings: Settings, counters: Mapping[str, Any]) -> Verdict:
    """What a measurement's counters say, with bounds and findings, for the ramp and for reports."""
    counters = remembered(counters, settings)
    policy = rules(settings, tuple(counters.get("edges", ())))
    return verdict(policy, recall(counters))


def read(settings: Settings, subject: Subject, sources: Sources, at: float | None = None) -> dict[str, Scraped]:
    """Both sides now; only a Prometheus server can be asked for another time."""
    if settings.prometheus is not None:
        return promql.read(settings.prometheus, subject, sources, durations=settings.latency is not None, at=at)
    return scraping.read(settings.scrape or Scraping(), subject, sources)


def blocked(scraped: Mapping[str, Scraped]) -> tuple[Outcome, str] | None:
    """Why nothing can be compared now, if so."""
    for key, one in scraped.items():
        if not one.samples and one.failures:
            return Outcome.UNREACHABLE, f"the counters of {key} can't be read: {one.failures[0]}"
    for key, one in scraped.items():
        if not one.pods and not one.samples:
            return Outcome.NO_DATA, f"{key} has no ready pod, or no series in Prometheus"
    return None


def _say(
    settings: Settings,
    subject: Subject,
    preview: Scraped,
    result: Verdict,
    edges: tuple[float, ...],
    began: float,
) -> tuple[Outcome, str]:
    """The verdict as an outcome and in words."""
    said = sentence(result, seconds=round(subject.now - began), weight=subject.weight)
    found = outcome(result)
    if found is Outcome.FAIL:
        return found, said
    if not result.metrics[0].preview[1]:
        offered = f"; its pods offer: {', '.join(preview.offered[:8])}" if preview.offered else ""
        return Outcome.NO_DATA, f"no request of the preview has been counted yet{offered}. {said}"
    if settings.latency and not edges:
        return Outcome.TOO_LITTLE, f"there is no {settings.series.histogram}_bucket of both sides yet. {said}"
    return found, said


def _allowed(slo: str | float | None) -> float | None:
    """The share of bad requests that an SLO allows."""
    return None if slo is None else round(1.0 - share(slo, "%"), 9)


def _counts(bad_of_total: tuple[int, int]) -> Counts:
    bad, total = bad_of_total
    return Counts(total=total, bad=bad)
