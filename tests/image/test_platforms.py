"""Every locked library that the image needs is there as a wheel for its platforms: no compiler is needed for any."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from . import build

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(300)]


@pytest.mark.parametrize(("platform", "machine"), [("x86_64", 0x3E), ("aarch64", 0xB7)])
def test_all_libraries_are_there_for(platform: str, machine: int, tmp_path: Path) -> None:
    try:
        build.require_outside()
    except build.CannotBuildHereError as error:
        pytest.skip(str(error))
    found = re.search(r"python:(\d+\.\d+)", (build.ROOT / "Dockerfile").read_text())
    assert found
    command = [str(Path(sys.executable).parent / "uv"), "pip", "install", "--quiet", "--only-binary", ":all:"]
    command += ["--python-platform", f"{platform}-manylinux_2_28", "--python-version", found[1]]
    command += ["--constraint", "requirements.lock", "--target", str(tmp_path), "--requirements", "pyproject.toml"]
    done = subprocess.run(command, cwd=build.ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    programs = [path.read_bytes()[18:20] for path in tmp_path.rglob("*.so")]
    assert programs, "some libraries are compiled"
    assert {int.from_bytes(header, "little") for header in programs} == {machine}
