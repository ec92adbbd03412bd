"""What a server answered: its body, its own words about an error, and how long it asks to wait."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from pipeline_step.errors import HttpError

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Response:
    """An answer: `headers` have lower-case names, `url` is safe to show."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """The body as text; bytes that are not UTF-8 become U+FFFD."""
        return self.body.decode("utf-8", errors="replace")

    def json(self) -> Any:
        """Decode the body; raises `HttpError` when it is not JSON."""
        return self.decode(Any)

    def decode(self, shape: type[T]) -> T:
        """Decode the JSON body into `shape`, any type that msgspec knows.

        Unknown fields are ignored; raises `HttpError` when the body is not JSON or lacks what `shape` needs.
        """
        try:
            return msgspec.json.decode(self.body, type=shape)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            raise HttpError(
                f"{self.url} answered {self.status} with something unexpected ({error}); "
                "check that this is the API's address and not a login page or a proxy's",
                self.status,
            ) from None


def server_message(response: Response) -> str:
    """What the server itself says of an error, on one line of at most 300 characters, or nothing."""
    try:
        answer = msgspec.json.decode(response.body)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        plain = response.headers.get("content-type", "").startswith("text/plain")
        answer = response.text if plain else ""
    text = " ".join("".join(c if c.isprintable() else " " for c in _said(answer)).split())
    return text if len(text) <= 300 else text[:299] + "…"


def _said(answer: object, depth: int = 0) -> str:
    """The words of an error body; each provider has its own shape."""
    if isinstance(answer, str):
        return answer
    if depth > 4:
        return ""
    if isinstance(answer, list):
        return ", ".join(filter(None, (_said(item, depth + 1) for item in answer[:5])))
    if not isinstance(answer, dict):
        return ""
    names = ("message", "detail", "error_description", "error", "errors", "validation", "base", "code")
    said = [_said(answer[name], depth + 1) for name in names if name in answer]
    return ": ".join(dict.fromkeys(filter(None, said)))


def asked_wait(response: Response) -> tuple[bool, float | None]:
    """Whether a rate limit refused the request, and the seconds that the server asks to wait, if it does."""
    from email.utils import parsedate_to_datetime

    def seconds(value: str) -> float | None:
        try:
            return parsedate_to_datetime(value).timestamp()
        except (TypeError, ValueError, OverflowError):
            return None

    headers = response.headers
    # Dates are compared with the server's own clock, which may differ from ours.
    now = seconds(headers.get("date", "")) or time.time()
    asked: float | None = None
    after = headers.get("retry-after", "").strip()
    if after.isascii() and after.isdigit():
        asked = float(after)
    elif after and (until := seconds(after)) is not None:
        asked = until - now
    used_up = headers.get("x-ratelimit-remaining", headers.get("ratelimit-remaining")) == "0"
    if asked is None and used_up:
        reset = headers.get("x-ratelimit-reset", headers.get("ratelimit-reset", "")).strip()
        if reset.isascii() and reset.isdigit():
            asked = float(reset) - now if float(reset) > 1e9 else float(reset)
    if asked is None and response.status in (403, 429) and "rate limit" in server_message(response).lower():
        # GitHub's secondary limits name no time; its documentation asks for a minute at least.
        asked = 60.0
    limited = response.status == 429 or (response.status == 403 and (used_up or asked is not None))
    return limited, None if asked is None else max(0.0, asked)
