"""Load on the sandbox's gateway, counted by who answered: from the answers themselves, not from anybody's word."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlsplit

NOBODY = "nobody"
PATIENCE = 5.0  # seconds that an answer may take


class Answer(NamedTuple):
    """What is counted: the phase in which a request was sent, the namespace that answered, the HTTP status.

    An answer that names no namespace is `NOBODY`'s (Envoy's own, such as 503); a connection that broke has status 0.
    """

    phase: str
    namespace: str
    status: int

    @property
    def failed(self) -> bool:
        """Whether a user would have seen an error."""
        return not 200 <= self.status < 500


class Load:
    """GET / with this Host header, `rate` times per second (0: as often as possible), while the block runs.

    Requests go over kept-alive connections from a thread of their own. None is ever repeated, so that every error
    is seen. `phase` may be set at any time and names the requests sent from then on.
    """

    def __init__(self, url: str, host: str, rate: float, connections: int = 16) -> None:
        address = urlsplit(url)
        self.phase = ""
        self._address = (address.hostname or "", address.port or 80)
        self._request = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        self._interval = connections / rate if rate else 0.0
        self._connections = connections
        self._counts: dict[Answer, int] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)

    def counts(self) -> Mapping[Answer, int]:
        """How many of each answer there have been so far."""
        return dict(self._counts)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        asyncio.run(self._send_all())

    async def _send_all(self) -> None:
        began = time.monotonic()
        share = self._interval / self._connections
        await asyncio.gather(*(self._connection(began + share * number) for number in range(self._connections)))

    async def _connection(self, due: float) -> None:
        """One client: it sends when it is due, and connects again after an error."""
        stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        while not self._over.is_set():
            wait = due - time.monotonic()
            if wait > 0:
                await asyncio.sleep(min(wait, 0.1))
                continue
            due = max(due, time.monotonic() - self._interval) + self._interval
            phase = self.phase
            try:
                async with asyncio.timeout(PATIENCE):
                    stream = stream or await asyncio.open_connection(*self._address)
                    namespace, status = await self._ask(*stream)
            except (OSError, EOFError, TimeoutError, ValueError):
                namespace, status = NOBODY, 0
                await asyncio.sleep(0.01)
            if not status and stream:
                stream[1].close()
                stream = None
            answer = Answer(phase, namespace, status)
            self._counts[answer] = self._counts.get(answer, 0) + 1
        if stream:
            stream[1].close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[str, int]:
        """Send one request; the namespace that the body names, and the status."""
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        body = await reader.readexactly(length)
        named = body.startswith(b"{")
        return (json.loads(body)["namespace"] if named else NOBODY), int(head.split(" ", 2)[1])
