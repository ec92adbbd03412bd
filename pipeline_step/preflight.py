"""Before the first request: how much traffic there is, the weight to begin with, and how long a proof will take."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from pipeline_step import stats
from pipeline_step.decide import first_weight
from pipeline_step.errors import NotReady
from pipeline_step.gates import Sources, Subject, compare, exposition, watching
from pipeline_step.gates.latency import latency
from pipeline_step.gates.placeholders import side
from pipeline_step.gates.scraping import Scraped
from pipeline_step.gates.windows import count
from pipeline_step.judge import ERROR_PRIOR, LATENCY_PRIOR
from pipeline_step.measure import PATIENCE
from pipeline_step.model import Policy
from pipeline_step.run import Clock, Run
from pipeline_step.settings import seconds

LOOK_BACK = 60.0  # seconds over which a Prometheus server says how many requests there are
SHOWN = (1, 5, 10, 25, 50)  # weights of a ramp that are worth a number, and its largest


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """The traffic before a rollout: requests a second of both sides, and of stable's ever since its pods began the
    (bad, total) by metric; how old the counters are, how many processes of stable count, and by metric how much they
    differed in the past, where that is known.
    """

    rate: float
    stable: Mapping[str, tuple[float, float]]
    staleness: float = 0.0
    processes: int = 1
    overdispersion: Mapping[str, float] = field(default_factory=dict)


class Proof(NamedTuple):
    """How long it takes at a percentage to prove all that a promotion needs, for a preview that equals stable.

    `seconds` is about that, `longest` with all the allowance for bursts that the judge makes until it has compared
    stable's pods; infinite where stable itself misses an SLO. `hardest` is the metric that takes longest.
    """

    weight: int
    seconds: float
    longest: float
    hardest: str


def proofs(settings: compare.Settings, found: Pace, weights: tuple[int, ...]) -> list[Proof]:
    """The proof at each percentage; needs a `found.rate` above 0. Pure."""
    limit = (latency(settings.latency.slower_than),) if settings.latency else ()
    rules = compare.rules(settings, limit)
    needed = -math.log(rules.beta)
    burst = rules.assumed_phi if found.processes > 1 else 1.0
    result = []
    for weight in weights:
        wanted = {}
        for metric in rules.metrics:
            prior_bad, prior_total = LATENCY_PRIOR if metric.edges else ERROR_PRIOR
            bad, total = found.stable.get(metric.name, (0.0, 0.0))
            usual = min((bad + prior_bad) / (total + prior_total), 1.0 - 1e-6)
            requests = math.inf
            if usual + metric.max_increase < 1.0 and (metric.limit is None or usual < metric.limit):
                requests = stats.requests_to_promote(usual, metric.max_increase, min(weight, 99) / 100.0, needed)
                if metric.limit is not None:
                    requests = max(requests, needed / stats.divergence(usual, metric.limit))
            wanted[metric.name] = requests * found.overdispersion.get(metric.name, 1.0)
        hardest = max(wanted, key=lambda name: wanted[name])
        seconds = wanted[hardest] / (found.rate * weight / 100.0)
        result.append(Proof(weight, seconds, seconds if hardest in found.overdispersion else seconds * burst, hardest))
    return result


class Outlook(NamedTuple):
    """Whether the deadline leaves time for the proof, and all of it in words."""

    in_time: bool
    text: str


def expected(run: Run) -> Outlook | None:
    """The outlook on the traffic of this moment; none without a compare gate."""
    settings = judge(run)
    if settings is None:
        return None
    found = pace(run, past=True)
    if isinstance(found, str):
        return Outlook(False, f"how long a proof takes can't be told: {found}")
    return outlook(settings, run.policy, found)


def outlook(settings: compare.Settings, policy: Policy, found: Pace) -> Outlook:
    """What the proof takes at each weight of the strategy. Pure."""
    bad, total = found.stable.get("errors", (0.0, 0.0))
    failing = f", of which {100 * bad / total:.2g} % fail" if total else ""
    if not found.rate:
        return Outlook(True, "no request has been counted just now: while there are none, nothing can be proven")
    traffic = f"{found.rate:,.3g} requests a second{failing}"
    listed = tuple(weight for weight in policy.weights if weight) if policy.ramp is None else policy.weights
    shown = listed if policy.ramp is None else tuple(w for w in SHOWN if w < listed[-1]) + listed[-1:]
    found_proofs = proofs(settings, found, shown)
    last = found_proofs[-1]
    if math.isinf(last.seconds):
        why = f"stable's own {last.hardest} leave no room for the SLO"
        return Outlook(False, f"{traffic}; nothing can be proven: {why}")
    proven = f"{settings.errors.max_increase} more errors" if last.hardest == "errors" else last.hardest
    takes = ", ".join(f"{_span(proof)} at {proof.weight} %" for proof in found_proofs)
    text = f"{traffic}; to exclude {proven} takes about {takes}"
    before = sum(step.bake for step in policy.steps[:-1])
    left = policy.deadline - before
    if last.longest <= left:
        return Outlook(True, text)
    may = "is" if last.seconds > left else "may be"
    baked = f", {_duration(before)} of which the steps before take," if before else ""
    return Outlook(
        False,
        f"{text}: the deadline of {_duration(policy.deadline)}{baked} {may} too short for that; "
        "raise strategy.deadline, the last weight or max_increase, or set on_inconclusive",
    )


def pace(run: Run, *, past: bool = False) -> Pace | str:
    """The traffic as the first compare gate's own source counts it, or in words why it can't be told.

    With its `past` where a Prometheus server knows that.
    """
    settings = judge(run)
    if settings is None:
        return "there is no compare gate"
    subject = _subject(run)
    hurried = {context: cluster.hurried(PATIENCE) for context, cluster in run.clusters.items()}
    try:
        found = _measured(settings, subject, Sources(clusters=hurried, http=run.http), run.clock)
        return replace(found, overdispersion=watching.spread(settings, subject, run.http)) if past else found
    except NotReady as error:
        return str(error)


def counted(run: Run) -> dict[str, dict[str, str]]:
    """By side and name of the samples, the query that the first compare gate counts by; empty without one."""
    settings = judge(run)
    return compare.resolved(settings, _subject(run)) if settings else {}


def watched(run: Run, beat: Callable[[], None]) -> dict[str, Mapping[str, Any]]:
    """What the compare gates are to begin with, by name: stable alone is watched where they want that.

    Takes as long as the longest `past` of those that have no Prometheus server to ask for it; calls `beat` meanwhile.
    """
    wanted = {
        name: settings
        for name, (kind, settings) in run.config.gates.items()
        if kind == "compare" and settings.prometheus is None and compare.past_of(settings)
    }
    found: dict[str, Mapping[str, Any]] = {name: {} for name in wanted}
    began, subject = run.clock.time(), _subject(run)
    hurried = {context: cluster.hurried(PATIENCE) for context, cluster in run.clusters.items()}
    sources = Sources(clusters=hurried, http=run.http)
    while wanted and run.clock.time() - began < max(map(compare.past_of, wanted.values())):
        beat()
        for name, settings in wanted.items():
            found[name] = watching.watched(settings, subject, sources, found[name])
        run.clock.sleep(seconds(run.config.file.strategy.poll))
    return {name: watching.known_before(wanted[name], counters) for name, counters in found.items() if counters}


def _subject(run: Run) -> Subject:
    now = run.clock.time()
    return Subject(stable=run.target.stable, preview=run.preview, weight=0, share=0.0, began=now, now=now)


def judge(run: Run) -> compare.Settings | None:
    """The first compare gate's settings."""
    settings: Any = next((settings for kind, settings in run.config.gates.values() if kind == "compare"), None)
    return settings if isinstance(settings, compare.Settings) else None


def opening(run: Run) -> int:
    """The percentage that a fresh rollout begins with; a ramp asks for the traffic first."""
    found = pace(run) if run.policy.ramp else ""
    if isinstance(found, str):
        return first_weight(run.policy, None, 0.0)
    return first_weight(run.policy, found.rate, found.staleness)


def _measured(settings: compare.Settings, subject: Subject, sources: Sources, clock: Clock) -> Pace:
    """Read twice, a second apart, or of a Prometheus server what it had a minute ago and now.

    Raises `NotReady` with what can't be read, before there is a rollout that it could hold.
    """
    labels = {"preview": side(subject.preview), "stable": side(subject.stable)}
    began = clock.time()
    first = compare.read(settings, subject, sources, at=began - LOOK_BACK)
    if settings.prometheus is None:
        clock.sleep(1.0)
    second = compare.read(settings, subject, sources)
    elapsed = LOOK_BACK if settings.prometheus is not None else clock.time() - began
    for scraped in (second, first):
        if not scraped["stable"].samples:
            why = compare.blocked({"stable": scraped["stable"]})
            raise NotReady(why[1] if why else "stable counts nothing")
    added = 0.0
    for key in labels:
        before = count(settings.series, first[key], labels[key], (), {}, began)
        after = count(settings.series, second[key], labels[key], (), before.state, began)
        added += sum(row[0] for row in after.by_pod.values())
    return Pace(
        rate=added / elapsed,
        stable=_ever(settings, second["stable"], labels["stable"]),
        staleness=second["stable"].staleness,
        processes=len(second["stable"].samples),
    )


def _ever(settings: compare.Settings, stable: Scraped, labels: Mapping[str, str]) -> dict[str, tuple[float, float]]:
    """(bad, total) by metric since stable's processes began; raises ConfigError where the limit is no bucket edge."""
    series = settings.series
    pods = [exposition.requests(samples, series, labels) or (0.0, 0.0) for samples in stable.samples.values()]
    found = {"errors": (sum(bad for _, bad in pods), sum(total for total, _ in pods))}
    if settings.latency is None:
        return found
    limit = latency(settings.latency.slower_than)
    timed = [one for samples in stable.samples.values() if (one := exposition.durations(samples, series, labels))]
    slow = sum(total - exposition.within(by_edge, limit, series.histogram) for total, by_edge in timed)
    return {**found, "latency": (slow, sum(total for total, _ in timed))}


def _span(proof: Proof) -> str:
    if proof.longest == proof.seconds:
        return _duration(proof.seconds)
    return f"{_duration(proof.seconds)} (up to {_duration(proof.longest)})"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.2g} min" if seconds < 7200 else f"{seconds / 3600:.2g} h"
