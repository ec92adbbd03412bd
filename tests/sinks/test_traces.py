"""The run's trace: read back by the published protocol's own definition, as a collector reads it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from pipeline_step.errors import HttpError
from pipeline_step.model import Outcome
from pipeline_step.run import Result
from pipeline_step.sinks import Story, traces
from tests.gates.conftest import Site, site
from tests.sinks.story import BEGAN, DONE, PROMOTED, config, event, look, story

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
LOOKS = [
    look(5, 12, Outcome.TOO_LITTLE),
    look(5, 40, Outcome.UNDECIDED),
    look(5, 60, Outcome.PASS),
    look(25, 75, Outcome.PASS, step=1),
    look(25, 129, Outcome.PASS, step=1),
]

__all__ = ["site"]


def read(body: bytes) -> dict[str, Span]:
    """The spans of a message, by name. OTLP's JSON writes ids in hexadecimal, where protobuf's would be base64."""
    message = json.loads(body)
    for resource in message["resourceSpans"]:
        for scope in resource["scopeSpans"]:
            for span in scope["spans"]:
                for key in {"traceId", "spanId", "parentSpanId"} & set(span):
                    span[key] = base64.b64encode(bytes.fromhex(span[key])).decode()
    request = json_format.ParseDict(message, ExportTraceServiceRequest())  # unknown fields are errors
    found = [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]
    names = [span.name for span in found]
    assert len({span.span_id for span in found}) == len(found)
    return {
        name if names.count(name) == 1 else f"{name} in {index}": span
        for index, (name, span) in enumerate(zip(names, found, strict=True))
    }


def attributes(span: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in span.attributes}


@pytest.fixture
def exported(site: Callable[..., Site]) -> Callable[..., list[dict[str, Span]]]:
    def export(*stories: Story, **environ: str) -> list[dict[str, Span]]:
        server = site(lambda *_: (200, {"Content-Type": "application/json"}, b'{"partialSuccess":{}}'))
        for send in traces.connect(config(OTEL_EXPORTER_OTLP_ENDPOINT=server.url, **environ), None).values():
            for one in stories:
                send(one)
        for method, path, headers, _ in server.seen:
            assert (method, path, headers["content-type"]) == ("POST", "/v1/traces", "application/json")
            assert headers.get("x-key", "k") == "k"
        return [read(body) for *_, body in server.seen]

    return export


def test_a_promotion_is_one_trace(exported: Callable[..., list[dict[str, Span]]]) -> None:
    (spans,) = exported(story(config(), PROMOTED, looks=LOOKS, end=DONE), OTEL_EXPORTER_OTLP_HEADERS="x-key=k")
    assert [name.partition(" in ")[0] for name in spans] == [
        "rollout shop",
        "step 5 %",
        "gate compare",
        "step 25 %",
        "gate compare",
        "promotion",
    ]
    root = spans["rollout shop"]
    assert {span.trace_id for span in spans.values()} == {root.trace_id}
    assert (len(root.trace_id), len(root.span_id), root.parent_span_id) == (16, 8, b"")
    assert (root.start_time_unix_nano, root.end_time_unix_nano) == (BEGAN * 1e9, (BEGAN + 150) * 1e9)
    said = attributes(root)
    assert said["cicd.pipeline.task.run.id"] == "run-1"
    assert said["cicd.pipeline.task.run.result"] == "success"
    assert said["vcs.change.id"] == "35"
    assert said["pipeline_step.outcome"] == "promoted"
    assert [note.name for note in root.events] == ["shifted", "shifted", "promoting", "promoted"]

    step = spans["step 5 %"]
    assert step.parent_span_id == root.span_id
    assert (step.start_time_unix_nano, step.end_time_unix_nano) == ((BEGAN + 10) * 1e9, (BEGAN + 70) * 1e9)
    assert attributes(step)["pipeline_step.weight"] == 5
    first, second = (span for name, span in spans.items() if name.startswith("gate"))
    assert (first.parent_span_id, second.parent_span_id) == (step.span_id, spans["step 25 %"].span_id)
    assert [note.name for note in first.events] == ["too_little", "undecided", "pass"]
    assert [note.name for note in second.events] == ["pass"]
    assert attributes(first)["pipeline_step.gate.preview.bad_requests"] == 2
    assert {span.status.code for span in spans.values()} == {1}


def test_a_revert_is_an_error(exported: Callable[..., list[dict[str, Span]]]) -> None:
    events = [event("shifted", 5, 10), event("reverted", 0, 30, reason="too many errors")]
    looks = [look(5, 12, Outcome.UNDECIDED), look(5, 29, Outcome.FAIL)]
    end = Result(outcome="reverted", reason="too many errors")
    (spans,) = exported(story(config(), events, looks=looks, end=end))
    assert {name: (span.status.code, span.status.message) for name, span in spans.items()} == {
        "rollout shop": (2, "too many errors"),
        "step 5 %": (2, "too many errors"),
        "gate compare": (2, "compare: thinking"),
    }
    assert attributes(spans["rollout shop"])["cicd.pipeline.task.run.result"] == "failure"


def test_a_span_is_sent_once_it_has_ended(exported: Callable[..., list[dict[str, Span]]]) -> None:
    early, late = exported(
        story(config(), PROMOTED[:1]),
        story(config(), PROMOTED[:2]),
        story(config(), PROMOTED, end=DONE),
    )
    assert list(early) == ["step 5 %"]
    assert list(late) == ["rollout shop", "step 25 %", "promotion"]
    assert early["step 5 %"].parent_span_id == late["rollout shop"].span_id


def test_it_belongs_to_the_pipeline_s_own_trace(exported: Callable[..., list[dict[str, Span]]]) -> None:
    told = story(config(TRACEPARENT=PARENT), PROMOTED, end=DONE)
    (spans,) = exported(told, TRACEPARENT=PARENT)
    root = spans["rollout shop"]
    assert root.trace_id.hex() == "0af7651916cd43dd8448eb211c80319c"
    assert root.parent_span_id.hex() == "b7ad6b7169203331"
    assert exported(told, TRACEPARENT=PARENT[:-2] + "00") == [], "a trace that is not recorded has no parts either"


def test_an_error_before_anything(exported: Callable[..., list[dict[str, Span]]]) -> None:
    (spans,) = exported(story(config(), [], end=Result(outcome="refused", reason="it is frozen")))
    assert (spans["rollout shop"].status.code, spans["rollout shop"].status.message) == (2, "it is frozen")


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (200, b'{"partialSuccess":{"rejectedSpans":"2","errorMessage":"too old"}}', "rejected 2 spans: too old"),
        (401, b"", "answered 401"),
    ],
)
def test_a_receiver_that_refuses(site: Callable[..., Site], status: int, body: bytes, words: str) -> None:
    server = site(lambda *_: (status, {}, body))
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": server.url, "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20t0ken"}
    (send,) = traces.connect(config(**environ), None).values()
    with pytest.raises(HttpError, match=words) as refused:
        send(story(config(), PROMOTED, end=DONE))
    assert server.seen[0][2]["authorization"] == "Bearer t0ken"
    assert "t0ken" not in str(refused.value)
