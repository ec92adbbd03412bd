"""Builds the project's image without a registry: `make image` by buildah, on a base that debootstrap makes.

What was built is kept beside the test-bed's parts until the sources change.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.testbed import network, parts

ROOT = Path(__file__).parent.parent.parent
SOURCES = ("Dockerfile", ".dockerignore", "Makefile", "pyproject.toml", "requirements.lock", "README.md", "LICENSE")
SUITE = "trixie"
PACKAGES = "python3,python3-venv,ca-certificates"
BASE = f"localhost/base:{SUITE}"
CERTIFICATES = "/etc/ssl/certs"  # the machine's own, since it may reach package registries through a proxy


class CannotBuildHereError(Exception):
    """This machine can't build images."""


def archive(target: str = "step") -> Path:
    """The image as an OCI archive, built if the sources have changed since it was."""
    with _turn():
        found = _folder() / f"{target}-{fingerprint()}.tar"
        if not found.exists():
            require_outside()
            for old in _folder().glob(f"{target}-*.tar"):
                old.unlink()
            build(found, target)
        return found


def require_outside() -> None:
    """CannotBuildHereError where no package registry can be reached."""
    if os.geteuid() != 0 or shutil.which("buildah") is None:
        raise CannotBuildHereError("building the image here needs root and buildah")
    own, bed = Path("/proc/thread-self/ns/net"), network.NAMESPACE
    if bed.exists() and own.stat().st_ino == bed.stat().st_ino:
        raise CannotBuildHereError("the test-bed's network leads nowhere: run `python -m tests.image` outside it first")


def fingerprint() -> str:
    """Of everything that goes into the image."""
    files = [ROOT / name for name in SOURCES] + sorted((ROOT / "pipeline_step").rglob("*"))
    digest = hashlib.sha256()
    for file in files:
        if file.is_file() and "__pycache__" not in file.parts:
            digest.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:10]


def build(result: Path, target: str, *flags: str, source: Path = ROOT) -> None:
    """Build the target into an OCI archive (for `sbom`, into the folder `result`), with nothing taken from before."""
    name = f"localhost/built-{target}:{os.getpid()}"
    buildah_flags = [*_storage("builds"), "--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro", *flags]
    if target == "sbom":
        buildah_flags += ["--output", str(result)]
    _base()
    arguments = {
        "BUILDER": "buildah",
        "IMAGE": name.rpartition(":")[0],
        "VERSION": name.rpartition(":")[2],
        "TARGET": target,
        "BASE": BASE,
        "HELM": _helm(target),
        "IMAGE_FLAGS": " ".join(buildah_flags),
    }
    dated = {"SOURCE_DATE_EPOCH": "1750000000"}
    _run("make", "-C", str(source), "image", *(f"{key}={value}" for key, value in arguments.items()), variables=dated)
    if target != "sbom":
        _buildah("push", "--quiet", name, f"oci-archive:{result}.part:{name}")
        Path(f"{result}.part").rename(result)
    _buildah("rmi", "--force", name)  # what it was built in may still stand on it


def buildah(command: str, *arguments: str) -> str:
    """Run buildah on the storage where built images are run, and return what it prints.

    Builds have a storage of their own: removing what a build leaves also removes the containers of an equal image.
    """
    return _run("buildah", *_storage("containers"), command, *arguments)


def _buildah(command: str, *arguments: str) -> str:
    return _run("buildah", *_storage("builds"), command, *arguments)


@contextmanager
def container(image: Path) -> Iterator[str]:
    """A container of an archive's image, for `buildah("run", ...)`."""
    name = buildah("from", "--quiet", f"oci-archive:{image}").strip()
    try:
        yield name
    finally:
        buildah("rm", name)


def _base() -> None:
    """Debian's minimal system with Python, cached as an image."""
    if f"{BASE}\n" in _buildah("images", "--format", "{{.Name}}:{{.Tag}}"):
        return
    if shutil.which("debootstrap") is None:
        _run("apt-get", "-q", "update")
        _run("apt-get", "-q", "install", "--yes", "--no-install-recommends", "debootstrap")
    with tempfile.TemporaryDirectory(dir=_folder()) as name:
        root = Path(name) / "root"
        _run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(root))
        for used in ("var/cache/apt", "var/lib/apt/lists", "var/log", "usr/share/doc", "usr/share/man"):
            shutil.rmtree(root / used, ignore_errors=True)
        _from_scratch(BASE, ("add", str(root), "/"))


def _helm(target: str) -> str:
    """An image that has Helm where the Dockerfile looks for it; `scratch` where it is not needed."""
    if target != "with-helm":
        return "scratch"
    _from_scratch("localhost/helm:1", ("copy", str(parts.path("helm", "helm")), "/usr/bin/helm"))
    return "localhost/helm:1"


def _from_scratch(name: str, added: Sequence[str]) -> None:
    made = _buildah("from", "scratch").strip()
    _buildah(added[0], "--quiet", made, *added[1:])
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    _buildah("config", "--env", f"PATH={path}", made)
    _buildah("commit", "--quiet", "--timestamp", "0", made, name)
    _buildah("rm", made)


def _storage(name: str) -> list[str]:
    return ["--root", str(_folder() / name), "--runroot", str(_folder() / f"{name}-run")]


def _folder() -> Path:
    folder = parts.cache() / "step-image"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _run(*command: str, variables: dict[str, str] | None = None) -> str:
    environment = {**os.environ, "STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot", **(variables or {})}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"`{' '.join(command)}` failed:\n{(done.stdout + done.stderr)[-3000:]}")
    return done.stdout


@contextmanager
def _turn() -> Iterator[None]:
    """Let two builds at once take turns."""
    with (_folder() / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
