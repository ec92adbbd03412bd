"""A sandbox for the whole session, a namespace for each test, and plain ways to talk to both."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from sandbox_client import Client, Load, deployment, service

from pipeline_step.sandbox import Sandbox

Obj = dict[str, Any]
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(contexts=("europe",)) as running:
        yield running


@pytest.fixture
def client(sandbox: Sandbox) -> Client:
    return Client(sandbox.url)


@pytest.fixture
def namespace(sandbox: Sandbox, client: Client) -> Iterator[str]:
    name = f"test-{next(_numbers)}"
    client.create("/api/v1/namespaces", {"metadata": {"name": name}})
    yield name
    client.send("DELETE", f"/api/v1/namespaces/{name}")


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Call until the result is true, and return it; fails with the last result after some seconds."""

    def wait(ask: Callable[[], Any], seconds: float = 10.0) -> Any:
        deadline = time.monotonic() + seconds
        while True:
            found = ask()
            if found:
                return found
            assert time.monotonic() < deadline, f"not within {seconds} s; last was {found!r}"
            time.sleep(0.02)

    return wait


@pytest.fixture
def kubectl(sandbox: Sandbox) -> Callable[..., str]:
    """Run kubectl against the sandbox; returns what it prints and fails with what it complains about."""

    def run(*arguments: str, text: str | None = None, fails: bool = False) -> str:
        command = ["kubectl", "--kubeconfig", str(sandbox.kubeconfig), *arguments]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=30, check=False)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


@pytest.fixture
def deploy(client: Client, namespace: str, eventually: Callable[..., Any]) -> Callable[..., Obj]:
    """Create a Deployment and its Service, and wait until it is available."""

    def run(name: str, image: str = "croc:1", replicas: int = 1, **env: str) -> Obj:
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
        client.create(path, deployment(name, image, replicas, **env))
        client.create(f"/api/v1/namespaces/{namespace}/services", service(name))
        eventually(lambda: client.get(f"{path}/{name}").get("status", {}).get("availableReplicas") == replicas)
        return client.get(f"{path}/{name}")

    return run


@pytest.fixture
def load() -> Iterator[Callable[..., Load]]:
    """Start sending requests to a URL with a Host header; counts are by (code, release that answered)."""
    started: list[Load] = []

    def start(url: str, host: str, connections: int = 4) -> Load:
        counts: Counter[tuple[int, str]] = Counter()
        over = threading.Event()
        work = _send(url, host, connections, counts, over)
        thread = threading.Thread(target=lambda: asyncio.run(work))
        thread.start()

        def stop() -> None:
            over.set()
            thread.join(timeout=10)

        started.append(Load(counts, stop))
        return started[-1]

    yield start
    for running in started:
        running.stop()


async def _send(url: str, host: str, connections: int, counts: Counter[Any], over: threading.Event) -> None:
    await asyncio.gather(*(_connection(url, host, counts, over) for _ in range(connections)))


async def _connection(url: str, host: str, counts: Counter[Any], over: threading.Event) -> None:
    where = urlsplit(url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    while not over.is_set():
        writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
        body = await reader.readexactly(length)
        release = json.loads(body)["release"] if body.startswith(b"{") else body.decode()
        counts[(int(head.split(" ")[1]), release)] += 1
    writer.close()
    await writer.wait_closed()
