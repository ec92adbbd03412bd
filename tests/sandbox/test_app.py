"""The sample app as a process of its own."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

import pipeline_step.sandbox.app as app

Start = Callable[..., tuple[str, "subprocess.Popen[bytes]"]]


@pytest.fixture
def start() -> Iterator[Start]:
    running: list[subprocess.Popen[bytes]] = []

    def run(**env: str) -> tuple[str, subprocess.Popen[bytes]]:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        process = subprocess.Popen(
            [sys.executable, "-S", "-E", str(Path(app.__file__))],
            env={"LISTEN": f"127.0.0.1:{port}", **env},
            stdout=subprocess.DEVNULL,
        )
        running.append(process)
        deadline = time.monotonic() + 5
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return f"http://127.0.0.1:{port}", process
            except OSError:
                assert time.monotonic() < deadline, "the app does not listen"
                time.sleep(0.01)

    yield run
    for process in running:
        process.kill()
        process.wait()


def samples(url: str) -> dict[tuple[str, str], float]:
    text = requests.get(f"{url}/metrics", timeout=5).text
    return {
        (sample.name, sample.labels.get("code", sample.labels.get("le", ""))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_it_counts_what_it_answers(start: Start) -> None:
    url, _ = start(RELEASE="1")
    session = requests.Session()
    for _ in range(5):
        assert session.get(url, timeout=5).json()["release"] == "1"
    assert session.get(f"{url}/status?code=503", timeout=5).status_code == 503
    assert session.get(f"{url}/delay?wait=0.2", timeout=5).text == "0.2\n"
    assert session.get(f"{url}/healthz", timeout=5).status_code == 200
    assert session.get(f"{url}/nothing", timeout=5).status_code == 404
    session.close()
    found = samples(url)
    assert found[("http_requests_total", "200")] == 6
    assert found[("http_requests_total", "503")] == 1
    assert found[("http_requests_total", "404")] == 1
    assert found[("http_request_duration_seconds_bucket", "0.1")] == 7
    assert found[("http_request_duration_seconds_bucket", "0.5")] == 8
    assert found[("http_request_duration_seconds_count", "")] == 8


def test_a_share_fails_and_a_share_is_slow(start: Start) -> None:
    url, _ = start(FAIL_RATE="0.5", SLOW_RATE="0.3", SLOW_SECONDS="0.03")
    with requests.Session() as session:
        codes = [session.get(url, timeout=5).status_code for _ in range(300)]
    assert 100 < codes.count(500) < 200
    found = samples(url)
    assert 45 < 300 - found[("http_request_duration_seconds_bucket", "0.025")] < 135


def test_it_exits_at_once_when_told_to_crash() -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-E", str(Path(app.__file__))],
        env={"CRASH": "1"},
        capture_output=True,
        timeout=5,
        check=False,
    )
    assert done.returncode == 1


def test_on_sigterm_no_request_is_lost_and_it_ends_soon(start: Start) -> None:
    url, process = start()
    lost: list[Exception] = []
    answered = []

    def ask() -> None:
        with requests.Session() as session:
            while process.poll() is None and time.monotonic() < over:
                try:
                    answered.append(session.get(url, timeout=5).status_code)
                except requests.ConnectionError as error:
                    lost.append(error)
                    return

    slow: list[int] = []
    waiter = threading.Thread(target=lambda: slow.append(requests.get(f"{url}/delay?wait=1", timeout=5).status_code))
    over = time.monotonic() + 0.8
    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in (*threads, waiter):
        thread.start()
    time.sleep(0.4)
    process.send_signal(signal.SIGTERM)
    assert requests.get(f"{url}/healthz", timeout=5).status_code == 503
    for thread in (*threads, waiter):
        thread.join()
    assert lost == []
    assert set(answered) == {200}
    assert slow == [200]
    assert process.wait(timeout=5) == 0


def test_pipelined_and_split_requests_are_answered_in_order(start: Start) -> None:
    url, _ = start()
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as client:
        client.sendall(b"GET /delay?wait=0.1 HTTP/1.1\r\nHost: x\r\n\r\nGET /status?code=201 HT")
        client.sendall(b"TP/1.1\r\nHost: x\r\n\r\nPOST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nab")
        client.sendall(b"cGET /status?code=204 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        text = b""
        while chunk := client.recv(65536):
            text += chunk
    lines = [line for line in text.decode().splitlines() if line.startswith("HTTP/1.1")]
    assert [line.split()[1] for line in lines] == ["200", "201", "200", "204"]


def test_it_starts_quickly_and_stays_small(start: Start) -> None:
    began = time.monotonic()
    url, process = start()
    assert requests.get(url, timeout=5).status_code == 200
    assert time.monotonic() - began < 1.0
    status = Path(f"/proc/{process.pid}/status").read_text()
    resident = int(status.partition("VmRSS:")[2].split()[0])
    assert resident < 40_000
