"""The programs that come from Debian's packages."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import CannotRunHereError, TestbedError

PROGRAMS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
    "conntrack": "conntrack",
    "iptables": "iptables",
    "ebtables": "ebtables",
    "ethtool": "ethtool",
    "ip": "iproute2",
    "mount": "mount",
    "unshare": "util-linux",
    "openssl": "openssl",
    "ldd": "libc-bin",
    "prometheus": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "prometheus-node-exporter": "prometheus-node-exporter",
    "prometheus-pushgateway": "prometheus-pushgateway",
    "buildah": "buildah",
}
"""Program (or absolute path) and the package that has it."""

_POLICY = Path("/usr/sbin/policy-rc.d")


def missing() -> list[str]:
    """The packages whose programs are not on this machine."""
    return sorted({package for program, package in PROGRAMS.items() if shutil.which(program) is None})


def install(say: Callable[[str], None]) -> None:
    """Install what is missing. No service is started by it, and none of the machine's configuration stays changed."""
    packages = missing()
    if not packages:
        return
    if shutil.which("apt-get") is None:
        raise CannotRunHereError(
            f"the test-bed needs {', '.join(packages)} (Debian's package names), and this machine has no apt-get"
        )
    say(f"Debian packages: installing {' '.join(packages)}")
    with _no_service_starts():
        _apt("update")
        _apt("install", "--yes", "--no-install-recommends", *packages)


@contextmanager
def _no_service_starts() -> Iterator[None]:
    """Debian's packages ask policy-rc.d before they start a service; 101 forbids it. A machine's own is put back."""
    own = _POLICY.read_bytes() if _POLICY.exists() else None
    _POLICY.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
    _POLICY.chmod(0o755)
    try:
        yield
    finally:
        if own is None:
            _POLICY.unlink()
        else:
            _POLICY.write_bytes(own)


def _apt(*arguments: str) -> None:
    done = subprocess.run(
        ["apt-get", "-q", *arguments],
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-5:]
        raise TestbedError(f"`apt-get {' '.join(arguments)}` failed: " + "\n".join(last))
