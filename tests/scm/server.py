"""A server on loopback for a provider's routes, which holds requests to what the provider documents."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

TOKEN = "s3cret-t0ken-of-the-tests"
FORMS = (TOKEN, base64.b64encode(f":{TOKEN}".encode()).decode().rstrip("="), quote(TOKEN, safe=""))
"""The token as it could leak: in a log, an error, a comment, an object of the cluster."""


@dataclass
class Request:
    """What a route sees: `query` has single values, `body` is decoded JSON."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any
    url: str

    def fields(self, required: str, optional: str = "") -> dict[str, Any]:
        """The body, if it is an object with every required field and no unknown one; else the answer is 400."""
        needed, known = set(required.split()), set(required.split()) | set(optional.split())
        if not isinstance(self.body, dict) or not needed <= self.body.keys() <= known:
            raise Answer(400, {"message": f"body {self.body!r} must have {required!r} and may have {optional!r}"})
        return self.body

    def only(self, *names: str) -> None:
        """Refuse query parameters that the provider does not document."""
        unknown = self.query.keys() - set(names)
        if unknown:
            raise Answer(400, {"message": f"unknown parameters {sorted(unknown)}"})


class Answer(Exception):
    """An answer that ends the handling of a request at once."""

    def __init__(self, status: int, body: Any = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {body}")
        self.status, self.body, self.headers = status, body, dict(headers or {})


Route = Callable[..., Any]


@dataclass
class Provider:
    """Routes by method and pattern; a pattern's {name} takes one part of the path, {name+} several."""

    name: str
    authorization: str
    routes: list[tuple[str, re.Pattern[str], Route]] = field(default_factory=list)
    common_headers: dict[str, str] = field(default_factory=dict)

    def route(self, method: str, pattern: str) -> Callable[[Route], Route]:
        """Decorator: the function gets the request and the pattern's parts, and returns a body or an `Answer`."""
        regex = re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(pattern))
        regex = re.sub(r"\\{(\w+)\\\+\\}", r"(?P<\1>.+)", regex)

        def add(function: Route) -> Route:
            self.routes.append((method, re.compile(regex), function))
            return function

        return add

    def answer(self, request: Request) -> Answer:
        """Find the route and ask it."""
        if request.headers.get("authorization") != self.authorization:
            return Answer(401, {"message": "Bad credentials"})
        for method, pattern, function in self.routes:
            match = pattern.fullmatch(request.path)
            if match and method == request.method:
                try:
                    result = function(request, **{name: unquote(part) for name, part in match.groupdict().items()})
                except Answer as answer:
                    return answer
                return result if isinstance(result, Answer) else Answer(200, result)
        return Answer(404, {"message": f"no route for {request.method} {request.path}"})


@dataclass
class Running:
    """A running provider: its address, and every exchange so far."""

    url: str
    exchanges: list[dict[str, Any]] = field(default_factory=list)

    def writes(self) -> list[str]:
        """METHOD PATH of every request that was no reading."""
        return [exchange["request"] for exchange in self.exchanges if not exchange["request"].startswith("GET ")]


class QuietServer(ThreadingHTTPServer):
    """Takes many connections at once and says nothing of those that break off."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no news."""


@contextmanager
def running(provider: Provider) -> Iterator[Running]:
    """Serve a provider on a free port while the block lasts."""
    state = Running(url="")
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1

        def handle_any(self) -> None:
            raw = self.rfile.read(int(self.headers.get("content-length", 0)))
            parts = urlsplit(self.path)
            request = Request(
                method=self.command,
                path=parts.path,
                query=dict(parse_qsl(parts.query, keep_blank_values=True)),
                headers={name.lower(): value for name, value in self.headers.items()},
                body=json.loads(raw) if raw else None,
                url=state.url,
            )
            with lock:
                answer = provider.answer(request)
                exchange = {"request": f"{self.command} {self.path}", "body": request.body, "status": answer.status}
                if isinstance(answer.body, bytes):
                    content, exchange["answer"] = answer.body, answer.body.decode()
                else:
                    content, exchange["answer"] = json.dumps(answer.body).encode(), answer.body
                state.exchanges.append(exchange)
            if answer.body is None:
                content = b""
            self.send_response(answer.status)
            for name, value in {**provider.common_headers, **answer.headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            if answer.status != 204:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if answer.status != 204:
                self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815

        def log_message(self, *args: object) -> None:
            pass

    server = QuietServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        told = json.dumps(state.exchanges)
        assert not any(form in told for form in FORMS), "the token is in a URL, a body or an answer"
