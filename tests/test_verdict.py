"""Outcomes, thresholds, bounds and findings."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_step.judge import Evidence, Metric, MetricEvidence, Policy, ShareEvidence, Side, Window, update
from pipeline_step.verdict import Verdict, verdict

LIMITED = Metric(name="errors", limit=0.01)
PLAIN = Metric(name="errors")


def judged(metrics: tuple[Metric, ...], counts: list[dict[str, tuple[int, int, int, int]]], weight=10.0) -> Verdict:
    policy, evidence = Policy(metrics=metrics), Evidence()
    for poll in counts:
        windows = {name: Window(Side(c[1], (c[0],)), Side(c[3], (c[2],))) for name, c in poll.items()}
        evidence = update(policy, evidence, windows, weight)
    return verdict(policy, evidence)


def errors(*counts: int) -> dict[str, tuple[int, int, int, int]]:
    return {"errors": counts}  # type: ignore[dict-item]


def test_nothing_seen_is_undecided_with_everything_possible():
    result = verdict(Policy(metrics=(LIMITED,)), Evidence())
    assert (result.outcome, result.log_promote) == ("undecided", 0.0)
    assert result.log_revert == pytest.approx(0.0, abs=1e-12)
    assert (result.metrics[0].upper, result.metrics[0].excluded) == (1.0, None)
    assert result.needed_revert == pytest.approx(math.log(100))
    assert result.needed_promote == pytest.approx(math.log(20))
    assert result.share.finding == "as configured"


def test_an_outage_is_reverted_after_one_window():
    result = judged((PLAIN,), [errors(5, 5, 0, 45)])
    assert result.outcome == "revert"
    assert result.suspicious


def test_a_good_preview_is_promoted_with_the_margin_excluded():
    result = judged((LIMITED,), [errors(0, 250, 0, 250)] * 10, weight=50.0)
    assert result.outcome == "promote"
    found = result.metrics[0]
    assert found.excluded is not None
    assert found.excluded <= 0.005
    assert found.upper < 0.005
    assert result.wanted == 0.0


def test_every_metric_must_pass_for_a_promote():
    metrics = (PLAIN, Metric(name="refused", max_increase=0.005))
    both = [{"errors": (0, 250, 0, 250), "refused": (0, 250, 0, 250)}] * 10
    one = [{"errors": (0, 250, 0, 250)}] * 10
    assert judged(metrics, both, 50.0).outcome == "promote"
    missing = judged(metrics, one, 50.0)
    assert (missing.outcome, missing.log_promote) == ("undecided", 0.0)


def test_metrics_share_the_evidence_needed_for_a_revert():
    """Ten metrics divide one metric's evidence by ten, whatever the nine others say."""
    alone = judged((PLAIN,), [errors(12, 100, 1, 900)])
    ten = judged(tuple(Metric(name=n) for n in ("errors", *"abcdefghi")), [errors(12, 100, 1, 900)])
    assert math.exp(ten.log_revert) == pytest.approx((math.exp(alone.log_revert) + 9) / 10)
    assert ten.leading.name == "errors"
    heavy = judged((Metric(name="errors", weight=9.0), Metric(name="a")), [errors(12, 100, 1, 900)])
    assert math.exp(heavy.log_revert) == pytest.approx(0.9 * math.exp(alone.log_revert) + 0.1)


def test_the_slo_must_be_proven_too():
    """0.5 pp is excluded against a stable that fails often, but the SLO of 1 % is not within reach."""
    result = judged((Metric(name="errors", limit=0.01, max_increase=0.02),), [errors(2, 250, 2, 250)] * 40, 50.0)
    found = result.metrics[0]
    assert found.log_promote > result.needed_promote
    assert found.log_within is not None
    assert found.log_within < result.needed_promote
    assert (result.outcome, result.log_promote) == ("undecided", found.log_within)


def test_the_slo_alone_can_be_proven():
    """600 clean requests show less than 1 %, long before a margin of 0.01 pp."""
    metric = Metric(name="errors", limit=0.01, max_increase=0.0001)
    result = judged((metric,), [errors(0, 100, 0, 100)] * 6, 50.0)
    assert result.slo_proven
    assert result.outcome == "undecided"
    assert not judged((metric,), [errors(0, 100, 0, 100)] * 2, 50.0).slo_proven
    assert not judged((PLAIN,), [errors(0, 100, 0, 100)] * 60, 50.0).slo_proven


def test_stable_that_misses_its_slo_holds_instead_of_blaming_the_preview():
    result = judged((LIMITED,), [errors(10, 250, 10, 250)] * 20, weight=50.0)
    assert result.environment_unhealthy
    assert result.outcome == "undecided"
    assert result.metrics[0].unhealthy
    healed = judged((LIMITED,), [errors(10, 250, 10, 250)] * 5 + [errors(0, 250, 0, 250)] * 200, weight=50.0)
    assert not healed.environment_unhealthy
    assert healed.outcome == "promote"


def test_an_unhealthy_environment_does_not_hide_a_preview_that_is_worse():
    result = judged((LIMITED,), [errors(80, 250, 10, 250)] * 3, weight=50.0)
    assert result.outcome == "revert"


def test_without_stable_traffic_the_slo_decides():
    bad = judged((LIMITED,), [errors(25, 250, 0, 0)] * 3, weight=100.0)
    assert bad.outcome == "revert"
    good = judged((LIMITED,), [errors(0, 250, 0, 0)] * 8, weight=100.0)
    assert good.outcome == "promote"


def test_suspicion_holds_a_promote():
    policy = Policy(metrics=(PLAIN,))
    margins = len(PLAIN.margins)
    proven = MetricEvidence(
        windows=9, preview=(9, 900), stable=(1, 900), revert=(5.0, 0.0, 0.0, 0.0, 0.0), promote=(4.0,) * margins
    )
    result = verdict(policy, Evidence({"errors": proven}))
    assert result.log_promote > result.needed_promote
    assert 0.5 * result.needed_revert <= result.log_revert < result.needed_revert
    assert result.outcome == "undecided"


def test_traffic_that_does_not_arrive_is_its_own_finding():
    """A crashed preview whose failures nobody counts: what arrives looks fine, and is not promoted."""
    result = judged((PLAIN,), [errors(0, 60, 0, 1000)] * 40)
    assert result.share.finding == "too little"
    assert result.share.observed == pytest.approx(60 / 1060)
    assert result.log_promote >= result.needed_promote
    assert result.outcome == "undecided"
    flooded = judged((PLAIN,), [errors(0, 500, 0, 500)] * 4)
    assert flooded.share.finding == "too much"


def test_a_small_deviation_from_the_weight_is_no_finding():
    """9.5 % instead of 10 % is certain after two million requests, and harmless."""
    result = judged((PLAIN,), [errors(0, 190_000, 0, 1_810_000)])
    assert result.share.log_e > result.needed_revert
    assert result.share.finding == "as configured"


def test_the_smallest_excluded_margin_has_all_larger_ones_excluded():
    margins = PLAIN.margins
    logs = tuple(4.0 if margin >= 0.0075 or margin == margins[0] else 1.0 for margin in margins)
    found = MetricEvidence(windows=5, preview=(0, 500), stable=(0, 500), revert=(0.0,) * 5, promote=logs)
    result = verdict(Policy(metrics=(PLAIN,)), Evidence({"errors": found}))
    assert result.metrics[0].excluded == pytest.approx(0.0075)


def test_what_is_still_wanted_shrinks_and_is_none_when_the_slo_is_out_of_reach():
    early = judged((LIMITED,), [errors(0, 100, 0, 100)] * 2, 50.0).wanted
    later = judged((LIMITED,), [errors(0, 100, 0, 100)] * 6, 50.0).wanted
    assert early is not None
    assert later is not None
    assert later < early < 2000
    assert judged((LIMITED,), [errors(5, 100, 5, 100)] * 20, 50.0).wanted is None


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 3000), st.integers(0, 3000))
def test_never_both_and_never_without_the_threshold(y_c, good_c, y_b, good_b):
    result = judged((LIMITED,), [errors(y_c, y_c + good_c, y_b, y_b + good_b)] * 3)
    if result.outcome == "revert":
        assert result.log_revert >= result.needed_revert
    if result.outcome == "promote":
        assert result.log_promote >= result.needed_promote
        assert result.log_revert < 0.5 * result.needed_revert


def test_ten_metrics_stay_far_below_a_poll():
    """A loose ceiling against an accident; benchmarks/judge measures the real figure."""
    metrics = tuple(Metric(name=f"m{i}", limit=0.01) for i in range(10))
    policy, evidence = Policy(metrics=metrics), Evidence(share=ShareEvidence())
    window = Window(Side(1000, (2,)), Side(9000, (9,)))
    start = time.process_time()
    for _ in range(20):
        evidence = update(policy, evidence, {metric.name: window for metric in metrics}, 10.0)
        verdict(policy, evidence)
    assert (time.process_time() - start) / 20 < 0.25
