"""Counting in Prometheus' text format."""

from __future__ import annotations

import msgspec
import pytest

from pipeline_step.errors import ConfigError
from pipeline_step.gates import exposition
from pipeline_step.gates.presets import PRESETS, Series
from tests.gates.conftest import Pod

SIDE = {"service": "shop", "namespace": "pr-35"}

ENVOY = """\
# TYPE envoy_cluster_upstream_rq counter
envoy_cluster_upstream_rq{response_code="200",cluster_name="outbound|80||shop.pr-35.svc.cluster.local"} 21
envoy_cluster_upstream_rq{response_code="503",cluster_name="outbound|80||shop.pr-35.svc.cluster.local"} 2
envoy_cluster_upstream_rq{response_code="0",cluster_name="outbound|80||shop.pr-35.svc.cluster.local"} 1
envoy_cluster_upstream_rq{response_code="200",cluster_name="outbound|80||shop.production.svc.cluster.local"} 179
# TYPE envoy_cluster_upstream_rq_time histogram
envoy_cluster_upstream_rq_time_bucket{cluster_name="outbound|80||shop.pr-35.svc.cluster.local",le="0.5"} 3
envoy_cluster_upstream_rq_time_bucket{cluster_name="outbound|80||shop.pr-35.svc.cluster.local",le="500"} 20
envoy_cluster_upstream_rq_time_bucket{cluster_name="outbound|80||shop.pr-35.svc.cluster.local",le="+Inf"} 21
envoy_cluster_upstream_rq_time_sum{cluster_name="outbound|80||shop.pr-35.svc.cluster.local"} 900
envoy_cluster_upstream_rq_time_count{cluster_name="outbound|80||shop.pr-35.svc.cluster.local"} 21
"""

PROXY = PRESETS["envoy"]
APP = PRESETS["app"]


def test_a_proxy_is_counted_by_side() -> None:
    samples = exposition.parse(ENVOY, PROXY.names)
    assert exposition.requests(samples, PROXY, SIDE) == (24, 3)
    assert exposition.requests(samples, PROXY, {**SIDE, "namespace": "production"}) == (179, 0)
    assert exposition.requests(samples, PROXY, {**SIDE, "namespace": "other"}) is None
    assert exposition.durations(samples, PROXY, SIDE) == (21, {0.0005: 3, 0.5: 20})


def test_a_proxy_s_classes_of_statuses_are_not_counted_again() -> None:
    of_all = 'cluster_name="outbound|80||shop.pr-35.svc.cluster.local"'
    classes = f"""\
envoy_cluster_upstream_rq{{response_code_class="2xx",{of_all}}} 21
envoy_cluster_upstream_rq{{response_code_class="5xx",{of_all}}} 2
"""
    for text in (ENVOY.replace("# TYPE envoy_cluster_upstream_rq counter\n", classes), ENVOY + classes):
        assert exposition.requests(exposition.parse(text, PROXY.names), PROXY, SIDE) == (24, 3)
    linkerd = PRESETS["linkerd"]
    side = 'backend_namespace="pr-35",backend_name="shop"'
    answers = f'{linkerd.requests}{{{side},error="timeout"}} 3\n{linkerd.requests}{{{side},http_status="200"}} 7\n'
    samples = exposition.parse(answers, linkerd.names)
    assert exposition.requests(samples, linkerd, SIDE) == (10, 3), "no status is a failure here"


@pytest.mark.parametrize("label", exposition.STATUS_LABELS)
def test_the_real_client_library_is_counted_whatever_the_label(label: str) -> None:
    pod = Pod(label=label)
    pod.serve(good=7, bad=2, slow=1)
    samples = exposition.parse(pod.text, APP.names)
    assert exposition.requests(samples, APP, SIDE) == (10, 2)
    assert exposition.durations(samples, APP, SIDE) == (10, {0.1: 9, 0.25: 9, 0.5: 9, 1: 10})
    assert exposition.started(samples) == pod.started


def test_where_keeps_and_leaves_out() -> None:
    pod = Pod()
    pod.serve(good=5, path="/shop")
    pod.serve(good=50, path="/healthz")
    samples = exposition.parse(pod.text, APP.names)
    assert exposition.requests(samples, Series(where={"path": "!/healthz|/metrics"}).metrics, SIDE) == (5, 0)
    assert exposition.requests(samples, Series(where={"path": "/sh.*"}).metrics, SIDE) == (5, 0)
    assert exposition.requests(samples, Series(where={"path": "/sh"}).metrics, SIDE) is None
    assert exposition.requests(samples, Series(where={"missing": ""}).metrics, SIDE) == (55, 0)


def test_errors_are_zero_only_where_the_total_exists() -> None:
    samples = exposition.parse('http_requests_total{code="200"} 5\nother 1\n', APP.names)
    assert exposition.requests(samples, APP, SIDE) == (5, 0)
    assert exposition.requests(exposition.parse("other 1\n", APP.names), APP, SIDE) is None
    assert exposition.requests(exposition.parse("", APP.names), APP, SIDE) is None


def test_values_that_are_no_numbers_are_left_out() -> None:
    text = (
        'http_requests_total{code="200"} NaN\nhttp_requests_total{code="500"} 3\nhttp_requests_total{code="0"} +Inf\n'
    )
    assert exposition.requests(exposition.parse(text, APP.names), APP, SIDE) == (3, 3)


@pytest.mark.parametrize(
    "text", ["<html><body>Log in</body></html>", '{"status": "ok"}', "not found", 'http_requests_total{code="20']
)
def test_something_else_than_an_exposition_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="not in Prometheus' text format"):
        exposition.parse(text, APP.names)


def test_a_counter_without_a_status_names_its_labels() -> None:
    samples = exposition.parse('http_requests_total{method="GET",path="/"} 5\n', APP.names)
    with pytest.raises(ConfigError, match=r"no label 'for the status'.*its labels: method, path"):
        exposition.requests(samples, APP, SIDE)
    with pytest.raises(ConfigError, match=r"no label 'grpc_code'.*its labels: method, path"):
        exposition.requests(samples, Series(status_label="grpc_code").metrics, SIDE)


def test_a_limit_that_is_no_edge_names_the_edges() -> None:
    assert exposition.within({0.1: 5, 0.5: 7, 1: 9}, 0.5, "h") == 7
    with pytest.raises(ConfigError, match=r"300ms is no bucket edge of h; its edges are: 100ms, 500ms, 1s"):
        exposition.within({0.1: 5, 0.5: 7, 1: 9}, 0.3, "h")


def test_what_an_exposition_offers_instead() -> None:
    text = '# HELP x\ngo_gc_total 1\nflask_requests_total{code="1"} 5\nmemory_bytes 7\nh_count 2\nh_bucket{le="1"} 2\n'
    assert exposition.counter_names(text) == ["flask_requests_total", "h_count"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (
            {"preset": "istoi"},
            "unknown preset 'istoi'; valid: app, istio, istio-destination, gateway-api, nginx, linkerd",
        ),
        ({"unit": "minutes"}, "unit 'minutes' is not valid; valid: s, ms"),
        ({"errors": "5(.."}, r"'5\(..' is not a regular expression"),
        ({"where": {"path": "!["}}, r"is not a regular expression"),
        ({"where": {"pod": "${pod}"}}, r"unknown placeholder \$\{pod\}. Valid: \$\{namespace\}, \$\{service\}"),
        ({"where": {"pod": "a$"}}, r"write \$\$ for the sign itself"),
        ({"request": "x"}, "unknown field `request`"),
    ],
)
def test_wrong_settings_are_told_when_they_are_read(given: dict[str, object], expected: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=expected):
        msgspec.convert(given, Series)
