"""HTTP to servers outside the cluster, and the only module that imports requests.

One `Http` per run. It sends a host's headers to that host alone, repeats only what is certain not to be done
twice, waits as long as a server asks for and no longer than its patience, and lets no secret into a text.
"""

from __future__ import annotations

import base64
import logging
import threading
import time
from collections.abc import Callable, Container, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlencode, urljoin, urlsplit

from pipeline_step.answer import Response, asked_wait, server_message
from pipeline_step.errors import HttpError
from pipeline_step.redaction import Redaction, shown, without_userinfo

if TYPE_CHECKING:
    from collections.abc import Iterator

    import requests

log = logging.getLogger(__name__)

SUCCESS = range(200, 300)
ANY_STATUS = range(100, 600)
REDIRECTS = (301, 302, 303, 307, 308)
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
READS = frozenset({"GET", "HEAD", "OPTIONS"})
PASSING = frozenset({429, 502, 503, 504})
ADVICE = {
    401: "check that the token is set, valid and not expired",
    403: "the token lacks a permission for this",
    404: "check the name, and that the token may see it",
    407: "check the proxy's user and password",
}


class Http:
    """Requests to any number of hosts, safe to share between threads.

    headers: by base URL, such as `{"https://api.github.com": {"Authorization": "Bearer ..."}}`; they go to
      requests with that scheme, host and port, never along a redirect to another.
    secrets: texts that appear in no error and no log; what follows the last space of a header counts as one.
    timeout: seconds to connect, and seconds of silence while reading.
    patience: seconds that one call may last before it gives up repeating and waiting.

    Proxies and CA bundles come from the environment as requests reads it; a netrc file is not read.
    `redaction` masks the secrets in other texts, and in logs as a filter of their handler.
    """

    def __init__(
        self,
        *,
        headers: Mapping[str, Mapping[str, str]] | None = None,
        secrets: Iterable[str] = (),
        timeout: tuple[float, float] = (5.0, 20.0),
        patience: float = 30.0,
        max_bytes: int = 64 * 2**20,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._headers = {_origin(url): dict(values) for url, values in (headers or {}).items()}
        known = [*secrets]
        for values in self._headers.values():
            known.extend(value.rpartition(" ")[2] for name, value in values.items() if _is_secret(name))
        self.redaction = Redaction(known)
        self._timeout = timeout
        self._patience = patience
        self._max_bytes = max_bytes
        self.sleep = sleep
        self._clock = clock
        self._threads = threading.local()
        self._writing: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def get(self, url: str, **options: Any) -> Response:
        """`request` with GET."""
        return self.request("GET", url, **options)

    def request(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json: object = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        accept: Container[int] = SUCCESS,
        idempotent: bool | None = None,
    ) -> Response:
        """Send one request and return the answer if its status is in `accept`, else raise `HttpError`.

        Repeated within the patience: anything that the server refused for its rate limit, or that never
        reached it; and if `idempotent` (by default for GET, HEAD, OPTIONS, PUT and DELETE) also a lost
        connection and 429, 502, 503 and 504. Writes to one host wait for each other.
        """
        call = _Call(
            method=method,
            url=url if not params else f"{url}{'&' if '?' in url else '?'}{urlencode(params)}",
            json=json,
            body=body,
            headers=dict(headers or {}),
            idempotent=method in IDEMPOTENT if idempotent is None else idempotent,
            deadline=self._clock() + self._patience,
        )
        if method in READS:
            return self._repeat(call, accept)
        with self._serialised(call):
            return self._repeat(call, accept)

    def _repeat(self, call: _Call, accept: Container[int]) -> Response:
        pause = 0.5
        while True:
            outcome = self._attempt(call, accept)
            if isinstance(outcome, Response):
                return outcome
            left = max(0.0, call.deadline - self._clock())
            wait = pause if outcome.asked is None else outcome.asked
            if not outcome.repeatable or wait > left:
                error = outcome.error(left)
                log.debug("%s", error)
                raise error
            log.info("%s; again in %.1f s", outcome.text, wait)
            self.sleep(wait)
            pause *= 2

    def _attempt(self, call: _Call, accept: Container[int]) -> Response | _Failure:
        from requests import ConnectTimeout

        began = self._clock()
        try:
            response = self._exchange(call)
        # The family of requests' errors is part of OSError; a CA bundle that is not there is a plain one.
        except OSError as error:
            never_sent = isinstance(error, ConnectTimeout) or _never_connected(error)
            return _Failure(
                text=self.redaction.redact(f"{call}: {self._reason(error)}"),
                repeatable=never_sent or (call.idempotent and _is_passing(error)),
            )
        log.debug("%s: %d in %.2f s", self.redaction.redact(str(call)), response.status, self._clock() - began)
        if response.status in accept:
            return response
        limited, asked = asked_wait(response)
        return _Failure(
            text=self.redaction.redact(_refusal(call, response, limited)),
            status=response.status,
            repeatable=limited or (call.idempotent and response.status in PASSING),
            asked=asked,
        )

    def _exchange(self, call: _Call) -> Response:
        url = call.url
        for _ in range(4):
            response = self._send(call, url)
            safe = call.method in READS or response.status in (307, 308)
            if response.status not in REDIRECTS or not safe:
                return response
            try:
                target = urljoin(url, response.headers.get("location", ""))
            except ValueError:
                return response
            if _origin(target) != _origin(url):
                return response
            url = target
        return response

    def _send(self, call: _Call, url: str) -> Response:
        from requests import Timeout

        user, password = _userinfo(url)
        headers = {**self._headers.get(_origin(url), {}), **call.headers}
        if user or password:
            headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        with self._session().request(
            call.method,
            without_userinfo(url),
            json=call.json,
            data=call.body,
            headers=headers,
            timeout=self._timeout,
            allow_redirects=False,
            stream=True,
            # Without an auth of its own, requests would put a netrc's over our header.
            auth=lambda prepared: prepared,
        ) as raw:
            parts, size = [], 0
            for part in raw.iter_content(64 * 1024):
                size += len(part)
                parts.append(part)
                if size > self._max_bytes:
                    text = f"{call} answered more than {self._max_bytes} bytes"
                    raise HttpError(self.redaction.redact(text), raw.status_code)
                if self._clock() > call.deadline + self._timeout[1]:
                    raise Timeout("the answer comes too slowly")
            return Response(
                url=self.redaction.redact(shown(url)),
                status=raw.status_code,
                headers={name.lower(): value for name, value in raw.headers.items()},
                body=b"".join(parts),
            )

    def _session(self) -> requests.Session:
        session: requests.Session | None = getattr(self._threads, "session", None)
        if session is None:
            from http.cookiejar import DefaultCookiePolicy

            import requests

            session = self._threads.session = requests.Session()
            # A provider's session cookie would stand beside the token and bring its CSRF checks along.
            session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
            session.headers["User-Agent"] = "pipeline-step"
        return session

    @contextmanager
    def _serialised(self, call: _Call) -> Iterator[None]:
        with self._guard:
            lock = self._writing.setdefault(_origin(call.url), threading.Lock())
        if not lock.acquire(timeout=max(0.0, call.deadline - self._clock())):
            raise HttpError(f"{call}: an earlier write to this server is still waiting for it")
        try:
            yield
        finally:
            lock.release()

    def _reason(self, error: OSError) -> str:
        import requests

        connect, read = self._timeout
        if isinstance(error, requests.ConnectTimeout):
            return f"no connection within {connect:g} s"
        if isinstance(error, requests.Timeout):
            return f"no complete answer within {read:g} s"
        if isinstance(error, requests.exceptions.ProxyError):
            return f"the proxy failed ({_innermost(error)}); check HTTPS_PROXY, HTTP_PROXY and NO_PROXY"
        if isinstance(error, requests.exceptions.SSLError):
            return f"TLS failed ({_innermost(error)}); for a private CA set REQUESTS_CA_BUNDLE"
        if isinstance(error, requests.ConnectionError):
            return f"could not be reached ({_innermost(error)})"
        return f"could not be sent ({_innermost(error)})"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Call:
    method: str
    url: str
    json: object
    body: bytes | None
    headers: dict[str, str]
    idempotent: bool
    deadline: float

    def __str__(self) -> str:
        return f"{self.method} {shown(self.url)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Failure:
    text: str
    status: int = 0
    repeatable: bool
    asked: float | None = None

    def error(self, left: float) -> HttpError:
        text = self.text
        if self.repeatable and self.asked is not None:
            text += f"; it asks to wait {self.asked:.0f} s and {left:.0f} s are left"
        return HttpError(text, self.status)


def _refusal(call: _Call, response: Response, limited: bool) -> str:
    text = f"{call} answered {response.status}"
    message = server_message(response)
    if message:
        text += f" ({message})"
    if limited:
        return f"{text}; its rate limit is used up"
    if response.status in REDIRECTS:
        return f"{text}; it has moved to {shown(response.headers.get('location', 'an unknown address'))}"
    if response.status in ADVICE:
        return f"{text}; {ADVICE[response.status]}"
    return text


def _origin(url: str) -> str:
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.hostname}:{port}"


def _userinfo(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return unquote(parts.username or ""), unquote(parts.password or "")


def _is_secret(header: str) -> bool:
    return header.lower() in {"authorization", "private-token", "proxy-authorization", "cookie"} or (
        "token" in header.lower() or "key" in header.lower()
    )


def _never_connected(error: BaseException) -> bool:
    from urllib3.exceptions import NewConnectionError

    reason: Any = error.args[0] if error.args else None
    return isinstance(getattr(reason, "reason", None), NewConnectionError)


def _is_passing(error: OSError) -> bool:
    import requests

    lasting = (requests.exceptions.SSLError, requests.exceptions.InvalidURL)
    passing = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    return isinstance(error, passing) and not isinstance(error, lasting)


def _innermost(error: BaseException) -> str:
    """The shortest true reason inside a chain of wrapped errors."""
    reason: Any = error
    for _ in range(8):
        inner = getattr(reason, "reason", None) or (reason.args[0] if getattr(reason, "args", None) else None)
        if not isinstance(inner, BaseException):
            break
        reason = inner
    text = str(getattr(reason, "strerror", None) or reason)
    return text.rpartition("object at ")[2].partition(">: ")[2] or text
