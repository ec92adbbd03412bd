"""The accumulation of evidence: carrying, choosing from the past, error rates by simulation."""

from __future__ import annotations

import json
import math
import random
from dataclasses import asdict, replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_step import stats
from pipeline_step.judge import (
    Evidence,
    Metric,
    MetricEvidence,
    Policy,
    ShareEvidence,
    Side,
    Window,
    log_revert,
    stable_rate,
    update,
    watched_edges,
)
from pipeline_step.verdict import verdict

ERRORS = Metric(name="errors")
EDGES = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0)
LATENCY = Metric(name="latency", edges=EDGES, edge=0.5, max_increase=0.01)
POLICY = Policy(metrics=(ERRORS,))


def errors(y_c: int, n_c: int, y_b: int, n_b: int, pods: tuple[tuple[int, int], ...] = ()) -> dict[str, Window]:
    return {"errors": Window(Side(n_c, (y_c,)), Side(n_b, (y_b,)), pods)}


def fold(counts: list[tuple[int, int, int, int]], policy: Policy = POLICY, weight: float = 10.0) -> Evidence:
    evidence = Evidence()
    for window in counts:
        evidence = update(policy, evidence, errors(*window), weight)
    return evidence


def binomial(rng: random.Random, n: int, p: float) -> int:
    """A binomial draw by the gaps between successes."""
    if p <= 0.0:
        return 0
    hits, i = 0, 0
    while True:
        i += int(math.log(1.0 - rng.random()) / math.log1p(-p)) + 1
        if i > n:
            return hits
        hits += 1


def test_first_window_by_hand():
    """One window: half the mass starts here, and each alternative is weighted."""
    found = fold([(3, 50, 0, 450)]).metrics["errors"]
    a_b = 0.5 / 500
    total = 0.0
    for odds, weight in ((3, 0.3), (8, 0.2), (30, 0.2), (200, 0.15), (5000, 0.15)):
        a_c = stats.shift_odds(a_b, odds)
        total += weight * (0.5 * math.exp(stats.log_e(3, 50, 0, 450, a_c, a_b, null="at most")) + 0.5)
    assert log_revert(POLICY, ERRORS, found) == pytest.approx(math.log(total), abs=1e-5)
    assert found.promote == (0.0,) * len(ERRORS.margins)


def test_products_are_the_mixture_over_start_times():
    """A <- (A + mass) e gives the sum over starts of mass times the product since then."""
    counts = [(0, 50, 0, 450), (1, 50, 1, 450), (4, 60, 0, 400)]
    evidence, values = Evidence(), []
    for window in counts:
        past = evidence.metrics.get("errors", MetricEvidence())
        a_b = stable_rate(ERRORS, past, 0)
        values.append(stats.log_e(*window, stats.shift_odds(a_b, 30.0), a_b, null="at most"))
        evidence = update(POLICY, evidence, errors(*window), 10.0)
    starts = [math.exp(stats.log_onset_mass(t, POLICY.onset_hazard) + sum(values[t:])) for t in range(3)]
    assert evidence.metrics["errors"].revert[2] == pytest.approx(math.log(sum(starts)), abs=1e-5)


def test_the_alternative_comes_from_the_past_only():
    """Two windows that differ in this poll only are judged against the same alternative."""
    past = fold([(0, 50, 2, 450)] * 5)
    quiet, noisy = (update(POLICY, past, errors(0, 50, y, 450), 10.0) for y in (0, 40))
    a_b = stable_rate(ERRORS, past.metrics["errors"], 0)
    for after, y in ((quiet, 0), (noisy, 40)):
        value = stats.log_e(0, 50, y, 450, stats.shift_odds(a_b, 3.0), a_b, null="at most")
        before = stats.log_add(past.metrics["errors"].revert[0], stats.log_onset_mass(5, POLICY.onset_hazard))
        assert after.metrics["errors"].revert[0] == pytest.approx(before + value, abs=1e-5)


def test_evidence_is_carried_across_weights():
    one = fold([(1, 50, 0, 450), (2, 250, 1, 250)])
    evidence = update(POLICY, Evidence(), errors(1, 50, 0, 450), 10.0)
    two = update(POLICY, evidence, errors(2, 250, 1, 250), 50.0)
    assert two.metrics == one.metrics
    assert two.share.weight == 50.0
    assert two.share.before == pytest.approx(evidence.share.log_e, abs=1e-6)
    assert (two.share.preview, two.share.stable) == (250, 250)


def test_windows_without_preview_teach_stable_only():
    evidence = fold([(0, 0, 5, 500)] * 4, weight=0.0)
    found = evidence.metrics["errors"]
    assert (found.windows, found.preview, found.stable, found.revert) == (0, (0, 0), (0, 0), ())
    assert stable_rate(ERRORS, found, 0) == pytest.approx(20.5 / 2500)
    assert log_revert(POLICY, ERRORS, found) == 0.0


def test_a_metric_without_data_stays_as_it_was():
    policy = Policy(metrics=(ERRORS, LATENCY))
    before = update(policy, Evidence(), errors(1, 50, 0, 450), 10.0)
    after = update(policy, before, {}, 10.0)
    assert after == before
    assert "latency" not in before.metrics


def test_old_rates_are_forgotten_but_small_services_keep_all():
    small = fold([(0, 0, 1, 40)] * 100, weight=0.0).metrics["errors"]
    assert (small.recent_total, small.recent_bad) == (4000.0, (100.0,))
    large = fold([(0, 0, 50, 1000)] * 300 + [(0, 0, 0, 1000)] * 300, weight=0.0).metrics["errors"]
    assert stable_rate(ERRORS, large, 0) < 0.001


def test_latency_watches_the_edges_where_stable_has_its_median_and_tails():
    slower = (950, 480, 70, 20, 4, 0)
    past = MetricEvidence(recent_total=1000.0, recent_bad=tuple(float(n) for n in slower))
    assert watched_edges(LATENCY, past) == (1, 2, 4)
    assert watched_edges(ERRORS, past) == (0,)


def test_slower_by_half_is_seen_in_few_requests():
    """A preview whose requests take half as long again leaves every edge later; stable's past is known."""
    rng = random.Random(3)
    metric = Metric(
        name="latency", edges=tuple(0.01 * 1.35**k for k in range(20)), edge=0.01 * 1.35**12, max_increase=0.01
    )
    policy = Policy(metrics=(metric,))

    def side(n: int, factor: float) -> Side:
        times = [0.05 * factor * rng.lognormvariate(0.0, 0.5) for _ in range(n)]
        return Side(n, tuple(sum(t > edge for t in times) for edge in metric.edges))

    needed = []
    for _ in range(30):
        evidence = update(policy, Evidence(), {"latency": Window(Side(0, (0,) * 20), side(2000, 1.0))}, 0.0)
        seen = 0
        while verdict(policy, evidence).outcome != "revert":
            evidence = update(policy, evidence, {"latency": Window(side(5, 1.5), side(45, 1.0))}, 10.0)
            seen += 5
            assert seen < 1000
        needed.append(seen)
    assert sorted(needed)[15] <= 80


def test_overdispersion_divides_later_evidence():
    pods = ((30, 150), (0, 150), (0, 150))
    past = update(POLICY, Evidence(), errors(0, 50, 30, 450, pods), 10.0)
    found = past.metrics["errors"]
    x2, df = stats.pearson(pods)
    assert found.phi == pytest.approx((x2 + 5 * 3) / (df + 5), abs=1e-4)
    even = Evidence({"errors": replace(found, phi=1.0)}, past.share)
    corrected, plain = (
        update(POLICY, start, errors(9, 50, 1, 450, pods), 10.0).metrics["errors"].revert[0] for start in (past, even)
    )
    begun = stats.log_add(found.revert[0], stats.log_onset_mass(1, POLICY.onset_hazard))
    assert corrected - begun == pytest.approx((plain - begun) / found.phi, abs=1e-4)


def test_overdispersion_is_assumed_until_seen_and_one_without_pods():
    """Evidence of a first window counts a third where stable has pods to compare, and whole where it has none."""
    pods = ((0, 150), (0, 150), (0, 150))
    with_pods, without = (
        update(POLICY, Evidence(), errors(9, 50, 0, 450, each), 10.0).metrics["errors"] for each in (pods, ())
    )
    start = math.log(0.5)
    assert with_pods.revert[0] - start == pytest.approx((without.revert[0] - start) / 3.0, abs=1e-5)
    assert (with_pods.phi, without.phi) == (3.0, 1.0)


def test_windows_where_stable_misses_the_slo_do_not_count_towards_it():
    policy = Policy(metrics=(Metric(name="errors", limit=0.01),))
    evidence = fold([(0, 50, 3, 450), (5, 50, 45, 450)], policy)
    assert evidence.metrics["errors"].within == (0, 50)


def test_evidence_survives_json():
    policy = Policy(metrics=(ERRORS, LATENCY))
    evidence = Evidence()
    for y in (0, 3, 1):
        window = {
            **errors(y, 50, 1, 450),
            "latency": Window(Side(50, (40, 20, 5, 2, 1, 0)), Side(450, (400, 90, 20, 3, 1, 0))),
        }
        evidence = update(policy, evidence, window, 10.0)
    text = msgspec.json.encode(evidence)
    assert msgspec.json.decode(text, type=Evidence) == evidence
    assert msgspec.convert(json.loads(json.dumps(asdict(evidence))), Evidence) == evidence
    assert len(text) < 1200


def test_ten_metrics_fit_an_annotation():
    metrics = tuple(Metric(name=f"metric-{i}", edges=EDGES, edge=0.5) for i in range(10))
    policy, evidence = Policy(metrics=metrics), Evidence()
    window = Window(
        Side(54_321, (40_000, 20_000, 5_000, 200, 10, 0)), Side(456_789, (400_000, 90_000, 20_000, 3_000, 100, 7))
    )
    for _ in range(80):
        evidence = update(policy, evidence, {metric.name: window for metric in metrics}, 10.0)
    assert len(msgspec.json.encode(evidence)) < 6000


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_increase": 0.0}, "max_increase is 0, valid is a share between 0 and 1"),
        ({"limit": 1.5}, "the SLO allows 1.5"),
        ({"weight": 0.0}, "weight is 0"),
        ({"edges": (0.5, 0.1), "edge": 0.1}, "must rise"),
        ({"edges": (0.1, 0.5), "edge": 0.3}, "0.3 s is not a bucket edge of the histogram, valid are 0.1, 0.5"),
        ({"edge": 0.3}, "valid are none"),
    ],
)
def test_a_wrong_metric_is_refused_in_words(options, words):
    with pytest.raises(ValueError, match=words):
        Metric(name="errors", **options)


@pytest.mark.parametrize("window", [Window(Side(5, (6,)), Side(5, (0,))), Window(Side(5, (1, 1)), Side(5, (0,)))])
def test_impossible_counts_are_refused(window):
    with pytest.raises(ValueError, match="errors: "):
        update(POLICY, Evidence(), {"errors": window}, 10.0)


COUNTS = st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)).map(lambda pair: (min(pair), max(pair)))


@settings(max_examples=200)
@given(st.lists(st.tuples(COUNTS, COUNTS, st.sampled_from([0.0, 1.0, 10.0, 50.0, 100.0])), max_size=8))
def test_any_counts_give_finite_evidence(stream):
    policy, evidence = Policy(metrics=(Metric(name="errors", limit=0.01),), tolerance=0.001), Evidence()
    for (y_c, n_c), (y_b, n_b), weight in stream:
        evidence = update(policy, evidence, errors(y_c, n_c, y_b, n_b), weight)
        found = evidence.metrics["errors"]
        assert all(abs(value) <= stats.LOG_LIMIT for value in (*found.revert, *found.promote))
        assert math.isfinite(evidence.share.log_e)
        result = verdict(policy, evidence)
        assert math.isfinite(result.log_revert)
        assert math.isfinite(result.log_promote)
    assert msgspec.json.decode(msgspec.json.encode(evidence), type=Evidence) == evidence


def simulate(runs, polls, policy, seed, rates, burst=1, pods=1, before=0) -> dict[str, float]:
    """Shares of runs that ever reached each verdict; `rates(t, rng)` gives (p_c, p_b, requests, weight) of a poll.

    `before` polls of stable alone come first.
    """
    ever = {"revert": 0, "promote": 0}
    for run in range(runs):
        rng, evidence, seen = random.Random(f"{seed}-{run}"), Evidence(), set()
        for t in range(-before, polls):
            p_c, p_b, requests, weight = rates(t, rng)
            weight = weight if t >= 0 else 0.0
            n_c = binomial(rng, requests, weight / 100.0)
            n_b = requests - n_c
            y_c = min(n_c, burst * binomial(rng, n_c // burst, p_c))
            each = tuple((burst * binomial(rng, n_b // pods // burst, p_b), n_b // pods) for _ in range(pods))
            window = errors(y_c, n_c, sum(y for y, _ in each), sum(n for _, n in each), each if pods > 1 else ())
            evidence = update(policy, evidence, window, weight)
            result = verdict(policy, evidence)
            seen |= {"revert"} if result.log_revert >= result.needed_revert else set()
            seen |= {"promote"} if result.log_promote >= result.needed_promote else set()
        for outcome in seen:
            ever[outcome] += 1
    return {outcome: count / runs for outcome, count in ever.items()}


LOOSE = Policy(metrics=(Metric(name="errors", max_increase=0.01),), alpha=0.1, beta=0.1)


def drifting(t: int, rng: random.Random) -> tuple[float, int, float]:
    """Stable's rate, requests and weight with a rhythm, common shocks and a weight that changes."""
    shock = 0.05 if rng.random() < 0.05 else 0.0
    return 0.01 + 0.005 * math.sin(t / 9) + shock, round(400 + 200 * math.sin(t / 17)), (2.0, 10.0, 50.0)[t // 20 % 3]


def test_false_reverts_stay_under_alpha():
    """A preview exactly as bad as stable, at alpha = 10 %, through shocks, rhythm and changing weights."""

    def rates(t: int, rng: random.Random) -> tuple[float, float, int, float]:
        rate, requests, weight = drifting(t, rng)
        return rate, rate, requests, weight

    found = simulate(250, 60, LOOSE, 1, rates)
    assert found["revert"] <= 0.1


def test_false_promotes_stay_under_beta():
    """A preview worse by exactly the margin, at beta = 10 %."""

    def rates(t: int, rng: random.Random) -> tuple[float, float, int, float]:
        rate, requests, weight = drifting(t, rng)
        return rate + 0.01, rate, requests, weight

    found = simulate(250, 60, LOOSE, 2, rates)
    assert found["promote"] <= 0.1
    assert found["revert"] > 0.5


def test_a_good_preview_is_promoted_and_a_bad_one_reverted():
    good = simulate(50, 80, POLICY, 3, lambda t, rng: (0.001, 0.001, 500, 50.0))
    assert good["promote"] >= 0.96
    bad = simulate(50, 40, POLICY, 4, lambda t, rng: (0.03, 0.001, 500, 10.0))
    assert (bad["revert"], bad["promote"]) == (1.0, 0.0)


def test_bursts_are_corrected_by_the_spread_between_pods():
    """Failures that come three at a time on one pod fool the plain test, not the corrected one."""

    def rates(t: int, rng: random.Random) -> tuple[float, float, int, float]:
        return 0.004, 0.004, 600, 20.0

    plain = simulate(120, 60, POLICY, 5, rates, burst=3)
    corrected = simulate(120, 60, POLICY, 5, rates, burst=3, pods=6, before=60)
    assert plain["revert"] > 0.02
    assert corrected["revert"] <= 0.01


def test_share_evidence_restarts_its_counts_when_the_weight_changes():
    share = ShareEvidence(weight=10.0, preview=0, stable=400)
    assert share.log_e == pytest.approx(stats.log_e_share(0, 400, 0.1))
    assert ShareEvidence().log_e == 0.0
