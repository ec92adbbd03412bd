"""`up` recovers from a crash, and `down` leaves the machine as it was."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from . import cluster, debian, environment, parts, processes
from .environment import STATE

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "tests.testbed"]
ELSEWHERE = ("/run/netns", "/var/lib/kubelet", "/var/lib/cni", "/var/log/containers", "/usr/libexec/kubernetes")
SETTINGS = ("vm/overcommit_memory", "kernel/panic", "kernel/panic_on_oops", "net/ipv4/ip_forward")


@pytest.fixture(autouse=True)
def _not_up() -> None:
    if environment.is_up():
        pytest.skip("the test-bed is up, and this test starts and stops it")
    if os.geteuid() != 0 or parts.missing() or debian.missing():
        pytest.skip("needs root and a built test-bed: `python -m tests.testbed build`")


def footprint() -> dict[str, object]:
    """What a test-bed could leave behind."""
    return {
        "mounts": {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()},
        "interfaces": {path.name for path in Path("/sys/class/net").iterdir()},
        "rules": output("iptables-save"),
        "groups": {path for path, _, _ in os.walk("/sys/fs/cgroup") if "pipeline-step-testbed" in path},
        "settings": {name: (Path("/proc/sys") / name).read_text() for name in SETTINGS},
        "files": {path for root in ELSEWHERE for path in Path(root).rglob("*")},
        "state": {path.name for path in STATE.glob("*")} - {"log"},
        "processes": {path.name for path in Path("/proc").glob("[0-9]*") if belongs(path)},
    }


def output(*command: str) -> list[str]:
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line for line in text.splitlines() if not line.startswith("#")]


def belongs(process: Path) -> bool:
    try:
        return str(STATE).encode() in (process / "cmdline").read_bytes()
    except OSError:
        return False


def run(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, command], cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)


def test_a_crash_is_recovered_from_and_nothing_is_left_behind() -> None:
    before = footprint()
    crashing = subprocess.Popen([*COMMAND, "up"], cwd=ROOT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while "kubelet" not in {daemon.name for daemon in processes.daemons()}:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    crashing.kill()
    crashing.wait()
    assert run("status").returncode == 1
    try:
        done = run("up")
        assert done.returncode == 0, done.stderr
        again = run("up")
        assert "already up" in again.stderr
        assert again.returncode == 0
        assert run("status").returncode == 0
        assert "Running" in cluster.kubectl("get", "pods", "--namespace=istio-system")
    finally:
        assert run("down").returncode == 0
    assert footprint() == before
    assert "not up" in run("down").stderr
