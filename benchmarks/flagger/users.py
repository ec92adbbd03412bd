"""Users at the gateway: a steady stream of requests for each host, and what each of them saw."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from types import TracebackType
from typing import NamedTuple, Self

PATIENCE = 10.0  # seconds that an answer may take
CLIENTS = 24  # connections of a stream: more than wait for slow answers at once


class Answer(NamedTuple):
    """When a request was answered (monotonic), by which release ("" where the body names none), how, and how fast."""

    at: float
    release: str
    status: int
    seconds: float


@dataclass
class Visit:
    """One host's stream; `over` ends it."""

    host: str
    answers: list[Answer] = field(default_factory=list)
    over: bool = False


class Crowd:
    """A context manager: one thread that sends the requests of all streams, none of them twice."""

    def __init__(self, gateway: tuple[str, int]) -> None:
        self._gateway = gateway
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="users", daemon=True)
        self._visits: list[Visit] = []
        self._clients: list[Future[None]] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for visit in self._visits:
            visit.over = True
        wait(self._clients)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def visit(self, host: str, rate: float) -> Visit:
        """Begin a stream of `rate` requests a second for this host."""
        visit, began = Visit(host), time.monotonic()
        self._visits.append(visit)
        for number in range(CLIENTS):
            client = self._client(visit, began + number / rate, CLIENTS / rate)
            self._clients.append(asyncio.run_coroutine_threadsafe(client, self._loop))
        return visit

    async def _client(self, visit: Visit, due: float, interval: float) -> None:
        stream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        request = f"GET / HTTP/1.1\r\nHost: {visit.host}\r\n\r\n".encode()
        while not visit.over:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due = max(due, time.monotonic() - interval) + interval
            sent, release, status, stays = time.monotonic(), "", 0, False
            try:
                async with asyncio.timeout(PATIENCE):
                    stream = stream or await asyncio.open_connection(*self._gateway)
                    stream[1].write(request)
                    release, status, stays = await _answer(stream[0])
            except (OSError, EOFError, TimeoutError, ValueError):
                status = 0
            if not stays and stream:
                stream[1].close()
                stream = None
            now = time.monotonic()
            visit.answers.append(Answer(now, release, status, now - sent))
        if stream:
            stream[1].close()


async def _answer(reader: asyncio.StreamReader) -> tuple[str, int, bool]:
    """The release that the body names, the status, and whether the connection stays open."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
    body = await reader.readexactly(length)
    stays = head.startswith("http/1.1") and "\r\nconnection: close" not in head
    return (json.loads(body)["release"] if body.startswith(b"{") else ""), int(head.split(" ", 2)[1]), stays


class Exposure(NamedTuple):
    """How long users met a preview, from its first answer to its last; how many did, and for how many it failed."""

    seconds: float
    requests: int
    failed: int


def exposure(answers: Sequence[Answer], release: str, slow: float | None) -> Exposure:
    """Of all that a preview's `release` answered. Its failures name no release: they are told by the status 500.

    Where it is slow, answers from `slow` seconds on count as failed.
    """
    theirs = [one for one in answers if one.release == release or one.status == 500]
    if not theirs:
        return Exposure(0.0, 0, 0)
    failed = sum(one.status == 500 or (slow is not None and one.seconds >= slow) for one in theirs)
    return Exposure(max(one.at for one in theirs) - min(one.at for one in theirs), len(theirs), failed)
