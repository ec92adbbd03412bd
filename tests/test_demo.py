"""`sandbox` and `sandbox demo` as a person runs them: as processes that leave nothing behind."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

import pipeline_step.sandbox

ROOT = Path(__file__).parent.parent
PROGRAM = [sys.executable, "-m", "pipeline_step"]
pytestmark = pytest.mark.sandbox


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "temporary").mkdir()
    return {**os.environ, "TMPDIR": str(tmp_path / "temporary"), "KUBECONFIG": "/nowhere", "TERM": "xterm"}


@pytest.fixture
def nothing_left(tmp_path: Path) -> Callable[[int], None]:
    """Fails where a process that this pid had started runs on, or a temporary file is left."""

    def descendants(pid: int) -> list[str]:
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")
                told = str(pid) in words and any("child" in word for word in words)
                if told or any(str(tmp_path) in word for word in words):
                    found.append(" ".join(words))
        return found

    def check(pid: int) -> None:
        until = time.monotonic() + 5
        while (left := descendants(pid)) and time.monotonic() < until:
            time.sleep(0.05)
        assert left == []
        assert list((tmp_path / "temporary").iterdir()) == []

    return check


@contextlib.contextmanager
def started(*arguments: str, env: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*PROGRAM, *arguments], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


def until(process: subprocess.Popen[str], words: str) -> str:
    """The output up to the first line with these words."""
    assert process.stdout
    seen = ""
    for line in process.stdout:
        seen += line
        if words in line:
            return seen
    raise AssertionError(f"it ended without {words!r}:\n{seen}")


def test_the_whole_story(environment: dict[str, str], nothing_left: Callable[[int], None]) -> None:
    with started("sandbox", "demo", "--fast", env=environment) as process:
        text, _ = process.communicate(timeout=90)
        assert process.returncode == 0, text
    nothing_left(process.pid)
    assert "\x1b" not in text, "escape sequences where there is no terminal"
    for words in (
        "PR 35 takes 1 % of production's requests",
        "PR 35 takes 5 % of production's requests",
        "PR 35 takes 25 % of production's requests",
        "PR 35 is production now",
        "PR 36 was reverted: scrape: preview ",
        "since then PR 36 answered 0 of ",
        "the VirtualService is what it was before",
    ):
        assert words in text, text
    verdicts = [line.split()[0] for line in text.splitlines() if line.startswith(("  yes  ", "   NO  "))]
    assert set(verdicts) == {"yes"}, text
    assert len(verdicts) >= 10, text


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_takes_the_traffic_back_and_leaves_nothing(
    number: signal.Signals, code: int, environment: dict[str, str], nothing_left: Callable[[int], None]
) -> None:
    with started("sandbox", "demo", "--fast", env=environment) as process:
        until(process, "PR 35 takes 1 %")
        sent = time.monotonic()
        process.send_signal(number)
        text, _ = process.communicate(timeout=20)
        assert process.returncode == code, text
        assert time.monotonic() - sent < 8
    assert "was stopped and reverted" in text
    assert "production has all requests" in text
    nothing_left(process.pid)


def test_in_a_terminal_it_draws_until_ctrl_c(environment: dict[str, str], nothing_left: Callable[[int], None]) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(PROGRAM[0], [*PROGRAM, "sandbox", "demo", "--fast"], {**environment, "COLUMNS": "100", "LINES": "40"})
    text, until = "", time.monotonic() + 60
    try:
        while "gate" not in text and time.monotonic() < until:
            text += _read(terminal)
        os.write(terminal, b"\x03")
        while more := _read(terminal):
            text += more
        _, status = os.waitpid(pid, 0)
    finally:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(terminal)
    for words in ("$ pipeline-step rollout --pr 35", "weight", "counted", "requests", "failed", "PR 35", "next"):
        assert words in text, text
    assert os.waitstatus_to_exitcode(status) == 130
    nothing_left(pid)


def _read(terminal: int) -> str:
    """What the terminal shows next; nothing when its process has gone."""
    readable, _, _ = select.select([terminal], [], [], 20)
    try:
        return os.read(terminal, 65536).decode(errors="replace") if readable else ""
    except OSError:
        return ""


def test_the_sandbox_says_how_to_reach_it(environment: dict[str, str], nothing_left: Callable[[int], None]) -> None:
    with started("sandbox", env=environment) as process:
        text = until(process, "Ctrl-C")
        kubeconfig = next(line for line in text.splitlines() if "KUBECONFIG=" in line).partition("=")[2]
        assert yaml.safe_load(Path(kubeconfig).read_text())["clusters"][0]["cluster"]["server"] in text
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 0
    nothing_left(process.pid)


@pytest.mark.parametrize("option", ["--api-port", "--gateway-port"])
def test_a_port_in_use_is_one_sentence(option: str, environment: dict[str, str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [*PROGRAM, "sandbox", option, str(port)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    assert done.returncode == 2
    assert f"Port {port} " in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("missing", ["aiohttp", "envoy"])
def test_a_missing_extra_is_one_sentence(missing: str, environment: dict[str, str]) -> None:
    script = f"import sys; sys.modules[{missing!r}] = None; from pipeline_step.__main__ import main; main()"
    for command in (["sandbox"], ["sandbox", "demo"]):
        done = subprocess.run(
            [sys.executable, "-c", script, *command],
            env=environment,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert done.returncode == 2, done.stderr
        assert "pip install 'pipeline-step[sandbox]'" in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_the_example_that_ships_is_the_one_in_the_repository() -> None:
    shipped = Path(pipeline_step.sandbox.__file__).parent / "croc_hunter"
    example = ROOT / "examples" / "croc-hunter"
    contents = [
        {path.relative_to(root).as_posix(): path.read_text() for path in root.rglob("*") if path.is_file()}
        for root in (shipped, example)
    ]
    assert contents[0] == contents[1], f"copy {example}/. to {shipped}"
