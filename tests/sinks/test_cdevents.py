"""CDEvents: each is held to the schema that the spec publishes, and to CloudEvents' binding."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from pipeline_step.errors import HttpError
from pipeline_step.run import Result
from pipeline_step.sinks import cdevents
from tests.gates.conftest import Site, site
from tests.sinks.story import DONE, IMAGE, PROMOTED, config, event, story

SCHEMAS = {
    schema["$id"]: schema
    for schema in (json.loads(path.read_text()) for path in (Path(__file__).parent / "cdevents-0.5.1").glob("*.json"))
}
REGISTRY: Any = Registry().with_resources((name, Resource.from_contents(schema)) for name, schema in SCHEMAS.items())

__all__ = ["site"]


def check(event: dict[str, Any]) -> str:
    """The event's type without its version, once its schema and the binding are content with it."""
    subject, predicate = event["context"]["type"].removeprefix("dev.cdevents.").split(".")[:2]
    schema = SCHEMAS[f"https://cdevents.dev/0.5.1/schema/{subject}-{predicate}-event"]
    Draft202012Validator(schema, registry=REGISTRY).validate(event)
    assert datetime.fromisoformat(event["context"]["timestamp"]).tzinfo is not None
    return f"{subject}.{predicate}"


def test_the_schemas_refuse_what_is_not_theirs() -> None:
    (good, *_) = cdevents.events(story(config(), PROMOTED), begins=True)
    with pytest.raises(Exception, match="Additional properties"):
        check({**good, "more": 1})
    with pytest.raises(Exception, match="'source' is a required property"):
        check({**good, "context": {name: value for name, value in good["context"].items() if name != "source"}})


def test_a_promotion() -> None:
    first = [*PROMOTED[:1], *PROMOTED[1:]]
    first[0] = event("shifted", 5, 10, sha="abcdef1", image=IMAGE)
    sent = list(cdevents.events(story(config(), first, end=DONE), begins=True))
    assert [check(one) for one in sent] == [
        "taskrun.started",
        "service.published",
        "service.published",
        "service.upgraded",
        "taskrun.finished",
    ]
    started, published, _, upgraded, finished = sent
    assert started["subject"] == {
        "id": "run-1",
        "content": {"taskName": "rollout", "uri": "https://tekton.example/run-1"},
    }
    assert started["context"]["source"] == "https://github.com/acme/shop"
    assert started["context"]["timestamp"] == "2026-09-21T14:13:20.000Z"
    assert published["subject"] == {
        "id": "jx-acme-shop-pr-35/shop",
        "content": {"environment": {"id": "prod"}},
    }
    assert (published["customData"]["weight"], published["customData"]["pull_request"]) == (5, 35)
    assert upgraded["subject"] == {
        "id": "prod/shop",
        "content": {
            "environment": {"id": "prod"},
            "artifactId": "pkg:oci/shop@sha256%3A"
            + "0b31b1c02ff458ad" * 4
            + "?repository_url=registry.example%3A5000/acme/shop",
        },
    }
    assert finished["subject"]["content"]["outcome"] == "success"
    assert len({one["context"]["id"] for one in sent}) == 5
    assert {one["context"]["chainId"] for one in sent} == {"run-1"}


@pytest.mark.parametrize(
    ("command", "kind", "outcome"),
    [
        ("rollout", "reverted", "failure"),
        ("rollout", "inconclusive", "failure"),
        ("rollout", "interrupted", "cancel"),
        ("rollout", "superseded", "cancel"),
        ("revert", "reverted", "success"),
    ],
)
def test_a_way_back(command: str, kind: str, outcome: str) -> None:
    end = Result(outcome=kind, reason="too many errors")
    told = story(config(), [event(kind, 0, 20)], end=end, command=command)
    rolledback, finished = cdevents.events(told, begins=False)
    assert [check(rolledback), check(finished)] == ["service.rolledback", "taskrun.finished"]
    assert rolledback["subject"]["content"] == {"environment": {"id": "prod"}, "artifactId": "pkg:oci/shop"}
    assert finished["subject"]["content"]["outcome"] == outcome
    assert finished["subject"]["content"].get("errors") == (None if outcome == "success" else "too many errors")


def test_an_error_before_anything() -> None:
    end = Result(outcome="refused", reason="it is frozen")
    started, finished = cdevents.events(story(config(), [], end=end), begins=True)
    assert [check(started), check(finished)] == ["taskrun.started", "taskrun.finished"]
    assert finished["subject"]["content"]["outcome"] == "error"
    assert finished["context"]["timestamp"].startswith("2026-09-21T14:13:20")


def test_the_repository_s_token_is_no_source() -> None:
    given = config(REPO_URL="https://me:t0ken@git.example/acme/shop.git")
    assert cdevents.source(given) == "https://git.example/acme/shop"
    alone = config(REPO_OWNER="", REPO_NAME="", REPO_URL="")
    assert cdevents.source(alone) == "/pipeline-step/shop"


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("shop:1.2", "pkg:oci/shop?tag=1.2"),
        ("docker.io/library/Shop", "pkg:oci/shop?repository_url=docker.io/library/Shop"),
        ("shop@sha256:aa", "pkg:oci/shop@sha256%3Aaa"),
    ],
)
def test_package_urls(image: str, expected: str) -> None:
    assert cdevents.purl(image) == expected


def test_over_http_in_binary_mode(site: Callable[..., Site]) -> None:
    server = site(lambda *_: (202, {}, b""))
    (send,) = cdevents.connect(config(PIPELINE_STEP_CDEVENTS=f"{server.url}/broker"), None).values()
    send(story(config(), PROMOTED[:1]))
    send(story(config(), PROMOTED, fresh=PROMOTED[1:], end=DONE))
    types = []
    for method, path, headers, body in server.seen:
        sent = json.loads(body)
        types.append(check(sent))
        assert (method, path, headers["content-type"]) == ("POST", "/broker", "application/json")
        assert headers["ce-specversion"] == "1.0"
        assert headers["ce-id"] == sent["context"]["id"]
        assert headers["ce-type"] == sent["context"]["type"]
        assert headers["ce-source"] == sent["context"]["source"]
        assert headers["ce-subject"] == sent["subject"]["id"]
        assert headers["ce-time"] == sent["context"]["timestamp"]
    assert types == [
        "taskrun.started",
        "service.published",
        "service.published",
        "service.upgraded",
        "taskrun.finished",
    ]


def test_what_could_not_be_sent_comes_with_the_next_and_what_is_refused_does_not(site: Callable[..., Site]) -> None:
    answers = iter([400, 500, *[202] * 9])
    server = site(lambda *_: (next(answers), {}, b""))
    (send,) = cdevents.connect(config(K_SINK=server.url), None).values()
    with pytest.raises(HttpError, match="400"):
        send(story(config(), PROMOTED[:1]))
    with pytest.raises(HttpError, match="500"):
        send(story(config(), PROMOTED[:2], fresh=PROMOTED[1:2]))
    send(story(config(), PROMOTED, fresh=PROMOTED[2:], end=DONE))
    accepted = [json.loads(body) for *_, body in server.seen][2:]
    assert [check(one) for one in accepted] == [
        "service.published",
        "service.published",
        "service.upgraded",
        "taskrun.finished",
    ]
    assert accepted[0]["customData"]["weight"] == 5


def test_looks_send_nothing(site: Callable[..., Site]) -> None:
    server = site(lambda *_: (202, {}, b""))
    (send,) = cdevents.connect(config(PIPELINE_STEP_CDEVENTS=server.url), None).values()
    send(story(config(), [], command=""))
    assert server.seen == []
    assert cdevents.connect(config(), None) == {}
