"""Pure: one look at the gates as one point of every series of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline_step import stats
from pipeline_step.gates import compare
from pipeline_step.gates.latency import latency
from pipeline_step.model import Measurement
from pipeline_step.page.history import Ahead, Compared, Measured, Rate, Sample, Weighed
from pipeline_step.verdict import MetricVerdict, Verdict

BETA = 0.05  # the chance that a bound of a gate without chances of its own is wrong
Gates = Mapping[str, tuple[str, Any]]
"""Kind and settings of each gate, by its name, as `Config.gates` has them."""


def judgements(gates: Gates, said: Sequence[Measurement] | Mapping[str, Mapping[str, Any]]) -> dict[str, Verdict]:
    """What the judges among the gates know, by name, from their measurements or from their recorded counters."""
    counters = said if isinstance(said, Mapping) else {one.gate: one.counters for one in said}
    return {
        name: compare.judged(gates[name][1], kept)
        for name, kept in counters.items()
        if name in gates and gates[name][0] == "compare" and kept.get("evidence")
    }


def sampled(
    now: float, weight: int, measurements: Sequence[Measurement], gates: Gates, judged: Mapping[str, Verdict]
) -> Sample:
    """One point of every series."""
    compared: list[Compared] = []
    for name, verdict in judged.items():
        compared += [_compared(f"{name}: {_what(metric)}", metric) for metric in verdict.metrics if metric.preview[1]]
    for one in measurements:
        if one.gate not in judged and one.preview and one.stable and one.preview.total:
            preview, stable = (_rate(counts.bad, counts.total, BETA) for counts in (one.preview, one.stable))
            compared.append(Compared(f"{one.gate}: failed requests", preview, stable, BETA))
    return Sample(
        at=round(now, 1),
        weight=weight,
        counted=_counted(measurements, judged),
        weighed=tuple(
            Weighed(
                name, *(round(value, 3) for value in (v.log_revert, v.needed_revert, v.log_promote, v.needed_promote))
            )
            for name, v in judged.items()
        ),
        compared=tuple(compared),
        measured=tuple(
            Measured(one.gate, float(f"{one.value:.6g}"), *limits(*gates[one.gate]))
            for one in measurements
            if one.value is not None and one.gate not in judged and one.gate in gates
        ),
    )


def limits(kind: str, settings: Any) -> tuple[float | None, float | None]:
    """The limits of a gate's value, as its settings have them: least and most."""
    if kind == "scrape":
        return settings.min_success, None
    if kind == "http":
        return None, latency(settings.within)
    return getattr(settings, "min", None), getattr(settings, "max", None)


def _counted(measurements: Sequence[Measurement], judged: Mapping[str, Verdict]) -> float | None:
    """The preview's share of the requests since it has this weight, in percent, as the first gate counts them."""
    for verdict in judged.values():
        if verdict.share.total:
            return round(100 * verdict.share.observed, 2)
    for one in measurements:
        if one.gate not in judged and one.preview and one.stable and (total := one.preview.total + one.stable.total):
            return round(100 * one.preview.total / total, 2)
    return None


def _compared(name: str, metric: MetricVerdict) -> Compared:
    return Compared(name, _rate(*metric.preview, metric.beta), _rate(*metric.stable, metric.beta), metric.beta)


def _what(metric: MetricVerdict) -> str:
    return "failed requests" if metric.edge is None else f"requests slower than {metric.edge:g} s"


def _rate(bad: float, total: float, beta: float) -> Rate:
    bounds = stats.lower_bound(round(bad), round(total), beta), stats.upper_bound(round(bad), round(total), beta)
    return Rate(bad, total, *(float(f"{bound:.4g}") for bound in bounds))


def ahead(weight: int, measurements: Sequence[Measurement], judged: Mapping[str, Verdict]) -> Ahead | None:
    """What the next step would cost, where a judge knows how many requests there are."""
    for one in measurements:
        if weight and one.judged and one.gate in judged:
            errors = judged[one.gate].metrics[0]
            if not errors.preview[1]:
                return None
            requests = one.judged.rate * weight / 100
            bad, total = errors.preview
            return Ahead(
                weight=weight,
                requests=float(f"{requests:.4g}"),
                failing=float(f"{requests * bad / total:.4g}"),
                failing_most=float(f"{requests * errors.upper:.4g}"),
            )
    return None
