"""A real Chromium without a screen, spoken to by its DevTools protocol over two pipes.

https://chromedevtools.github.io/devtools-protocol/
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 60.0  # seconds for one answer: a loaded machine is slow
OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
    "--no-first-run",
    "--remote-debugging-pipe",
)

MOVED = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for end, wanted in zip(ends, (3, 4)):
    os.dup2(end, wanted)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""A program that starts another with two descriptors where Chromium speaks its protocol: 3 and 4."""


def program() -> str:
    """Where Chromium is; "" where none is installed."""
    return next((found for name in PROGRAMS if (found := shutil.which(name))), "")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with a profile of its own, ended with the block."""
    with tempfile.TemporaryDirectory(prefix="pipeline-step-chromium-", ignore_cleanup_errors=True) as profile:
        (to_read, we_write), (we_read, to_write) = os.pipe(), os.pipe()
        command = [program(), *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        with subprocess.Popen(
            [sys.executable, "-c", MOVED, str(to_read), str(to_write), *command],
            pass_fds=(to_read, to_write),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            os.close(to_read)
            os.close(to_write)
            try:
                yield Browser(we_read, we_write)
            finally:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                os.close(we_read)
                os.close(we_write)


class Browser:
    """One tab. Every call waits for its answer."""

    def __init__(self, reads: int, writes: int) -> None:
        self._reads, self._writes = reads, writes
        self._number = 0
        self._rest = b""
        self._events: list[dict[str, Any]] = []
        self._attached = ""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Accessibility", "Network", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol; its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._attached:
            message["sessionId"] = self._attached
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._writes, data) :]
        until = time.monotonic() + PATIENCE
        while True:
            answer = self._next(until)
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
            self._events.append(answer)

    def open(self, url: str, *, width: int = 1180, height: int = 900, dark: bool = False, factor: float = 1) -> None:
        """Show a page in a window of this size, and wait until it is there."""
        self._events.clear()
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        self.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=factor,
            mobile=width < 600,
        )
        self.ask("Page.navigate", url=url)
        self.wait_for("location.href !== 'about:blank' && document.readyState === 'complete'")

    def wait_for(self, expression: str, seconds: float = PATIENCE) -> None:
        """Wait until an expression of JavaScript holds in the page."""
        until = time.monotonic() + seconds
        while not self.run(expression):
            assert time.monotonic() < until, f"not in {seconds} s: {expression}"
            time.sleep(0.05)

    def run(self, expression: str) -> Any:
        """The value of an expression in the page, awaited where it is a promise."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def nodes(self) -> list[dict[str, Any]]:
        """What a screen reader is given, in order: role, name and the like."""
        found = self.ask("Accessibility.getFullAXTree")["nodes"]
        by_id = {node["nodeId"]: node for node in found}
        ordered: list[dict[str, Any]] = []

        def walk(node: dict[str, Any]) -> None:
            if not node.get("ignored"):
                said = {"role": node["role"]["value"], "name": node.get("name", {}).get("value", "")}
                said |= {one["name"]: one["value"].get("value") for one in node.get("properties", [])}
                ordered.append(said)
            for child in node.get("childIds", []):
                if child in by_id:
                    walk(by_id[child])

        walk(found[0])
        return ordered

    def picture(self, file: Path, *, height: int = 0) -> None:
        """Write what is seen as WebP or PNG, by the file's name; the whole page or its upper part."""
        area = self.run(
            "({width: document.documentElement.clientWidth, height: document.documentElement.scrollHeight})"
        )
        answer = self.ask(
            "Page.captureScreenshot",
            format=file.suffix[1:],
            **({"quality": 85} if file.suffix == ".webp" else {}),
            captureBeyondViewport=True,
            clip={"x": 0, "y": 0, "scale": 1, **area, **({"height": height} if height else {})},
        )
        file.write_bytes(base64.b64decode(answer["data"]))

    def events(self, method: str) -> list[dict[str, Any]]:
        """What has happened since the page was opened, of one kind."""
        return [event["params"] for event in self._events if event.get("method") == method]

    def _next(self, until: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            left = until - time.monotonic()
            assert left > 0, "the browser does not answer"
            if select.select([self._reads], [], [], left)[0]:
                part = os.read(self._reads, 1 << 20)
                assert part, "the browser has ended"
                self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer
