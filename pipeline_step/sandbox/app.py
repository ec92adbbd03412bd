"""The sample app of the sandbox's pods, with the manners of croc-hunter. Standard library only, so it is light.

`/` names the release, commit, pod and namespace; `/healthz`; `/delay?wait=SECONDS`; `/status?code=N`;
`/metrics`. Environment: LISTEN (ADDRESS:PORT, several with commas), RELEASE, COMMIT, POD_NAME, POD_NAMESPACE,
FAIL_RATE (share answered 500), SLOW_RATE and SLOW_SECONDS, START_DELAY (seconds), CRASH=1 (exits at once).
SIGTERM: unready, then every answer closes its connection, then quiet connections are closed, then it ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from urllib.parse import parse_qs

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LAME_DUCK = 1.0
QUIET = 0.5
REASONS = {200: "OK", 404: "Not Found", 500: "Internal Server Error", 503: "Service Unavailable"}


class Metrics:
    """Counters and a histogram of the requests answered, as Prometheus text."""

    def __init__(self) -> None:
        self.requests: dict[tuple[int, str], int] = {}
        self.counts = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0

    def observe(self, code: int, method: str, seconds: float) -> None:
        """Count one answer."""
        self.requests[(code, method)] = self.requests.get((code, method), 0) + 1
        at = next((i for i, bound in enumerate(BUCKETS) if seconds <= bound), len(BUCKETS))
        self.counts[at] += 1
        self.seconds += seconds

    def text(self) -> str:
        """The exposition format, version 0.0.4."""
        lines = ["# HELP http_requests_total Requests answered.", "# TYPE http_requests_total counter"]
        for (code, method), count in sorted(self.requests.items()):
            lines.append(f'http_requests_total{{code="{code}",method="{method}"}} {count}')
        name = "http_request_duration_seconds"
        lines += [f"# HELP {name} Time to answer.", f"# TYPE {name} histogram"]
        total = 0
        for bound, count in zip((*BUCKETS, "+Inf"), self.counts, strict=True):
            total += count
            lines.append(f'{name}_bucket{{le="{bound}"}} {total}')
        lines += [f"{name}_sum {self.seconds:.6f}", f"{name}_count {total}"]
        return "\n".join(lines) + "\n"


class App:
    """The behaviour of one process: what it answers, and whether it is on its way out."""

    def __init__(self, env: dict[str, str]) -> None:
        self.metrics = Metrics()
        self.draining = False
        self.connections: set[Connection] = set()
        self.fail_rate = float(env.get("FAIL_RATE") or 0)
        self.slow_rate = float(env.get("SLOW_RATE") or 0)
        self.slow_seconds = float(env.get("SLOW_SECONDS") or 1)
        names = {
            "release": env.get("RELEASE") or env.get("WORKFLOW_RELEASE", ""),
            "commit": env.get("COMMIT") or env.get("GIT_SHA", ""),
            "pod": env.get("POD_NAME", ""),
            "namespace": env.get("POD_NAMESPACE", ""),
        }
        self.home = json.dumps(names) + "\n"

    def answer(self, path: str, query: str) -> tuple[int, str, float]:
        """Code, body and seconds to wait before answering."""
        if path == "/healthz":
            return (503, "going\n", 0.0) if self.draining else (200, "ok\n", 0.0)
        if path == "/metrics":
            return 200, self.metrics.text(), 0.0
        wait = self.slow_seconds if _chosen(self.slow_rate) else 0.0
        if _chosen(self.fail_rate):
            return 500, self.home, wait
        if path == "/":
            return 200, self.home, wait
        given = parse_qs(query)
        if path == "/delay":
            wait += max(0.0, _number(given, "wait", 1.0))
            return 200, f"{wait}\n", wait
        if path == "/status":
            code = int(_number(given, "code", 200))
            return (code, f"{code}\n", wait) if 200 <= code <= 599 else (400, "bad code\n", wait)
        return 404, "not found\n", wait


def _chosen(share: float) -> bool:
    return share > 0 and random.random() < share  # noqa: S311


def _number(given: dict[str, list[str]], name: str, default: float) -> float:
    try:
        return float(given[name][0])
    except (KeyError, ValueError):
        return default


class Connection(asyncio.Protocol):
    """One keep-alive HTTP/1.1 connection; requests are answered in order."""

    def __init__(self, app: App) -> None:
        self.app = app
        self.buffer = b""
        self.busy = False
        self.last = time.monotonic()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.app.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.app.connections.discard(self)
        self.transport = None

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if not self.busy:
            self._next()

    def _next(self) -> None:
        while self.transport and not self.busy:
            head, found, rest = self.buffer.partition(b"\r\n\r\n")
            if not found:
                return
            first, _, fields = head.decode("latin-1").partition("\r\n")
            lowered = fields.lower()
            length = _content_length(lowered)
            if len(rest) < length:
                return
            self.buffer = rest[length:]
            parts = first.split(" ")
            if len(parts) != 3:
                self.transport.close()
                return
            close = "connection: close" in lowered or parts[2] == "HTTP/1.0"
            self._start(parts[0], parts[1], close)

    def _start(self, method: str, target: str, close: bool) -> None:
        began = time.perf_counter()
        self.busy = True
        path, _, query = target.partition("?")
        code, body, wait = self.app.answer(path, query)
        if wait:
            loop = asyncio.get_running_loop()
            loop.call_later(wait, self._finish, method, path, code, body, close, began, True)
        else:
            self._finish(method, path, code, body, close, began, False)

    def _finish(self, method: str, path: str, code: int, body: str, close: bool, began: float, again: bool) -> None:
        self.busy = False
        self.last = time.monotonic()
        if path not in ("/healthz", "/metrics"):
            self.app.metrics.observe(code, method, time.perf_counter() - began)
        if not self.transport:
            return
        close = close or self.app.draining
        kind = "application/json" if body[:1] == "{" else "text/plain; version=0.0.4; charset=utf-8"
        ending = "Connection: close\r\n" if close else ""
        payload = body.encode()
        head = (
            f"HTTP/1.1 {code} {REASONS.get(code, 'Status')}\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(payload)}\r\n{ending}\r\n"
        )
        self.transport.write(head.encode() + (b"" if method == "HEAD" else payload))
        if close:
            self.transport.close()
        elif again:
            self._next()


def _content_length(fields: str) -> int:
    _, found, rest = fields.partition("content-length:")
    return int(rest.partition("\r\n")[0]) if found else 0


async def drain(app: App, done: asyncio.Event) -> None:
    """Answer on for a while, each time closing; then close the quiet connections and wait for the busy ones."""
    app.draining = True
    began = time.monotonic()
    while app.connections or time.monotonic() < began + QUIET:
        now = time.monotonic()
        if now > began + LAME_DUCK:
            for connection in tuple(app.connections):
                if not connection.busy and now > connection.last + QUIET and connection.transport:
                    connection.transport.close()
        await asyncio.sleep(0.05)
    done.set()


async def serve(env: dict[str, str]) -> None:
    """Listen on every address of LISTEN until SIGTERM has been dealt with."""
    app = App(env)
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Task[None]] = []
    loop.add_signal_handler(signal.SIGTERM, lambda: tasks.append(loop.create_task(drain(app, done))))
    await asyncio.sleep(float(env.get("START_DELAY") or 0))
    for address in filter(None, env.get("LISTEN", "127.0.0.1:8080").split(",")):
        host, _, port = address.rpartition(":")
        await loop.create_server(lambda: Connection(app), host, int(port), backlog=1024)
        print(f"listening on {address}, release {env.get('RELEASE', '')!r}", flush=True)
    await done.wait()
    print("terminated", flush=True)


def main() -> None:
    """Run the app with the process's environment."""
    env = dict(os.environ)
    if env.get("CRASH") == "1":
        print("panic: CRASH=1", file=sys.stderr, flush=True)
        sys.exit(1)
    asyncio.run(serve(env))


if __name__ == "__main__":
    main()
