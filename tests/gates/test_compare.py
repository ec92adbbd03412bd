"""The compare gate over real counters: what it says of good, bad and slow previews, and of sources that fail."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from pipeline_step.cluster import Cluster
from pipeline_step.errors import ConfigError
from pipeline_step.gates import Sources, Subject, compare
from pipeline_step.http import Http
from pipeline_step.model import Counts, Measurement, Outcome
from tests.gates.conftest import BEGAN, Api, Pod, Site


class Shop:
    """Production's two pods and the preview's one, and a gate that looks every five seconds."""

    def __init__(self, connect: Callable[..., Cluster], start: Callable[..., Site], subject: Subject) -> None:
        self.stable = [Pod(), Pod()]
        self.preview = Pod()
        self.api = Api(
            pods={
                ("production", "shop-a"): self.stable[0],
                ("production", "shop-b"): self.stable[1],
                ("pr-35", "shop-c"): self.preview,
            }
        )
        self.sources = Sources(clusters={"test": connect(start(self.api.respond).url)}, http=Http(patience=0.5))
        self.subject = replace(subject, weight=10, share=10.0, now=BEGAN)
        self.counters: Any = {}

    def serve(self, stable: tuple[int, int], preview: tuple[int, int]) -> None:
        """Requests of one poll, (good, bad), stable's shared by its pods."""
        good, bad = stable
        self.stable[0].serve(good=good // 2, bad=bad)
        self.stable[1].serve(good=good - good // 2)
        self.preview.serve(good=preview[0], bad=preview[1])
        self.subject = replace(self.subject, now=self.subject.now + 5)

    def measure(self, **settings: Any) -> Measurement:
        measurement = compare.measure(
            "compare", msgspec.convert(settings, compare.Settings), self.subject, self.sources, self.counters
        )
        self.counters = json.loads(json.dumps(measurement.counters))
        return measurement


@pytest.fixture
def shop(connect: Callable[..., Cluster], site: Callable[..., Site], subject: Subject) -> Shop:
    return Shop(connect, site, subject)


def test_a_failing_preview_is_reverted_after_few_failures(shop: Shop) -> None:
    assert shop.measure().outcome is Outcome.NO_DATA
    outcome, polls = Outcome.NO_DATA, 0
    while outcome is not Outcome.FAIL and polls < 20:
        polls += 1
        shop.serve(stable=(450, 0), preview=(45, 5))
        measurement = shop.measure()
        outcome = measurement.outcome
    assert polls <= 3
    assert measurement.reason.startswith(f"compare: REVERT after {5 * polls} s at 10 %: preview {5 * polls}/")
    assert f"stable 0/{450 * polls}" in measurement.reason.replace(",", "")
    assert measurement.preview == Counts(total=50 * polls, bad=5 * polls)


def test_a_good_preview_is_promoted_when_the_margin_is_proven(shop: Shop) -> None:
    shop.measure()
    outcomes = []
    for _ in range(40):
        shop.serve(stable=(450, 0), preview=(450, 0))
        outcomes.append(shop.measure().outcome)
        if outcomes[-1] is Outcome.PASS:
            break
    assert outcomes[-1] is Outcome.PASS
    assert set(outcomes[:-1]) == {Outcome.UNDECIDED}
    assert len(outcomes) * 450 < 3000


def test_a_slow_preview_is_reverted_and_the_edges_are_kept(shop: Shop) -> None:
    settings = {"latency": {"slower_than": "500ms"}}
    for _ in range(12):
        shop.stable[0].serve(good=450)
        shop.preview.serve(good=40, slow=10)
        shop.subject = replace(shop.subject, now=shop.subject.now + 5)
        if (measurement := shop.measure(**settings)).outcome is Outcome.FAIL:
            break
    assert measurement.outcome is Outcome.FAIL
    assert "slower than 500 ms" in measurement.reason
    assert shop.counters["edges"] == [0.1, 0.25, 0.5, 1]


def test_latency_is_waited_for_and_a_limit_off_the_edges_is_refused(shop: Shop) -> None:
    settings = {"latency": {"slower_than": "300ms"}}
    shop.api.pods["pr-35", "shop-c"] = 'http_requests_total{code="200"} 5\n'
    shop.measure(**settings)
    shop.api.pods["pr-35", "shop-c"] = 'http_requests_total{code="200"} 5000\n'
    measurement = shop.measure(**settings)
    assert measurement.outcome is Outcome.TOO_LITTLE
    assert "no http_request_duration_seconds_bucket of both sides yet" in measurement.reason
    shop.api.pods["pr-35", "shop-c"] = shop.preview
    with pytest.raises(ConfigError, match=r"300ms is no bucket edge.*its edges are: 100ms, 250ms, 500ms, 1s"):
        shop.measure(**settings)


def test_evidence_goes_on_through_steps_and_restarts_and_json(shop: Shop) -> None:
    shop.measure()
    shop.serve(stable=(900, 0), preview=(97, 1))
    shop.measure()
    shop.preview.restart(started=BEGAN + 7)
    shop.subject = replace(shop.subject, began=BEGAN + 6, weight=25, share=25.0)
    shop.serve(stable=(750, 0), preview=(247, 1))
    measurement = shop.measure()
    assert measurement.preview == Counts(total=346, bad=2)
    assert measurement.stable == Counts(total=1650, bad=0)
    # the window after a shift is counted under the weight it began with
    assert shop.counters["evidence"]["share"]["weight"] == 10
    assert compare.judged(compare.Settings(), shop.counters).metrics[0].preview == (2, 346)


def test_evidence_of_other_settings_is_dropped(shop: Shop) -> None:
    shop.measure()
    shop.serve(stable=(900, 0), preview=(97, 1))
    shop.measure()
    assert shop.measure(latency={"slower_than": "1s"}).outcome is Outcome.NO_DATA
    assert shop.counters["evidence"]["metrics"]["errors"]["preview"] == [0, 0]


def test_both_sides_windows_stay_the_same_when_one_can_not_be_read(shop: Shop) -> None:
    shop.measure()
    shop.serve(stable=(900, 0), preview=(100, 0))
    before = shop.counters
    shop.api.pods["pr-35", "shop-c"] = 500
    measurement = shop.measure()
    assert measurement.outcome is Outcome.UNREACHABLE
    assert "the counters of preview can't be read" in measurement.reason
    assert shop.counters == before
    shop.api.pods["pr-35", "shop-c"] = shop.preview
    shop.api.pods["production", "shop-a"] = shop.api.pods["production", "shop-b"] = 500
    assert "the counters of stable can't be read" in shop.measure().reason
    shop.api.pods["production", "shop-a"], shop.api.pods["production", "shop-b"] = shop.stable
    shop.serve(stable=(900, 0), preview=(100, 0))
    measurement = shop.measure()
    assert (measurement.preview, measurement.stable) == (Counts(total=200), Counts(total=1800))


def test_no_pod_and_no_request_and_no_traffic_are_told(shop: Shop) -> None:
    del shop.api.pods["pr-35", "shop-c"]
    measurement = shop.measure()
    assert (measurement.outcome, measurement.reason) == (
        Outcome.NO_DATA,
        "compare: preview has no ready pod, or no series in Prometheus",
    )
    shop.api.pods["pr-35", "shop-c"] = shop.preview
    shop.measure()
    shop.serve(stable=(9000, 0), preview=(0, 0))
    assert "no request of the preview has been counted yet" in shop.measure().reason
    shop.serve(stable=(9000, 0), preview=(10, 0))
    measurement = shop.measure()
    assert measurement.outcome is Outcome.NO_DATA
    assert "traffic is not reaching the preview" in measurement.reason


def test_a_suspicion_holds_the_weight(shop: Shop) -> None:
    shop.measure()
    shop.serve(stable=(4500, 0), preview=(499, 1))
    shop.measure()
    shop.serve(stable=(4500, 0), preview=(493, 7))
    measurement = shop.measure()
    assert compare.judged(compare.Settings(), shop.counters).suspicious
    assert measurement.outcome is Outcome.TOO_LITTLE


def test_stable_failing_too_is_not_the_previews_fault(shop: Shop) -> None:
    shop.measure(errors={"slo": "99%"})
    for _ in range(5):
        shop.serve(stable=(855, 45), preview=(95, 5))
        measurement = shop.measure(errors={"slo": "99%"})
    assert measurement.outcome is Outcome.TOO_LITTLE
    assert "environment unhealthy, stable misses its SLO too" in measurement.reason


def test_the_warmup_is_left_out(shop: Shop) -> None:
    shop.measure(warmup="8s")
    shop.serve(stable=(900, 0), preview=(50, 50))
    assert shop.measure(warmup="8s").outcome is Outcome.NO_DATA
    shop.serve(stable=(900, 0), preview=(100, 0))
    assert shop.measure(warmup="8s").preview == Counts(total=100)


def test_the_counters_stay_small_and_a_measurement_quick(shop: Shop) -> None:
    for number in range(20):
        shop.api.pods["production", f"shop-{number:010}"] = pod = Pod()
        pod.serve(good=100)
    shop.measure(latency={})
    shop.serve(stable=(900, 0), preview=(100, 0))
    began = time.monotonic()
    shop.measure(latency={})
    assert time.monotonic() - began < 6
    assert len(json.dumps(shop.counters, separators=(",", ":"))) < 5000


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"false_revert": 0}, "false_revert is 0; valid: above 0, at most 0.5"),
        ({"errors": {"max_increase": "lots"}}, "'lots' is not a percentage from 0 to 100 such as 0.5pp"),
        ({"errors": {"slo": "99pp"}}, "'99pp' is not a percentage from 0 to 100 such as 99%"),
        ({"errors": {"slo": "100%"}}, "the SLO allows 0, valid is a share between 0 and 1"),
        ({"errors": {"max_increase": 0}}, "max_increase is 0, valid is a share between 0 and 1"),
        ({"latency": {"slower_than": "fast"}}, "'fast' is not a time such as"),
        ({"scrape": {}, "prometheus": {"url": "http://p"}}, "give scrape or prometheus, not both"),
        ({"prometheus": {"preset": "istio"}}, "missing required field `url`"),
        ({"prometheus": {"url": "p:9090"}}, "must begin with http:// or https://"),
    ],
)
def test_wrong_settings_are_told_when_they_are_read(given: dict[str, Any], expected: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=expected):
        msgspec.convert(given, compare.Settings)


def test_all_forms_of_shares_are_read() -> None:
    given = {"errors": {"max_increase": "0.2pp", "slo": 99.5}, "latency": {"max_increase": 2, "slo": "95 %"}}
    errors, slow = compare.metrics(msgspec.convert(given, compare.Settings), (0.1, 0.5))
    assert (errors.max_increase, errors.limit) == (0.002, 0.005)
    assert (slow.max_increase, slow.limit, slow.edge) == (0.02, 0.05, 0.5)
