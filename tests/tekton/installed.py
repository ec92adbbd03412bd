"""Real Tekton Pipelines on the test-bed, and the step's own image: what the runs of the Tasks need.

Neither Tekton's programs nor Lighthouse's are in a package registry, so both come prebuilt, in the folder that
$PIPELINE_STEP_TESTBED_PARTS names.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tarfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..image import build
from ..testbed import archives, cluster, images, parts
from ..testbed.environment import STATE
from ..testbed.errors import TestbedError

IMAGE = "localhost/pipeline-step:0.1.0"
"""What `make image` builds, and so the Tasks' default."""

_NAMESPACE = "tekton-pipelines"
_LEFT_OUT = {"webhook-hpa.yaml"}
_SHELL = Path("/bin/busybox")


def missing() -> str:
    """Why Tekton can't run here, or ""."""
    if not _shelf():
        return "$PIPELINE_STEP_TESTBED_PARTS names no folder with Tekton's prebuilt programs"
    absent = [name for name in ("tekton", "lighthouse") if _archive(name) is None]
    if absent:
        return f"no prebuilt {' and '.join(absent)} in {_shelf()}"
    return "" if _SHELL.exists() else f"{_SHELL} is absent (Debian's busybox-static)"


def _shelf() -> Path | None:
    named = os.environ.get("PIPELINE_STEP_TESTBED_PARTS")
    return Path(named) if named and Path(named).is_dir() else None


def _archive(name: str) -> Path | None:
    shelf = _shelf()
    return next(iter(sorted(shelf.glob(f"{name}-*.tar.xz"))), None) if shelf else None


def unpacked(name: str) -> Path:
    """The folder with the prebuilt programs and configuration called `name`, unpacked into the cache."""
    archive = _archive(name)
    assert archive is not None, missing()
    place = parts.cache() / archive.name.removesuffix(".tar.xz")
    with _alone(place):
        if not (place / name).is_dir():
            fresh = place.with_suffix(".part")
            shutil.rmtree(fresh, ignore_errors=True)
            with tarfile.open(archive) as tar:
                tar.extractall(fresh, filter="data")
            place.mkdir(exist_ok=True)
            (fresh / name).rename(place / name)
            fresh.rmdir()
    return place / name


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """One process at a time: several test runs share the cache and the test-bed."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_name(place.name + ".lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield


def bring_up() -> None:
    """Tekton's controller and webhook, running on the test-bed. Harmless where they run already."""
    folder = unpacked("tekton")
    with _alone(STATE / "tekton"):
        if not _is_running():
            for name in ("controller", "webhook", "entrypoint", "nop", "workingdirinit", "sidecarlogresults"):
                program = folder / "bin" / name
                _load(f"tekton-{name}", {f"/ko-app/{name}": program}, [f"/ko-app/{name}"])
            _load("busybox", {"/bin/busybox": _SHELL, "/bin/sh": _SHELL}, ["/bin/sh"])
            apply = ("apply", "--server-side", "--force-conflicts", "-f")
            files = sorted(path for path in (folder / "config").glob("*.yaml") if path.name not in _LEFT_OUT)
            for path in files:  # the namespace comes first by its name
                cluster.kubectl(*apply, str(path))
        for name in ("tekton-pipelines-controller", "tekton-pipelines-webhook"):
            cluster.kubectl("rollout", "status", "-n", _NAMESPACE, f"deployment/{name}", "--timeout=120s", patience=130)
        _wait_for_webhook()


def _is_running() -> bool:
    try:
        cluster.kubectl("get", "-n", _NAMESPACE, "deployment/tekton-pipelines-webhook")
    except TestbedError:
        return False
    return True


def _load(name: str, files: dict[str, Path], command: list[str]) -> None:
    folder = parts.cache() / "images"
    folder.mkdir(parents=True, exist_ok=True)
    content = hashlib.sha256(b"".join(path.read_bytes() for path in files.values())).hexdigest()[:10]
    archive = folder / f"{name}-{content}.tar"
    if not archive.exists():
        archives.write(archive, files, command)
    images.load(archive, f"localhost/{name}:1")


def _wait_for_webhook() -> None:
    """Until the admission webhook judges: a Task without steps is refused by it, and by nothing else."""
    empty = STATE / "empty-task.yaml"
    empty.write_text("apiVersion: tekton.dev/v1\nkind: Task\nmetadata: {name: empty}\nspec: {steps: []}\n")
    until = time.monotonic() + 60
    while True:
        try:
            cluster.kubectl("create", "--dry-run=server", "-f", str(empty))
        except TestbedError as error:
            if "validation.webhook.pipeline.tekton.dev" in str(error) and "denied" in str(error):
                return
            said = str(error)
        else:
            said = "it admitted a Task without steps"
        if time.monotonic() > until:
            raise TestbedError(f"Tekton's admission webhook does not judge: {said}")
        time.sleep(0.3)


def load_image() -> None:
    """Load this repository's image into the test-bed, built as its Dockerfile says.

    Raises `build.CannotBuildHereError`.
    """
    images.load(build.archive(), IMAGE)
