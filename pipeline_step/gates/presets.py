"""Which series count the requests of the two sides: named presets, and what the user writes over them. Pure."""

from __future__ import annotations

from typing import Annotated

import msgspec

from pipeline_step.gates.exposition import Metrics
from pipeline_step.gates.placeholders import SIDE, check_pattern
from pipeline_step.settings import Strict, says

OWN_SERVICE = {"namespace": "${namespace}", "service": "${service}"}

PRESETS: dict[str, Metrics] = {
    # An application's own counters, as most client libraries name them.
    "app": Metrics(requests="http_requests_total", histogram="http_request_duration_seconds"),
    # Counted where requests leave a proxy: exists for previews without a sidecar, and sees connections that failed.
    # https://istio.io/latest/docs/reference/config/metrics/
    "istio": Metrics(
        requests="istio_requests_total",
        histogram="istio_request_duration_milliseconds",
        status_label="response_code",
        where={
            "reporter": "source",
            "destination_service_name": "${service}",
            "destination_service_namespace": "${namespace}",
        },
    ),
    # Counted in the sidecar of the side that answers.
    "istio-destination": Metrics(
        requests="istio_requests_total",
        histogram="istio_request_duration_milliseconds",
        status_label="response_code",
        where={
            "reporter": "destination",
            "destination_service_name": "${service}",
            "destination_service_namespace": "${namespace}",
        },
    ),
    # Proxies of the Gateway API count by route and not by backend, so the application's own histogram counts.
    "gateway-api": Metrics(
        requests="http_request_duration_seconds_count",
        histogram="http_request_duration_seconds",
        where=OWN_SERVICE,
    ),
    # https://kubernetes.github.io/ingress-nginx/user-guide/monitoring/
    "nginx": Metrics(
        requests="nginx_ingress_controller_requests",
        histogram="nginx_ingress_controller_request_duration_seconds",
        status_label="status",
        where=OWN_SERVICE,
    ),
    # A request that got no answer has an error in place of a status. https://linkerd.io/2/reference/proxy-metrics/
    "linkerd": Metrics(
        requests="outbound_http_route_backend_response_statuses_total",
        histogram="outbound_http_route_backend_response_duration_seconds",
        status_label="http_status",
        errors="5..|",
        where={"backend_namespace": "${namespace}", "backend_name": "${service}"},
    ),
    # A plain Envoy whose clusters are named as istiod names them.
    "envoy": Metrics(
        requests="envoy_cluster_upstream_rq",
        histogram="envoy_cluster_upstream_rq_time",
        where={"cluster_name": r"outbound[|]\d+[|].*[|]${service}[.]${namespace}[.]svc[.].*"},
    ),
}


class Series(Strict, frozen=True):
    """A preset, and what differs from it.

    `requests` is a counter with the status in `status_label` (found by itself among the usual names); requests
    whose status matches `errors` as a whole are bad. `histogram` holds durations, in seconds unless its name or
    `unit` (`s` or `ms`) says milliseconds. `where` restricts both by label, beside the preset's own: a regular
    expression that the whole value must match, or must not where it begins with `!`; `${service}` and
    `${namespace}` are those of each side.
    """

    preset: Annotated[str, says("whose names of metrics these are")] = "app"
    requests: Annotated[str, says("the counter of requests, where the preset's differs")] = ""
    status_label: Annotated[str, says("the label with the status, where it is not one of the usual")] = ""
    errors: Annotated[str, says("a regular expression of the statuses that are bad")] = ""
    histogram: Annotated[str, says("the histogram of durations")] = ""
    unit: Annotated[str, says("the histogram's unit, `s` or `ms`, where its name does not tell")] = ""
    where: Annotated[
        dict[str, str],
        says("more labels to match, each by a regular expression; one that begins with ! must not match"),
    ] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise ValueError(f"unknown preset {self.preset!r}; valid: {', '.join(PRESETS)}")
        if self.unit not in ("", "s", "ms"):
            raise ValueError(f"unit {self.unit!r} is not valid; valid: s, ms")
        check_pattern(self.errors)
        for pattern in self.where.values():
            check_pattern(pattern, SIDE)

    @property
    def metrics(self) -> Metrics:
        """The preset with the user's values over it."""
        preset = PRESETS[self.preset]
        return Metrics(
            requests=self.requests or preset.requests,
            histogram=self.histogram or preset.histogram,
            status_label=self.status_label or ("" if self.requests else preset.status_label),
            errors=self.errors or preset.errors,
            unit=self.unit,
            where={**preset.where, **self.where},
        )
