"""The re-implemented rules of the peers, against vectors of their own tests and documents."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

PATH = Path(__file__).parents[1] / "benchmarks" / "judge" / "peers.py"
spec = importlib.util.spec_from_file_location("judge_peers", PATH)
assert spec is not None
assert spec.loader is not None
peers = importlib.util.module_from_spec(spec)
sys.modules["judge_peers"] = peers
spec.loader.exec_module(peers)


def minute(bad: int, total: int = 600) -> object:
    return peers.Minute((bad, total), (5, 5400))


def test_flagger_rolls_back_one_check_after_the_threshold():
    rule = peers.Flagger()
    assert [rule.minute(minute(600)) for _ in range(6)] == [None] * 5 + ["revert"]
    assert rule.weight == 10.0


def test_flagger_never_forgives_a_failed_check():
    rule = peers.Flagger(max_weight=1000.0)
    outcomes = [rule.minute(minute(bad)) for _ in range(5) for bad in (600, 0)]
    assert outcomes == [None] * 9 + ["revert"]
    assert rule.weight == 10.0 + 4 * 10.0


def test_flagger_promotes_a_good_preview_after_five_minutes():
    rule = peers.Flagger()
    assert [rule.minute(minute(0)) for _ in range(5)] == [None] * 4 + ["promote"]


@pytest.mark.parametrize(("value", "passes"), [(99.0, True), (98.99, False), (None, False), (float("nan"), False)])
def test_flagger_check(value, passes):
    assert peers.Flagger().check(value) is passes


def test_flagger_without_data_fails_the_check():
    rule = peers.Flagger()
    rule.minute(peers.Minute((0, 0), (0, 5400)))
    assert rule.failed == 1


def test_flagger_cuts_latency_to_whole_milliseconds():
    assert peers.whole_milliseconds(0.5009) == 500


@pytest.mark.parametrize(("limit", "status"), [(2, "Failed"), (3, "Running")])
def test_argo_three_failures(limit, status):
    rule = peers.Argo(failure_limit=limit)
    assert [rule.measure("Failed") for _ in range(3)][-1] == status


def test_argo_conditions():
    assert peers.argo_phase(False, False) == "Inconclusive"
    assert peers.argo_phase(True, False) == "Successful"
    assert peers.argo_phase(True, True) == "Failed"
    assert peers.argo_phase(False, None) == "Failed"
    assert peers.argo_phase(None, False) == "Successful"
    assert peers.Argo().measure("Inconclusive") == "Inconclusive"


def test_argo_gives_up_at_the_fifth_error_in_a_row():
    rule = peers.Argo()
    assert [rule.measure("Error") for _ in range(5)] == ["Running"] * 4 + ["Error"]
    rule = peers.Argo()
    assert [rule.measure(p) for p in ("Error", "Error", "Successful", "Error", "Error", "Error")] == ["Running"] * 6


def test_argo_worst_metric_wins():
    assert peers.worst(["Successful", "Running", "Inconclusive"]) == "Inconclusive"
    assert peers.worst(["Failed", "Error", "Successful"]) == "Failed"


def test_argo_promotes_after_its_count():
    rule = peers.Argo()
    assert [rule.minute(minute(0)) for _ in range(9)] == [None] * 8 + ["promote"]


def test_kayenta_interval_and_estimate():
    lower, upper, estimate = peers.mann_whitney([10.0, 20.0, 30.0, 40.0], [1.0, 2.0, 3.0, 4.0], 0.95)
    assert (lower, upper, estimate) == (6.0, 39.0, 22.5)


def test_kayenta_exact_quantiles_are_those_of_r():
    """qwilcox(0.025, 4, 4) = 1, qwilcox(0.01, 10, 10) = 20, qwilcox(0.025, 5, 7) = 6."""
    assert [peers._rank_sum_quantile(*case) for case in ((0.025, 4, 4), (0.01, 10, 10), (0.025, 5, 7))] == [1, 20, 6]


def test_kayenta_ties_use_the_normal_approximation():
    """With ties the interval still encloses the shift, and it mirrors when the sides are exchanged."""
    low = [0.0, 0.0, 1.0, 1.0, 2.0, 0.0, 1.0, 3.0, 0.0, 1.0]
    high = [5.0, 6.0, 5.0, 7.0, 6.0, 8.0, 5.0, 6.0, 7.0, 9.0]
    lower, upper, estimate = peers.mann_whitney(high, low, 0.98)
    assert 3.0 <= lower <= estimate <= upper <= 8.0
    assert peers.mann_whitney(low, high, 0.98) == (-upper, -lower, -estimate)


def test_kayenta_percentile():
    assert peers.percentile([0.5 * i for i in range(8)], 0.05) == pytest.approx(0.175)


def test_kayenta_scores():
    assert peers.group_score(["Pass", "High", "Low"]) == pytest.approx(100 / 3)
    assert peers.summary_score([(75.0, 100.0), (25.0, 0.0)]) == 75.0
    assert peers.summary_score([(1.0, 100.0)], critical_failed=True) == 0.0


def test_kayenta_classification():
    assert peers.classify([], [1.0]) == "Nodata"
    assert peers.classify([0.0] * 10, [0.0] * 10) == "Pass"
    assert peers.classify([0.1 + i / 100 for i in range(10)], [0.001 * i for i in range(10)]) == "High"
    assert peers.classify([0.001 * i for i in range(10)], [0.1 + i / 100 for i in range(10)]) == "Pass"


def test_kayenta_judges_every_ten_minutes_and_promotes_after_an_hour():
    rule = peers.Kayenta()
    bad = [rule.minute(minute(12 + i % 3)) for i in range(10)]
    assert bad == [None] * 9 + ["revert"]
    rule = peers.Kayenta()
    good = [rule.minute(peers.Minute((i % 2, 600), (9 * (i % 2), 5400))) for i in range(60)]
    assert good == [None] * 59 + ["promote"]
