"""Packages of npm that tests use: installed once, into a cache outside of the repository named after the lock file."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

INSTALL_SECONDS = 300


def installed(folder: Path, without: str, trim: Callable[[Path], None] = lambda modules: None) -> Path:
    """The node_modules of a folder's package.json and its lock; skips where node or npm is missing.

    `without` is what can't be done then; `trim` removes once what is not needed.
    """
    missing = [program for program in ("node", "npm") if shutil.which(program) is None]
    if missing:
        pytest.skip(f"{' and '.join(missing)} not installed: {without}")
    lock = folder / "package-lock.json"
    cache = Path(os.environ.get("PIPELINE_STEP_CACHE") or Path.home() / ".cache" / "pipeline-step")
    place = cache / f"node-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not (place / "complete").exists():
            for name in ("package.json", "package-lock.json"):
                shutil.copy(folder / name, place / name)
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=INSTALL_SECONDS)
            assert done.returncode == 0, done.stderr
            trim(place / "node_modules")
            (place / "complete").touch()
    return place / "node_modules"
