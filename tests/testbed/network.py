"""The network namespace that holds the whole test-bed: nothing in it can reach the machine's own network."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .environment import NODE
from .errors import TestbedError

NAME = "pipeline-step-testbed"
NAMESPACE = Path("/run/netns") / NAME

_CLONE_NEWNET = 0x40000000  # linux/sched.h
_libc = ctypes.CDLL(None, use_errno=True)


def create() -> None:
    """Make the namespace, with the node's address on one end of a veth pair that leads nowhere else."""
    NAMESPACE.parent.mkdir(parents=True, exist_ok=True)
    NAMESPACE.touch()
    # Not `ip netns add`: that also makes /run/netns a mount of its own and leaves it behind.
    _run("unshare", f"--net={NAMESPACE}", "true")
    with entered():
        _run("ip", "link", "set", "lo", "up")
        _run("ip", "link", "add", "node0", "type", "veth", "peer", "name", "node1")
        _run("ip", "address", "add", f"{NODE}/24", "dev", "node0")
        _run("ip", "link", "set", "node0", "up")
        _run("ip", "link", "set", "node1", "up")
        _run("ip", "route", "add", "default", "dev", "node0")
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1", encoding="ascii")


def delete() -> None:
    """Remove the namespace's name. It ends, with its interfaces and rules, when its last process does."""
    while _is_mounted():
        _run("umount", str(NAMESPACE))
    NAMESPACE.unlink(missing_ok=True)
    folder = NAMESPACE.parent
    if folder.is_dir() and not any(folder.iterdir()) and not folder.is_mount():
        folder.rmdir()


def enter() -> None:
    """Move the calling thread, and all that it starts from now on, into the namespace for good."""
    if not _is_mounted():
        raise TestbedError(f"the test-bed's network namespace {NAMESPACE} is absent: the test-bed is not up")
    _set_namespace(NAMESPACE)


@contextmanager
def entered() -> Iterator[None]:
    """Run a block, and what it starts, inside the namespace. Other threads stay where they are."""
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter()
        try:
            yield
        finally:
            _switch(before, "the network namespace this process came from")
    finally:
        os.close(before)


def _set_namespace(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _switch(descriptor, str(path))
    finally:
        os.close(descriptor)


def _switch(descriptor: int, name: str) -> None:
    # os.setns is there from Python 3.12 on.
    if _libc.setns(descriptor, _CLONE_NEWNET) != 0:
        raise TestbedError(f"can't enter {name}: {os.strerror(ctypes.get_errno())}; the test-bed needs root")


def _is_mounted() -> bool:
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return any(line.split()[4] == str(NAMESPACE) for line in mounts)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise TestbedError(f"`{' '.join(command)}` failed: {done.stderr.strip() or done.stdout.strip()}")
