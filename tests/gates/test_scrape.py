"""The scrape gate, over real counters, a real client and a server that stands for the API."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from pipeline_step.cluster import Cluster
from pipeline_step.errors import ConfigError
from pipeline_step.gates import Sources, Subject, scrape
from pipeline_step.http import Http
from pipeline_step.model import Counts, Measurement, Outcome
from tests.gates.conftest import BEGAN, Api, Pod, Site

Measure = Callable[..., Measurement]


class Shop:
    """Production's two pods and the preview's one, and a gate that is asked again and again."""

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
        self.subject = subject
        self.counters: Any = {}

    def measure(self, **settings: Any) -> Measurement:
        measurement = scrape.measure(
            "scrape", msgspec.convert(settings, scrape.Settings), self.subject, self.sources, self.counters
        )
        self.counters = msgspec.json.decode(msgspec.json.encode(measurement.counters))
        return measurement


@pytest.fixture
def shop(connect: Callable[..., Cluster], site: Callable[..., Site], subject: Subject) -> Shop:
    shop = Shop(connect, site, subject)
    for pod in shop.stable:
        pod.serve(good=50, bad=1)
    shop.preview.serve(good=10, bad=5)
    return shop


def test_a_failing_preview_is_told_with_both_sides_and_the_limit(shop: Shop) -> None:
    first = shop.measure()
    assert first.outcome is Outcome.TOO_LITTLE
    assert first.reason == (
        "scrape: preview 0 of 0 failed, stable 0 of 0 failed; needed at least 20 requests of the preview to judge"
    )
    shop.preview.serve(good=609, bad=11)
    shop.stable[0].serve(good=1000, bad=12)
    shop.stable[1].serve(good=1000)
    second = shop.measure()
    assert second.outcome is Outcome.FAIL
    assert second.reason == (
        "scrape: preview 11 of 620 failed (1.77 %), stable 12 of 2,012 failed (0.60 %); needed at least 99 % success"
    )
    assert (second.preview, second.stable) == (Counts(total=620, bad=11), Counts(total=2012, bad=12))
    assert second.value == pytest.approx(98.2258, abs=1e-4)


def test_a_good_preview_passes_and_requests_add_up_over_measurements(shop: Shop) -> None:
    shop.measure()
    for _ in range(4):
        shop.preview.serve(good=10)
        measurement = shop.measure()
    assert measurement.outcome is Outcome.PASS
    assert measurement.preview == Counts(total=40, bad=0)


def test_too_few_requests_are_no_verdict_even_when_they_fail(shop: Shop) -> None:
    shop.measure()
    shop.preview.serve(bad=19)
    assert shop.measure().outcome is Outcome.TOO_LITTLE
    shop.preview.serve(bad=1)
    assert shop.measure().outcome is Outcome.FAIL


def test_slow_requests_fail_it(shop: Shop) -> None:
    shop.measure(slower_than="500ms", max_slow=5)
    shop.preview.serve(good=90, slow=10)
    shop.stable[0].serve(good=100)
    measurement = shop.measure(slower_than="500ms", max_slow=5)
    assert measurement.outcome is Outcome.FAIL
    assert measurement.reason == (
        "scrape: preview 0 of 100 failed (0.00 %), stable 0 of 100 failed (0.00 %); needed at least 99 % success; "
        "preview 10 of 100 slower than 500ms (10.00 %), stable 0 of 100 slower than 500ms (0.00 %); allowed at most 5 %"
    )


def test_as_many_slow_requests_as_allowed_pass(shop: Shop) -> None:
    shop.measure(slower_than="500ms", max_slow=10)
    shop.preview.serve(good=90, slow=10)
    assert shop.measure(slower_than="500ms", max_slow=10).outcome is Outcome.PASS


def test_other_settings_begin_anew(shop: Shop) -> None:
    shop.measure()
    shop.preview.serve(good=90)
    assert shop.measure().outcome is Outcome.PASS
    assert shop.measure(slower_than="500ms").outcome is Outcome.TOO_LITTLE


def test_a_latency_limit_between_the_edges_is_refused(shop: Shop) -> None:
    with pytest.raises(ConfigError, match=r"300ms is no bucket edge of http_request_duration_seconds; .*250ms, 500ms"):
        shop.measure(slower_than="300ms")


def test_a_restart_of_the_preview_counts_on(shop: Shop) -> None:
    shop.measure()
    shop.preview.serve(good=30, bad=10)
    shop.measure()
    shop.preview.restart(started=BEGAN + 30)
    shop.preview.serve(good=30, bad=10)
    assert shop.measure().preview == Counts(total=80, bad=20)


def test_a_pod_in_place_of_another_counts_from_its_start_and_the_old_ones_count_stays(shop: Shop) -> None:
    shop.measure()
    shop.preview.serve(good=30, bad=1)
    shop.measure()
    del shop.api.pods["pr-35", "shop-c"]
    shop.api.pods["pr-35", "shop-d"] = new = Pod(started=BEGAN + 20)
    new.serve(good=9)
    assert shop.measure().preview == Counts(total=40, bad=1)


def test_no_pod_no_series_and_no_answer_are_three_things(shop: Shop) -> None:
    shop.measure()
    shop.preview.restart()
    assert shop.measure().outcome is Outcome.NO_DATA
    assert "the preview has no series http_requests_total yet" in shop.measure().reason

    shop.api.pods["pr-35", "shop-c"] = 500
    measurement = shop.measure()
    assert measurement.outcome is Outcome.UNREACHABLE
    assert "pods/proxy pr-35/shop-c:8080: HTTP 500" in measurement.reason

    del shop.api.pods["pr-35", "shop-c"]
    measurement = shop.measure()
    assert (measurement.outcome, measurement.reason) == (
        Outcome.NO_DATA,
        "scrape: the preview's Service has no ready pod",
    )


def test_a_counter_of_another_name_is_shown(shop: Shop) -> None:
    measurement = shop.measure(requests="flask_requests_total")
    assert measurement.outcome is Outcome.NO_DATA
    assert (
        "no series flask_requests_total yet; it offers: http_request_duration_seconds_count, http_requests_total"
        in (measurement.reason)
    )


def test_a_page_in_place_of_metrics_is_unreachable(shop: Shop) -> None:
    shop.api.pods["pr-35", "shop-c"] = "<html>Please log in</html>"
    measurement = shop.measure()
    assert measurement.outcome is Outcome.UNREACHABLE
    assert "test/shop-c answered at /metrics with something not in Prometheus' text format" in measurement.reason


def test_counts_survive_a_poll_in_which_nothing_could_be_read(shop: Shop) -> None:
    shop.measure()
    shop.preview.serve(good=30)
    shop.measure()
    shop.api.pods["pr-35", "shop-c"] = 503
    assert shop.measure().outcome is Outcome.UNREACHABLE
    shop.preview.serve(good=10)
    shop.api.pods["pr-35", "shop-c"] = shop.preview
    assert shop.measure().preview == Counts(total=40)


def test_clusters_are_counted_together(shop: Shop, connect: Callable[..., Cluster], site: Callable[..., Site]) -> None:
    other = Api(pods={("pr-35", "shop-c"): (pod := Pod())})
    pod.serve(good=1)
    both = {**shop.sources.clusters, "other": connect(site(other.respond).url)}
    shop.sources = replace(shop.sources, clusters=both)
    shop.measure()
    shop.preview.serve(good=15)
    pod.serve(good=10, bad=5)
    assert shop.measure().preview == Counts(total=30, bad=5)


def test_a_cluster_that_is_silent_does_not_hold_the_gate_up(shop: Shop, connect: Callable[..., Cluster]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        shop.sources = replace(shop.sources, clusters={"silent": connect(f"http://127.0.0.1:{port}", patience=0)})
        began = time.monotonic()
        measurement = shop.measure()
        assert time.monotonic() - began < 8
    assert measurement.outcome is Outcome.UNREACHABLE


def test_one_proxy_tells_both_sides(subject: Subject, site: Callable[..., Site], sources: Sources) -> None:
    counts = {"production": (1000, 1), "pr-35": (30, 2)}

    def respond(*_: object) -> tuple[int, dict[str, str], bytes]:
        lines = []
        for namespace, (good, bad) in counts.items():
            cluster = f'cluster_name="outbound|80||shop.{namespace}.svc.cluster.local"'
            lines.append(f'envoy_cluster_upstream_rq{{response_code="200",{cluster}}} {good}')
            lines.append(f'envoy_cluster_upstream_rq{{response_code="503",{cluster}}} {bad}')
        return 200, {}, "\n".join(lines).encode()

    settings = msgspec.convert(
        {
            "url": site(respond).url + "/stats/prometheus",
            "preset": "envoy",
        },
        scrape.Settings,
    )
    first = scrape.measure("envoy", settings, subject, sources, {})
    counts.update({"production": (1990, 11), "pr-35": (100, 5)})
    second = scrape.measure("envoy", settings, subject, sources, first.counters)
    assert second.reason == (
        "envoy: preview 3 of 73 failed (4.11 %), stable 10 of 1,000 failed (1.00 %); needed at least 99 % success"
    )
    del counts["pr-35"]
    third = scrape.measure("envoy", settings, subject, sources, {})
    assert "no series envoy_cluster_upstream_rq with the labels of `where` yet" in third.reason


@pytest.mark.parametrize(("status", "words"), [(401, "check that the token"), (404, "answered 404"), (503, "503")])
def test_a_proxy_that_refuses_is_unreachable(
    status: int, words: str, subject: Subject, site: Callable[..., Site], sources: Sources
) -> None:
    url = site(lambda *_: (status, {}, b"")).url
    settings = msgspec.convert({"url": url, "where": {"a": "${service}"}}, scrape.Settings)
    measurement = scrape.measure("scrape", settings, subject, sources, {})
    assert measurement.outcome is Outcome.UNREACHABLE
    assert words in measurement.reason


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"url": "http://envoy:9901/stats/prometheus"}, "needs labels in `where` that tell them apart"),
        ({"proxy": "istio-system/ingress"}, "needs labels in `where` that tell them apart"),
        ({"proxy": "ingress", "preset": "istio"}, "proxy 'ingress' is not NAMESPACE/SERVICE"),
        ({"proxy": "a/b", "url": "http://a", "preset": "istio"}, "give url or proxy, not both"),
        ({"min_requests": 0}, "min_requests is 0; valid: 1 or more"),
        ({"min_success": 101}, "<= 100"),
        ({"slower_than": "fast"}, "'fast' is not a time such as 250ms, 500ms or 1.5s"),
        ({"url": "http://${pod}/", "where": {"a": "${service}"}}, "unknown placeholder"),
    ],
)
def test_wrong_settings_are_told_when_they_are_read(given: dict[str, object], expected: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=expected):
        msgspec.convert(given, scrape.Settings)


def test_the_pods_of_an_ingress_count_for_both_sides(shop: Shop) -> None:
    """The preview has no sidecar, so only the gateway has series for it, and only after its first request."""

    def counted(good: int, bad: int) -> str:
        lines = [f'istio_requests_total{{reporter="source",response_code="200",{of("production")}}} 500']
        for code, count in (("200", good), ("0", bad)):
            lines.append(f'istio_requests_total{{reporter="source",response_code="{code}",{of("pr-35")}}} {count}')
        return "\n".join(lines[: 3 if good or bad else 1]) + "\n"

    def of(namespace: str) -> str:
        return f'destination_service_name="shop",destination_service_namespace="{namespace}"'

    shop.api.pods["istio-system", "ingress-1"] = counted(0, 0)
    shop.api.pods["istio-system", "ingress-2"] = counted(70, 7)
    settings = {"preset": "istio", "proxy": "istio-system/istio-ingressgateway", "port": 8080}
    assert shop.measure(**settings).preview == Counts()
    shop.api.pods["istio-system", "ingress-1"] = counted(30, 5)
    shop.api.pods["istio-system", "ingress-2"] = counted(100, 7)
    measurement = shop.measure(**settings)
    assert measurement.preview == Counts(total=65, bad=5)
    assert measurement.outcome is Outcome.FAIL
