"""Where a run's metrics, traces and events go, as the environment says: it belongs to the platform, not to the app.

What is wrong there is said and never stops a run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

PREFIX = "OTEL_EXPORTER_OTLP"
TRACES = f"{PREFIX}_TRACES"
GRPC_PORT = 4317


@dataclass(frozen=True, kw_only=True, slots=True)
class Telemetry:
    """Addresses and what goes with them; empty means that nothing is sent there.

    `traces` is the full URL of an OTLP/HTTP receiver's traces, `headers` go there, `resource` are attributes of the
    sender, and `parent` is the W3C traceparent of the pipeline's own trace. Addresses and headers may hold secrets.
    `doubts` are sentences about what the environment says and can't be followed.
    """

    pushgateway: str = field(default="", repr=False)
    metrics_file: Path | None = None
    traces: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    resource: Mapping[str, str] = field(default_factory=dict)
    parent: str = ""
    cdevents: str = field(default="", repr=False)
    doubts: tuple[str, ...] = ()


def telemetry_of(environ: Mapping[str, str]) -> Telemetry:
    """What the environment says.

    OTEL_* as in https://opentelemetry.io/docs/specs/otel/protocol/exporter/, and K_SINK as Knative sets it.
    """
    doubts: list[str] = []
    file = environ.get("PIPELINE_STEP_METRICS_FILE")
    resource = _pairs(environ, "OTEL_RESOURCE_ATTRIBUTES", doubts)
    if name := environ.get("OTEL_SERVICE_NAME"):
        resource["service.name"] = name
    headers = _pairs(environ, f"{PREFIX}_HEADERS", doubts) | _pairs(environ, f"{TRACES}_HEADERS", doubts)
    return Telemetry(
        pushgateway=_url(environ, "PIPELINE_STEP_PUSHGATEWAY", doubts),
        metrics_file=Path(file) if file else None,
        traces=_traces(environ, doubts),
        headers=headers,
        resource=resource,
        parent=environ.get("TRACEPARENT", ""),
        cdevents=_url(environ, "PIPELINE_STEP_CDEVENTS", doubts) or _url(environ, "K_SINK", doubts),
        doubts=tuple(doubts),
    )


def _traces(environ: Mapping[str, str], doubts: list[str]) -> str:
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none":
        return ""
    own, base = _url(environ, f"{TRACES}_ENDPOINT", doubts), _url(environ, f"{PREFIX}_ENDPOINT", doubts)
    url = own or (f"{base.rstrip('/')}/v1/traces" if base else "")
    protocol = environ.get(f"{TRACES}_PROTOCOL") or environ.get(f"{PREFIX}_PROTOCOL") or ""
    if url and not protocol.startswith("http") and (protocol or urlsplit(url).port == GRPC_PORT):
        doubts.append(
            f"{TRACES if own else PREFIX}_ENDPOINT: {protocol or f'port {GRPC_PORT} is of OTLP over gRPC'}, and traces "
            f"are sent as JSON over HTTP: name the receiver's HTTP port, mostly 4318, and let {TRACES}_PROTOCOL be "
            "http/json"
        )
        return ""
    return url


def _url(environ: Mapping[str, str], name: str, doubts: list[str]) -> str:
    url = environ.get(name, "").strip()
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if good:
        return url
    doubts.append(f"{name}: expected an address such as http://host:port")  # it may hold a password: not shown
    return ""


def _pairs(environ: Mapping[str, str], name: str, doubts: list[str]) -> dict[str, str]:
    """A list such as `a=b,c=d`, with percent-encoded values."""
    pairs = {}
    for part in filter(str.strip, environ.get(name, "").split(",")):
        key, equals, value = part.partition("=")
        if equals and key.strip():
            pairs[unquote(key.strip())] = unquote(value.strip())
        else:
            doubts.append(f"{name}: expected a list such as key=value,key=value")
    return pairs
