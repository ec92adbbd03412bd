"""A proxy between the step and the API server that answers errors, cuts connections or keeps the step waiting."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import requests
import yaml

from ..bed import Api


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens to one request.

    It waits `delay` seconds, is cut off before or after it was forwarded (`cut`), or is answered with `status`
    without being forwarded.
    """

    delay: float = 0
    cut: str = ""
    status: int = 0
    retry_after: int | None = None


@dataclass(frozen=True)
class Asked:
    """A request as it came in, `path` without its query."""

    method: str
    path: str


Choice = Callable[[Asked], Fault | None]
REASONS = {409: "Conflict", 429: "TooManyRequests", 500: "InternalError", 401: "Unauthorized", 403: "Forbidden"}


@dataclass
class Proxy:
    """A context manager; `choose` decides about each request, and may be replaced at any time."""

    api: Api
    directory: Path
    choose: Choice = lambda asked: None
    done: list[tuple[Asked, Fault]] = field(default_factory=list)
    """The faults that were made."""

    def __enter__(self) -> Self:
        self._closing = threading.Event()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                proxy.handle(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def kubeconfig(self) -> Path:
        """A kubeconfig whose only cluster is this proxy."""
        context = {"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}
        server = f"http://127.0.0.1:{self._server.server_address[1]}"
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "proxy", "cluster": {"server": server}}],
            "users": [{"name": "proxy", "user": {}}],
            "contexts": [context],
            "current-context": "proxy",
        }
        file = self.directory / "proxy-kubeconfig"
        file.write_text(yaml.safe_dump(document))
        return file

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        """Answer one request, with its fault if there is one."""
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        asked = Asked(request.command, urlsplit(request.path).path)
        fault = self.choose(asked)
        if fault is None:
            self._answer(request, *self._forward(request, body))
            return
        self.done.append((asked, fault))
        if fault.delay:
            self._closing.wait(fault.delay)
        if fault.status:
            self._answer(request, fault.status, _headers(fault), _status(fault.status))
            return
        if fault.cut != "before":
            answer = self._forward(request, body)
            if fault.cut != "after":
                self._answer(request, *answer)
                return
        request.close_connection = True

    def _forward(self, request: BaseHTTPRequestHandler, body: bytes) -> tuple[int, dict[str, str], bytes]:
        headers = {
            key: request.headers[key] for key in ("Accept", "Content-Type", "User-Agent") if request.headers[key]
        }
        with requests.Session() as session:
            session.trust_env, session.verify = False, self.api.session.verify
            session.headers.update({k: v for k, v in self.api.session.headers.items() if k == "Authorization"})
            url = self.api.url + request.path
            answer = session.request(request.command, url, data=body or None, headers=headers, timeout=60)
        kept = {key: answer.headers[key] for key in ("Content-Type", "Retry-After") if key in answer.headers}
        return answer.status_code, kept, answer.content

    @staticmethod
    def _answer(request: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes) -> None:
        try:
            request.send_response(status)
            for key, value in {**headers, "Content-Length": str(len(body))}.items():
                request.send_header(key, value)
            request.end_headers()
            request.wfile.write(body)
        except OSError:  # the step has gone meanwhile
            request.close_connection = True


def always(fault: Fault, *, method: str = "", resource: str = "") -> Choice:
    """This fault for every request of a method and of a resource (all where empty)."""

    def choose(asked: Asked) -> Fault | None:
        return fault if method in ("", asked.method) and f"/{resource}" in asked.path else None

    return choose


def for_some_time(choice: Choice, seconds: float) -> Choice:
    """The same, until so many seconds have passed."""
    until = time.monotonic() + seconds
    return lambda asked: choice(asked) if time.monotonic() < until else None


def once(choice: Choice) -> Choice:
    """The same, for the first request that it would strike."""
    lock = threading.Lock()
    struck: list[Any] = []

    def choose(asked: Asked) -> Fault | None:
        with lock:
            fault = None if struck else choice(asked)
            if fault:
                struck.append(asked)
            return fault

    return choose


def _headers(fault: Fault) -> dict[str, str]:
    headers = {"Content-Type": "application/json"}
    return headers if fault.retry_after is None else {**headers, "Retry-After": str(fault.retry_after)}


def _status(code: int) -> bytes:
    reason = REASONS.get(code, "ServiceUnavailable")
    message = f"the fault proxy says {reason}"
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code}
    return json.dumps({**status, "message": message}).encode()
