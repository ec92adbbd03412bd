"""Real servers of the Prometheus family on loopback, for as long as a test needs them."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import requests

PATIENCE = 60.0  # seconds that a server may take to answer on a busy machine


@contextmanager
def serving(program: str, arguments: Callable[[str], Sequence[str]], folder: Path, ready: str) -> Iterator[str]:
    """Run a program that listens where `arguments(address)` tell it; its URL once `ready` answers with 200."""
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"no {program} program is installed")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    log = folder / f"{program}.log"
    with log.open("wb") as output:
        process = subprocess.Popen([found, *arguments(address)], stdout=output, stderr=output, cwd=folder)
    try:
        until = time.monotonic() + PATIENCE
        while not _answers(f"http://{address}{ready}"):
            assert process.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(20)


def _answers(url: str) -> bool:
    with suppress(requests.RequestException):
        return requests.get(url, timeout=2).status_code == 200
    return False
