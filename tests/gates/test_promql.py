"""Raw counters of both sides from a real Prometheus, for every preset, and what the queries look like."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import msgspec
import pytest

from pipeline_step.gates import Sources, Subject, compare, exposition, promql
from pipeline_step.gates.placeholders import side
from pipeline_step.gates.presets import PRESETS
from pipeline_step.model import Counts, Outcome
from tests.gates.conftest import Site

LABELS = {
    "app": 'namespace="{ns}",service="shop",code="{code}"',
    "gateway-api": 'namespace="{ns}",service="shop",status="{code}"',
    "istio": 'reporter="source",destination_service_name="shop",destination_service_namespace="{ns}",'
    'response_code="{code}",source_workload="gateway"',
    "istio-destination": 'reporter="destination",destination_service_name="shop",'
    'destination_service_namespace="{ns}",response_code="{code}"',
    "nginx": 'namespace="{ns}",ingress="shop",service="shop",canary="",status="{code}",method="GET"',
    "linkerd": 'backend_namespace="{ns}",backend_name="shop",route_name="shop",http_status="{code}",error=""',
    "envoy": 'cluster_name="outbound|80|v1|shop.{ns}.svc.cluster.local",response_code="{code}"',
}


def counted(counts: Mapping[str, tuple[int, int]]) -> str:
    """The text of a proxy that has seen (good, failed) requests by namespace, under every preset's names."""
    lines = []
    for preset, labels in LABELS.items():
        metrics = PRESETS[preset]
        edge = "500" if metrics.per_second == 1000 else "0.5"
        for namespace, (good, bad) in counts.items():
            for code, count in (("200", good), ("503", bad)):
                of = labels.format(ns=namespace, code=code)
                lines.append(f"{metrics.requests}{{{of}}} {count}")
                if preset == "app":  # its histogram is the one that gateway-api counts
                    continue
                if not metrics.requests.endswith("_count"):
                    lines.append(f"{metrics.histogram}_count{{{of}}} {count}")
                lines.append(
                    f'{metrics.histogram}_bucket{{{of},le="{edge}"}} {count - bad if code == "200" else count}'
                )
                lines.append(f'{metrics.histogram}_bucket{{{of},le="+Inf"}} {count}')
    return "\n".join(lines) + "\n"


def test_every_preset_counts_both_sides_in_a_real_prometheus(
    prometheus_server: Callable[..., str], site: Callable[..., Site], subject: Subject, sources: Sources
) -> None:
    counts = {"production": (1000, 2), "pr-35": (90, 10), "other": (7777, 7777)}
    targets = [site(lambda *_: (200, {}, counted(counts).encode())).url for _ in range(2)]
    url = prometheus_server(targets, "count(istio_requests_total) == 24")
    for preset in LABELS:
        settings = msgspec.convert({"url": url, "preset": preset}, promql.Server)
        read = promql.read(settings, subject, sources, durations=True)
        for key, backend, expected in (("preview", subject.preview, (100, 10)), ("stable", subject.stable, (1002, 2))):
            assert len(read[key].samples) == 2, preset
            for samples in read[key].samples.values():
                metrics = settings.metrics
                bare = replace(metrics, where={})
                assert exposition.requests(samples, bare, side(backend)) == expected, preset
                total, edges = exposition.durations(samples, bare, side(backend)) or (0, {})
                assert (total, total - edges[0.5]) == expected, preset

    gate = msgspec.convert({"prometheus": {"url": url, "preset": "istio"}, "latency": {}}, compare.Settings)
    first = compare.measure("compare", gate, subject, sources, {})
    assert first.outcome is Outcome.NO_DATA
    counts.update({"production": (3000, 2), "pr-35": (200, 50)})
    until = time.monotonic() + 10
    while time.monotonic() < until:
        second = compare.measure("compare", gate, replace(subject, now=subject.now + 5), sources, first.counters)
        if second.preview == Counts(total=300, bad=80):
            break
        time.sleep(0.2)
    assert second.outcome is Outcome.FAIL
    assert (second.preview, second.stable) == (Counts(total=300, bad=80), Counts(total=4000, bad=0))


def test_a_preset_prints_its_resolved_queries(subject: Subject) -> None:
    gate = msgspec.convert(
        {"prometheus": {"url": "http://p", "preset": "istio", "where": {"request_protocol": "!grpc"}}, "latency": {}},
        compare.Settings,
    )
    labels = (
        '{reporter=~"source",destination_service_name=~"shop",destination_service_namespace=~"pr-35",'
        'request_protocol!~"grpc"}'
    )
    assert compare.resolved(gate, subject)["preview"] == {
        "istio_requests_total": f"sum by (instance, pod, response_code) (istio_requests_total{labels})",
        "istio_request_duration_milliseconds_bucket": (
            f"sum by (instance, pod, le) (istio_request_duration_milliseconds_bucket{labels})"
        ),
    }


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_shows_queries_that_name_the_side(preset: str, subject: Subject) -> None:
    gate = msgspec.convert({"prometheus": {"url": "http://p", "preset": preset}, "latency": {}}, compare.Settings)
    for key, backend in (("preview", subject.preview), ("stable", subject.stable)):
        found = compare.resolved(gate, subject)[key]
        assert len(found) == 2
        for name, query in found.items():
            assert query.startswith("sum by (instance, pod, ")
            assert f"{name}{{" in query
            assert backend.service in query
            assert backend.namespace in query
            assert "${" not in query


def test_sides_are_always_told_apart() -> None:
    given = msgspec.convert({"url": "http://p", "where": {"job": "a\\.b"}}, promql.Server)
    found = promql.queries(given.metrics, {"service": "shop", "namespace": "pr-35"}, durations=False)
    expected = 'http_requests_total{namespace=~"pr-35",service=~"shop",job=~"a\\\\.b"}'
    assert expected in found["http_requests_total"]


@pytest.mark.parametrize("status", [401, 429, 500])
def test_a_server_that_refuses_is_a_failure_of_both_sides(
    status: int, site: Callable[..., Site], subject: Subject, sources: Sources
) -> None:
    gate = msgspec.convert({"prometheus": {"url": site(lambda *_: (status, {}, b"")).url}}, compare.Settings)
    measurement = compare.measure("compare", gate, subject, sources, {"began": 5})
    assert measurement.outcome is Outcome.UNREACHABLE
    assert measurement.counters == {"began": 5}


@pytest.mark.parametrize(("late", "least", "most"), [(0.0, 0.0, 9.0), (20.0, 19.0, 40.0)])
def test_how_old_the_counters_are_is_measured(
    prometheus_server: Callable[..., str],
    site: Callable[..., Site],
    subject: Subject,
    sources: Sources,
    late: float,
    least: float,
    most: float,
) -> None:
    """Scraped five times a second; where the exporter's own timestamps are old, that is how late they are."""
    began = time.time()

    def respond(*_: object) -> tuple[int, dict[str, str], bytes]:
        stamp = f" {int(1000 * (time.time() - late))}" if late else ""
        count = f"{10 * (time.time() - began):.0f}{stamp}"
        sides = [f'namespace="{space}",service="shop",code="200"' for space in ("production", "pr-35")]
        lines = [f"http_requests_total{{{labels}}} {count}" for labels in sides]
        return 200, {"Content-Type": "text/plain"}, "\n".join([*lines, ""]).encode()

    url = prometheus_server([site(respond).url], "count(http_requests_total) == 2")
    time.sleep(2)
    settings = msgspec.convert({"url": url}, promql.Server)
    found = promql.read(settings, subject, sources, durations=False)
    assert least <= found["stable"].staleness <= most
