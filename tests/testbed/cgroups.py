"""The control groups that hold the test-bed's processes and pods: how leftovers are found and ended for certain."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from .errors import TestbedError

NAME = "pipeline-step-testbed"
PODS = f"/{NAME}/pods"
"""The kubelet's root: every pod's group is below it."""

_MOUNT = Path("/sys/fs/cgroup")


def create() -> None:
    """Make the groups in every hierarchy."""
    for hierarchy in _hierarchies():
        for group in (NAME, f"{NAME}/daemons", f"{NAME}/pods"):
            path = hierarchy / group
            path.mkdir(exist_ok=True)
            _inherit_cpus(path)


def among_daemons(command: Sequence[str]) -> list[str]:
    """The command, made to put itself among the test-bed's daemons before it runs: no crash can lose track of it.

    One hierarchy is enough to find it again, so its limits and accounting elsewhere stay as they were.
    """
    group = _tracking() / NAME / "daemons" / "cgroup.procs"
    return ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(group), *command]


def processes() -> set[int]:
    """Every process in the test-bed's groups, pods included."""
    root = _tracking() / NAME
    return {int(pid) for group in _groups(root) for pid in _read(group / "cgroup.procs").split()}


def kill(patience: float = 20) -> None:
    """End every process in the groups; TestbedError if one is still there after `patience` seconds."""
    deadline = time.monotonic() + patience
    while remaining := processes():
        if time.monotonic() > deadline:
            raise TestbedError(f"processes {sorted(remaining)} of the test-bed don't end; look at /proc/PID/stack")
        for pid in remaining:
            _kill(pid)
        time.sleep(0.05)


def remove(patience: float = 10) -> None:
    """Remove the groups, deepest first. The kernel may hold an emptied group for a moment."""
    deadline = time.monotonic() + patience
    for hierarchy in _hierarchies():
        for group in reversed(_groups(hierarchy / NAME)):
            while not _removed(group):
                if time.monotonic() > deadline:
                    raise TestbedError(f"the control group {group} can't be removed: it is still in use")
                time.sleep(0.05)


def _hierarchies() -> list[Path]:
    """Where control groups are mounted: one place per v1 controller, the v2 tree, or both."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    return [Path(mount[1]) for mount in mounts if mount[2] in ("cgroup", "cgroup2")]


def _tracking() -> Path:
    pids = _MOUNT / "pids"
    return pids if pids in _hierarchies() else _MOUNT


def _inherit_cpus(group: Path) -> None:
    """A new v1 cpuset has no processor and no memory node until it is told, and takes no process before."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        if (group / name).exists() and not _read(group / name).strip() and _read(group.parent / name).strip():
            (group / name).write_text(_read(group.parent / name), encoding="ascii")


def _groups(root: Path) -> list[Path]:
    return [Path(folder) for folder, _, _ in os.walk(root)]


def _removed(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
