"""The harm-budget ramp and the preflight."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline_step.judge import Metric
from pipeline_step.ramp import next_weight, seconds_to_promote


def test_first_step_is_the_budget_at_worst():
    """20 requests at 100 a second, 5 s until they are seen: 4 %."""
    assert next_weight(0.0, upper=1.0, suspicious=False, requests_per_second=100, delay=5.0) == 4.0


def test_first_step_is_at_most_ten_percent():
    assert next_weight(0.0, upper=1.0, suspicious=False, requests_per_second=1, delay=5.0) == 10.0


def test_a_rise_is_at_most_fourfold_and_ends_at_the_largest_weight():
    assert next_weight(4.0, upper=0.01, suspicious=False, requests_per_second=100, delay=5.0) == 16.0
    assert next_weight(16.0, upper=0.01, suspicious=False, requests_per_second=100, delay=5.0) == 50.0
    assert next_weight(16.0, upper=0.01, suspicious=False, requests_per_second=100, delay=5.0, max_weight=20.0) == 20.0


def test_no_rise_under_suspicion_but_a_fall():
    assert next_weight(4.0, upper=0.01, suspicious=True, requests_per_second=100, delay=5.0) == 4.0
    assert next_weight(50.0, upper=0.5, suspicious=True, requests_per_second=100, delay=5.0) == 8.0


def test_the_route_s_resolution_is_kept():
    options = {"upper": 1.0, "suspicious": False, "requests_per_second": 10_000.0, "delay": 5.0}
    assert next_weight(0.0, **options) == 1.0
    assert next_weight(0.0, **options, resolution=0.01) == pytest.approx(0.04)
    assert next_weight(3.0, upper=0.1, suspicious=False, requests_per_second=100, delay=5.0, resolution=5.0) == 10.0


def test_a_silent_service_is_not_divided_by():
    assert next_weight(0.0, upper=1.0, suspicious=False, requests_per_second=0.0, delay=5.0) == 10.0


@given(
    st.floats(0.0, 50.0),
    st.floats(1e-6, 1.0),
    st.booleans(),
    st.floats(0.01, 1e5),
    st.floats(0.1, 600),
    st.floats(1, 100),
)
def test_the_weight_keeps_the_budget(current, upper, suspicious, rps, delay, budget):
    weight = next_weight(
        current, upper=upper, suspicious=suspicious, requests_per_second=rps, delay=delay, harm_budget=budget,
        resolution=0.01,
    )  # fmt: skip
    assert 0.01 <= weight <= 50.0
    assert weight / 100 * rps * delay * upper <= budget * (1 + 1e-6) or weight == 0.01
    if suspicious and current > 0.01:
        assert weight <= current + 1e-9


def test_preflight_says_how_long_a_proof_takes():
    """At 12 requests a second and 50 %, +0.5 pp takes about 2.8 min."""
    metric = Metric(name="errors", max_increase=0.005)
    seconds = seconds_to_promote(metric, 0.001, 50.0, 12.0, 0.05)
    assert seconds == pytest.approx(166.7, abs=0.1)
    assert seconds_to_promote(metric, 0.001, 50.0, 120.0, 0.05) == pytest.approx(seconds / 10)
    assert seconds_to_promote(metric, 0.001, 10.0, 12.0, 0.05) > 3 * seconds
