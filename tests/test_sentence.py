"""The words of a verdict."""

from __future__ import annotations

from dataclasses import replace

from pipeline_step.judge import Evidence, Metric, Policy, Side, Window, update
from pipeline_step.sentence import sentence
from pipeline_step.verdict import Verdict, verdict

POLICY = Policy(metrics=(Metric(name="errors", limit=0.01),))


def judged(counts: list[tuple[int, int, int, int]], weight: float, policy: Policy = POLICY) -> Verdict:
    evidence = Evidence()
    for y_c, n_c, y_b, n_b in counts:
        evidence = update(policy, evidence, {"errors": Window(Side(n_c, (y_c,)), Side(n_b, (y_b,)))}, weight)
    return verdict(policy, evidence)


def test_revert():
    result = replace(judged([(2, 124, 2, 2376)] * 4 + [(3, 124, 4, 2376)], 5.0), log_revert=7.2)
    assert sentence(result, seconds=25, weight=5.0) == (
        "REVERT after 25 s at 5 %: preview 11/620 failed (1.77 %), stable 12/11,880 (0.10 %). "
        'Evidence 1,339:1 against "no worse" (needed 100:1). About 11 requests affected.'
    )


def test_promote():
    result = judged([(0, 250, 0, 250)] * 5, 50.0)
    assert sentence(result, seconds=25, weight=50.0) == (
        "PROMOTE after 25 s at 50 %: no regression above 0.5 pp, upper bound +0.38 pp; "
        "preview 0/1,250 failed (0.00 %), stable 0/1,250 (0.00 %). "
        'Evidence 110:1 against "worse by 0.5 pp" (needed 20:1).'
    )


def test_undecided_says_what_is_excluded_and_what_is_missing():
    text = sentence(judged([(0, 100, 0, 100)] * 4, 50.0), seconds=1200, weight=50.0)
    assert text.startswith("UNDECIDED after 20 min at 50 %: preview 0/400 failed (0.00 %), stable 0/400 (0.00 %). ")
    assert "(needed 100:1)" in text
    assert "(needed 20:1)" in text
    assert "Regressions above 2 pp are excluded; about " in text
    assert text.endswith(" more preview requests are needed to promote.")


def test_nothing_seen():
    text = sentence(verdict(POLICY, Evidence()), seconds=5, weight=1.0)
    assert "preview without traffic, stable without traffic" in text
    assert "No size of regression is excluded yet" in text


def test_findings_come_first():
    unhealthy = sentence(judged([(10, 250, 10, 250)] * 20, 50.0), seconds=100, weight=50.0)
    assert "at 50 %: environment unhealthy, stable misses its SLO too; preview" in unhealthy
    assert "stable's own rate leaves no room to prove the SLO." in unhealthy
    starved = sentence(judged([(0, 1, 0, 1000)] * 4, 10.0), seconds=20, weight=10.0)
    assert "traffic is not reaching the preview, 4 of 4,004 requests (0.10 %) instead of 10 %; " in starved
    flooded = sentence(judged([(0, 200, 0, 200)] * 2, 10.0), seconds=20, weight=10.0)
    assert "too much traffic reaches the preview, 400 of 800 requests (50.00 %) instead of 10 %; " in flooded


def test_latency_names_its_threshold():
    metric = Metric(name="latency", edges=(0.1, 0.5, 2.0), edge=0.5, max_increase=0.01)
    policy, evidence = Policy(metrics=(metric,)), Evidence()
    for slow in (0, 0, 40):
        window = Window(Side(100, (50, slow, 0)), Side(900, (400, 1, 0)))
        evidence = update(policy, evidence, {"latency": window}, 10.0)
    text = sentence(verdict(policy, evidence), seconds=15, weight=10.0)
    assert text.startswith("REVERT after 15 s at 10 %: preview 40/300 slower than 500 ms (13.33 %), stable 3/2,700")
    assert "over 1,000,000:1" in text


def test_several_metrics_name_the_hardest():
    policy = Policy(metrics=(Metric(name="errors"), Metric(name="refused", max_increase=0.01)))
    evidence = Evidence()
    for _ in range(12):
        window = Window(Side(250, (0,)), Side(250, (0,)))
        evidence = update(policy, evidence, {"errors": window, "refused": window}, 50.0)
    text = sentence(verdict(policy, evidence), seconds=60, weight=50.0)
    assert "2 metrics proven, the hardest is errors: no regression above 0.5 pp" in text


def test_the_slo_that_is_not_proven_is_named():
    policy = Policy(metrics=(Metric(name="errors", limit=0.002, max_increase=0.05),))
    text = sentence(judged([(0, 100, 0, 100)] * 3, 50.0, policy), seconds=15, weight=50.0)
    assert 'against "misses the SLO" (needed 20:1)' in text
