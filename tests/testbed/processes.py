"""The test-bed's daemons: started detached inside its network namespace, and told apart by pid and start time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from . import cgroups, network
from .environment import STATE
from .errors import TestbedError

_RECORDS = STATE / "processes"
_LOGS = STATE / "log"


@dataclass(frozen=True, kw_only=True)
class Daemon:
    """A started daemon. `started` is the kernel's own start time, so a reused pid is never taken for it."""

    name: str
    pid: int
    started: int
    command: list[str]
    variables: dict[str, str]

    @property
    def is_running(self) -> bool:
        """Whether that very process still runs."""
        return _start_time(self.pid) == self.started

    @property
    def memory_bytes(self) -> int:
        """Its memory, pages that several processes share divided among them (PSS); 0 when it doesn't run."""
        try:
            lines = Path(f"/proc/{self.pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
        except OSError:
            return 0
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def start(name: str, command: Sequence[str], variables: Mapping[str, str] | None = None) -> Daemon:
    """Start a daemon in the background, its output appended to log/NAME.log, and remember how."""
    _RECORDS.mkdir(parents=True, exist_ok=True)
    _LOGS.mkdir(parents=True, exist_ok=True)
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(STATE), **(variables or {})}
    with network.entered(), log(name).open("ab") as output:
        process = subprocess.Popen(
            cgroups.among_daemons(command), env=environment, stdin=subprocess.DEVNULL, stdout=output,
            stderr=output, cwd=STATE, start_new_session=True,
        )  # fmt: skip
    daemon = Daemon(
        name=name,
        pid=process.pid,
        started=_start_time(process.pid),
        command=list(command),
        variables=dict(variables or {}),
    )
    (_RECORDS / f"{name}.json").write_text(json.dumps(asdict(daemon)), encoding="utf-8")
    # The daemon outlives this process on purpose; without this, Python warns about it at exit.
    process.returncode = 0
    return daemon


def daemons() -> list[Daemon]:
    """All daemons that were started, running or not, by name."""
    if not _RECORDS.is_dir():
        return []
    return [Daemon(**json.loads(path.read_text(encoding="utf-8"))) for path in sorted(_RECORDS.glob("*.json"))]


def find(name: str) -> Daemon:
    """The daemon of that name; TestbedError names the ones there are."""
    by_name = {daemon.name: daemon for daemon in daemons()}
    if name not in by_name:
        raise TestbedError(f"the test-bed has no daemon {name!r}; it has {', '.join(by_name) or 'none'}")
    return by_name[name]


def stop(name: str, patience: float = 10) -> None:
    """End a daemon: SIGTERM, and SIGKILL after `patience` seconds."""
    daemon = find(name)
    _send(daemon, signal.SIGTERM)
    deadline = time.monotonic() + patience
    while daemon.is_running:
        if time.monotonic() > deadline:
            _send(daemon, signal.SIGKILL)
        time.sleep(0.02)


def restart(name: str) -> Daemon:
    """Start a daemon again as it was started before, after ending it if it still runs."""
    stop(name)
    daemon = find(name)
    return start(name, daemon.command, daemon.variables)


@contextmanager
def stopped(name: str) -> Iterator[None]:
    """A block during which the daemon is gone; it is started again afterwards (its users reconnect by themselves)."""
    stop(name)
    try:
        yield
    finally:
        restart(name)


@contextmanager
def suspended(name: str) -> Iterator[None]:
    """A block during which the daemon hangs: connections to it are accepted, and nothing answers."""
    daemon = find(name)
    _send(daemon, signal.SIGSTOP)
    try:
        yield
    finally:
        _send(daemon, signal.SIGCONT)


def kill_all() -> None:
    """End every daemon that was started, at once: nothing that they hold is worth saving."""
    for daemon in daemons():
        _send(daemon, signal.SIGKILL)


def log(name: str) -> Path:
    """The file that takes the daemon's output."""
    return _LOGS / f"{name}.log"


def require_running() -> None:
    """TestbedError with the end of its log if a daemon has ended by itself."""
    for daemon in daemons():
        if not daemon.is_running:
            lines = log(daemon.name).read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
            raise TestbedError(f"{daemon.name} has ended; its last lines ({log(daemon.name)}):\n" + "\n".join(lines))


def _send(daemon: Daemon, number: signal.Signals) -> None:
    if daemon.is_running:
        os.kill(daemon.pid, number)


def _start_time(pid: int) -> int:
    """Field 22 of /proc/PID/stat in clock ticks since boot; -1 for a process that ended, zombies included."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return -1
    return -1 if fields[0] == "Z" else int(fields[19])
