"""Brings the test-bed up, takes it down, and tells how it is."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from . import (
    build,
    certificates,
    cgroups,
    configuration,
    control_plane,
    debian,
    environment,
    images,
    kernel,
    mesh,
    network,
    node,
    parts,
    processes,
)
from .environment import GATEWAY_SERVICE, NODE, STATE, Environment
from .errors import CannotRunHereError, TestbedError

Say = Callable[[str], None]

_ISTIO_NAMESPACE = "istio-system"
_LEGACY_LOGS = Path("/var/log/containers")
_CNI_RESULTS = Path("/var/lib/cni/results")
_DEVICE_PLUGINS = Path("/var/lib/kubelet/device-plugins")


def prepare(say: Say, wanted: tuple[parts.Part, ...] = parts.PARTS) -> None:
    """Install and build what is missing. CannotRunHereError, before anything is touched, if this machine can't."""
    require_root()
    build.require_go(parts.missing(wanted))
    debian.install(say)
    build.build(wanted, say)


def up(say: Say) -> Environment:
    """Start everything and wait until the gateway answers. Harmless when it is up already."""
    require_root()
    with _turn(say):
        return _up(say)


def _up(say: Say) -> Environment:
    if environment.is_up() and all(daemon.is_running for daemon in processes.daemons()):
        say("already up")
        return environment.load()
    prepare(say)
    _take_down()  # what a crash may have left
    begin = time.monotonic()

    def timed(text: str) -> None:
        say(f"{time.monotonic() - begin:5.1f} s  {text}")

    try:
        _start(timed)
    except BaseException:
        timed(f"failed; what was started is taken down, its logs stay in {STATE / 'log'}")
        _take_down()
        raise
    reached = Environment(kubectl=str(parts.path("kubernetes", "kubectl")), network_namespace=str(network.NAMESPACE))
    environment.save(reached)
    timed("the test-bed is up")
    return reached


def down(say: Say) -> None:
    """End and remove everything that `up` made, after a crash too. The logs stay until the next `up`."""
    require_root()
    if not _has_leftovers():
        say("not up")
        return
    with _turn(say):
        _take_down()
    say("the test-bed is down")


def _take_down() -> None:
    (STATE / "environment.json").unlink(missing_ok=True)
    processes.kill_all()
    cgroups.kill()
    kernel.unmount_below(STATE)
    network.delete()
    cgroups.remove()
    kernel.restore_settings()
    _remove_files()


def require_root() -> None:
    """CannotRunHereError unless this process may make namespaces, mounts and control groups."""
    if os.geteuid() != 0:
        raise CannotRunHereError("the test-bed needs root (namespaces, mounts, control groups); the sandbox does not")


def kubectl(*arguments: str, patience: float = 60) -> str:
    """Run kubectl as the administrator and return what it prints."""
    command = [
        str(parts.path("kubernetes", "kubectl")),
        f"--kubeconfig={certificates.kubeconfig('admin')}",
        *arguments,
    ]
    variables = {**os.environ, "HOME": str(STATE)}
    with network.entered():
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=patience)
    if done.returncode != 0:
        raise TestbedError(f"`kubectl {' '.join(arguments)}` failed: {done.stderr.strip()}")
    return done.stdout


def _start(say: Say) -> None:
    shutil.rmtree(STATE / "log", ignore_errors=True)
    STATE.mkdir(parents=True, exist_ok=True)
    kernel.save_settings()
    cgroups.create()
    network.create()
    with network.entered():
        certificates.create()
        control_plane.start_store()
        node.start_containers()
        control_plane.start_api_server()
        _until("containerd answers", (STATE / "containerd" / "containerd.sock").exists)
        images.load_stock()
        say("images loaded")
        _until("the API server is ready", lambda: kubectl("get", "--raw=/readyz") == "ok")
        say("API server ready")
        control_plane.start_controllers()
        node.start_kubelet()
        node.start_services()
        _apply_mesh()
        say("mesh applied")
        _wait_until_reachable(say)


def _apply_mesh() -> None:
    apply = ("apply", "--server-side", "--force-conflicts", "-f")
    kubectl(*apply, str(configuration.write("dns.yaml")))
    kubectl("create", "namespace", _ISTIO_NAMESPACE)
    kubectl(*apply, str(parts.path("istio-crds")))
    kubectl(*apply, str(parts.path("gateway-api-crds")))
    mesh.start_istiod()
    mesh.start_prometheus()
    _until("the gateway is applied", lambda: bool(kubectl(*apply, str(configuration.write("gateway.yaml")))))


def _wait_until_reachable(say: Say) -> None:
    _until("the node is registered", lambda: bool(kubectl("get", "nodes", "--output=name")))
    kubectl("wait", "node", "--all", "--for=condition=Ready", "--timeout=60s")
    say("node ready")
    _until("istiod is ready", lambda: _answers(f"http://{NODE}:15080/ready"))
    _until("CoreDNS is ready", lambda: _answers(f"http://{NODE}:8181/ready"))
    _until("Prometheus is ready", lambda: _answers(f"http://{NODE}:9090/-/ready"))
    say("istiod, CoreDNS and Prometheus ready")
    _until("the gateway is ready", lambda: _answers(f"http://{GATEWAY_SERVICE}:15000/ready"))


def _until(what: str, condition: Callable[[], bool], patience: float = 90) -> None:
    """Wait for an observed fact; TestbedError when a daemon ends meanwhile or `patience` seconds have passed."""
    deadline = time.monotonic() + patience
    reason = ""
    while True:
        try:
            if condition():
                return
        except TestbedError as error:
            reason = f": {error}"
        processes.require_running()
        if time.monotonic() > deadline:
            raise TestbedError(f"waited {patience:.0f} s in vain until {what}{reason}; logs: {STATE / 'log'}")
        time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


@contextmanager
def _turn(say: Say) -> Iterator[None]:
    """Let no second `up` or `down` work on the test-bed at the same time."""
    STATE.mkdir(parents=True, exist_ok=True)
    lock = os.open(STATE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another `up` or `down` of the test-bed")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _has_leftovers() -> bool:
    return network.NAMESPACE.exists() or (STATE.is_dir() and any(path.name != "log" for path in STATE.iterdir()))


def _remove_files() -> None:
    """Delete the state folder but its logs, and what the kubelet and the CNI plugins keep elsewhere."""
    if remaining := kernel.mounts_below(STATE):
        raise TestbedError(f"still mounted, so nothing is deleted: {', '.join(remaining)}")
    for path in STATE.glob("*"):
        if path.name == "log":
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    for link in _LEGACY_LOGS.glob("*"):
        if link.is_symlink() and link.readlink().is_relative_to(STATE):
            link.unlink()
    for result in _CNI_RESULTS.glob("*"):
        if str(STATE).encode() in result.read_bytes():
            result.unlink()
    (_DEVICE_PLUGINS / "kubelet.sock").unlink(missing_ok=True)
    for folder in (_LEGACY_LOGS, _CNI_RESULTS, _CNI_RESULTS.parent, _DEVICE_PLUGINS, _DEVICE_PLUGINS.parent):
        _remove_if_empty(folder)


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
