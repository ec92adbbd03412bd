"""Chat, paging and mail: what reaches servers on loopback that hold messages to what the services document."""

from __future__ import annotations

import email
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
import requests
from requests.adapters import HTTPAdapter

from pipeline_step.alerts import News, chat
from pipeline_step.alerts.settings import Transition
from pipeline_step.errors import ConfigError, HttpError
from tests.gates.conftest import Answer, Site, site
from tests.sinks.story import config, event

__all__ = ["site"]
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # one of apprise's own
SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7abc"
TEAMS = "workflows://prod-1.westeurope.logic.azure.com:443/643e69f83c8944/VeryS3cretSignature"
DISCORD = "discord://417429632418316298/JHZ7lQml277CDHmQKMHI8qBe7bk2ZwO5UKjCiOAF7711o33"
PAGERDUTY = "pagerduty://0123456789abcdef0123456789abcdef@api-key-1/pipeline-step/shop"


def slack(path: str, body: dict[str, Any]) -> str:
    """https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks"""
    assert path == "hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7abc"
    assert set(body) & {"text", "blocks", "attachments"}
    assert all(len(attachment["text"]) <= 40_000 for attachment in body["attachments"])
    return json.dumps(body)


def teams(path: str, body: dict[str, Any]) -> str:
    """https://learn.microsoft.com/power-automate/teams: a message of adaptive cards."""
    assert path == "prod-1.westeurope.logic.azure.com/workflows/643e69f83c8944/triggers/manual/paths/invoke"
    assert body["type"] == "message"
    (card,) = body["attachments"]
    assert card["contentType"] == "application/vnd.microsoft.card.adaptive"
    assert card["content"]["type"] == "AdaptiveCard"
    assert {"version", "body"} <= set(card["content"])
    return json.dumps(card)


def discord(path: str, body: dict[str, Any]) -> str:
    """https://docs.discord.com/developers/resources/webhook#execute-webhook"""
    assert path == "discord.com/api/webhooks/417429632418316298/JHZ7lQml277CDHmQKMHI8qBe7bk2ZwO5UKjCiOAF7711o33"
    assert body.get("content") or body.get("embeds")
    assert len(body.get("content") or "") <= 2000
    assert all(len(embed["description"]) <= 4096 for embed in body.get("embeds", []))
    return json.dumps(body)


def pagerduty(path: str, body: dict[str, Any]) -> str:
    """https://developer.pagerduty.com/docs/send-alert-event"""
    assert path == "events.pagerduty.com/v2/enqueue"
    assert len(body["routing_key"]) == 32
    assert body["event_action"] in ("trigger", "acknowledge", "resolve")
    assert len(body["dedup_key"]) <= 255
    if body["event_action"] == "trigger":
        assert body["payload"]["severity"] in ("critical", "error", "warning", "info")
        assert body["payload"]["source"] and len(body["payload"]["summary"]) <= 1024
    return json.dumps(body)


def mattermost(path: str, body: dict[str, Any]) -> str:
    """https://developers.mattermost.com/integrate/webhooks/incoming"""
    assert path.endswith("/hooks/yobjmukpaw3r3urc5h6i369yima")
    assert body.get("text") or body.get("attachments")
    return json.dumps(body)


@pytest.fixture
def services(site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Whatever is sent to whichever host arrives here: host and path, and the JSON."""
    seen: list[tuple[str, dict[str, Any]]] = []

    def respond(method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        assert (method, headers["content-type"].partition(";")[0]) == ("POST", "application/json")
        seen.append((headers["x-original"], json.loads(body)))
        status = 202 if "pagerduty" in headers["x-original"] else 204 if "discord" in headers["x-original"] else 200
        return status, {}, b"" if status == 204 else b"ok"

    server = site(respond)

    class Redirecting(HTTPAdapter):
        def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
            parts = urlsplit(str(request.url))
            request.headers["X-Original"] = f"{parts.hostname}{parts.path}"
            request.url = server.url + parts.path
            return super().send(request, *args, **options)

    monkeypatch.setattr(requests.Session, "get_adapter", lambda self, url: Redirecting())
    yield seen


def tell(urls: str, *given: News, **settings: Any) -> None:
    found = msgspec.convert({"url_env": "CHAT", **settings}, chat.Settings)
    told = chat.connect(found, config(), {"CHAT": urls})
    for news in given:
        told(news)


def news(kind: str, weight: int = 0, reason: str = "compare: 7 % of the requests fail") -> News:
    return News(
        kind=Transition(kind),
        event=event(kind, weight, reason=reason),
        preview="http://shop.pr-35",
        run_url="https://tekton.example/run-1",
    )


@pytest.mark.parametrize(
    ("url", "check"),
    [
        (SLACK, slack),
        (TEAMS, teams),
        (DISCORD, discord),
        (PAGERDUTY, pagerduty),
        ("mmost://chat.example/yobjmukpaw3r3urc5h6i369yima", mattermost),
    ],
)
def test_a_message_as_the_service_documents_it(
    services: list[tuple[str, dict[str, Any]]], url: str, check: Callable[[str, dict[str, Any]], str]
) -> None:
    tell(url, news("reverted"))
    ((path, body),) = services
    said = check(path, body)
    for words in ("shop #35 was reverted", "7 % of the requests fail", "https://tekton.example/run-1"):
        assert words in said, said


def test_several_addresses_are_all_told(services: list[tuple[str, dict[str, Any]]]) -> None:
    tell(f"{SLACK}\n{DISCORD}\n", news("promoted"))
    assert [path.partition("/")[0] for path, _ in services] == ["hooks.slack.com", "discord.com"]


def test_a_promotion_resolves_pagerduty_s_incident(services: list[tuple[str, dict[str, Any]]]) -> None:
    tell(PAGERDUTY, news("reverted"), news("promoted"))
    failed, resolved = (body for _, body in services)
    assert (failed["event_action"], failed["payload"]["severity"]) == ("trigger", "critical")
    assert resolved["event_action"] == "resolve"
    assert failed["dedup_key"] == resolved["dedup_key"] == "pipeline-step-shop-35"


def test_what_keeps_messages_together() -> None:
    assert chat.together("gchat://w/k/t", "key 1") == "gchat://w/k/t?thread=key+1"
    assert chat.together("pagerduty://a@b?dedup=mine&rto=2", "k") == "pagerduty://a@b?dedup=mine&rto=2&action=map"
    assert chat.together("slack://a/b/c", "k") == "slack://a/b/c"


def test_nobody_is_mentioned_by_what_users_wrote() -> None:
    title, body = chat.text(config(), news("reverted", reason="asked for by @channel <!here>"))
    assert title == "shop #35 was reverted"
    assert "@channel" not in body and "<!here>" not in body
    assert "channel" in body


def test_mail() -> None:
    from aiosmtpd.controller import Controller

    envelopes = []

    class Mailbox:
        async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
            envelopes.append(envelope)
            return "250 OK"

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(Mailbox(), hostname="127.0.0.1", port=port)
    controller.start()
    try:
        tell(f"mailto://127.0.0.1:{port}?from=step@example.org&to=team@example.org", news("reverted"))
    finally:
        controller.stop()
    (envelope,) = envelopes
    assert envelope.rcpt_tos == ["team@example.org"]
    message = email.message_from_bytes(envelope.content)
    assert str(email.header.make_header(email.header.decode_header(message["Subject"]))) == "shop #35 was reverted"
    texts = [part.get_payload(decode=True) for part in message.walk() if not part.is_multipart()]
    assert b"7 % of the requests fail" in b"".join(text for text in texts if isinstance(text, bytes))


def test_a_service_that_refuses_is_told_without_its_secret(site: Callable[..., Site]) -> None:
    server = site(lambda *_: (403, {}, b"yobjmukpaw3r3urc5h6i369yima is not valid"))
    url = f"mmost://127.0.0.1:{urlsplit(server.url).port}/yobjmukpaw3r3urc5h6i369yima"
    with pytest.raises(HttpError, match=r"Mattermost: .*403") as refused:
        tell(url, news("reverted"))
    assert "yobjmukpaw3r3urc5h6i369yima" not in str(refused.value)


@pytest.mark.parametrize("url", ["nonsense://VeryS3cretSignature", "slack://tooshort", "no-url"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(HttpError, match="an address that apprise does not understand") as refused:
        tell(url, news("reverted"))
    assert "VeryS3cretSignature" not in str(refused.value)


def test_addresses_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the environment variable CHAT holds no URL"):
        tell("", news("reverted"))
    for file, words in ((tmp_path / "none", "can't be read"), (tmp_path / "empty", "holds no URL")):
        (tmp_path / "empty").touch()
        settings = msgspec.convert({"url_file": str(file)}, chat.Settings)
        with pytest.raises(ConfigError, match=words):
            chat.connect(settings, config(), {})(news("reverted"))


def test_only_what_was_chosen() -> None:
    settings = msgspec.convert({"url_env": "CHAT", "on": ["promoted"]}, chat.Settings)
    assert chat.wanted(settings, Transition.PROMOTED)
    assert not chat.wanted(settings, Transition.REVERTED)
    usual = msgspec.convert({"url_env": "CHAT"}, chat.Settings)
    assert chat.wanted(usual, Transition.TRAFFIC_UNKNOWN)
    assert not chat.wanted(usual, Transition.SHIFTED)
