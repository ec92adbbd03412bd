"""What is learnt of stable before anything is shifted, for the gate `compare` and for what is said of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from pipeline_step.gates import compare
from pipeline_step.gates.increments import fingerprint
from pipeline_step.gates.past import NOBODY
from pipeline_step.gates.placeholders import side
from pipeline_step.gates.windows import count, windows
from pipeline_step.judge import Evidence, update

if TYPE_CHECKING:
    from pipeline_step.gates import Sources, Subject
    from pipeline_step.http import Http


def watched(
    settings: compare.Settings, subject: Subject, sources: Sources, counters: Mapping[str, Any]
) -> Mapping[str, Any]:
    """The counters after one more look at stable alone, before anything is shifted; as they were if it fails.

    Only errors are learnt: the edges by which slowness is counted are those that the preview has too.
    """
    stable = compare.read(settings, subject, sources)["stable"]
    if compare.blocked({"stable": stable}):
        return counters
    began = counters.get("began", subject.began)
    added = count(settings.series, stable, side(subject.stable), (), counters.get("stable", {}), began)
    policy = compare.rules(settings, ())
    evidence = update(policy, compare.recall(counters), windows(NOBODY, added, policy.metrics), 0.0)
    return {"began": began, "stable": added.state, "evidence": msgspec.to_builtins(evidence)}


def known_before(settings: compare.Settings, counters: Mapping[str, Any]) -> Mapping[str, Any]:
    """What `watched` has learnt, as the counters that the first measurement begins with."""
    return {"of": fingerprint(settings), "evidence": counters["evidence"]} if counters else {}


def spread(settings: compare.Settings, subject: Subject, http: Http) -> Mapping[str, float]:
    """By metric what stable's pods differed in the past, and so what evidence is divided by; empty if unknown."""
    limit = compare.slow_from(settings)
    policy = compare.rules(settings, () if limit is None else (limit,))
    found = compare.taught(settings, policy, Evidence(), subject.stable, http, subject.now)
    return {name: metric.phi for name, metric in found.metrics.items()}
