"""The images of the test-bed's own pods and sample application, and loading of any other into containerd."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from . import archives, parts
from .environment import STATE
from .errors import TestbedError

_CONTAINERD = STATE / "containerd" / "containerd.sock"
_NAMESPACE = "k8s.io"  # the kubelet's
_SAMPLES = (1, 2, 3)


def load_stock() -> None:
    """Load localhost/pause:1, localhost/envoy:1 and localhost/sample:1 to :3, made from the parts when missing."""
    for name, archive in _stock():
        load(archive, name)


def load(archive: Path, name: str) -> str:
    """Load an OCI archive as `name` (such as localhost/app:1) and return its digest, sha256:...

    A pod can then name the image by tag or, as a registry's image, by digest (localhost/app@sha256:...).
    """
    repository, colon, tag = name.rpartition(":")
    if not colon or "/" in tag or "@" in name:
        raise TestbedError(f"{name}: not an image name with a tag; expected something like localhost/app:1")
    digest = archives.digest(archive)
    _ctr("images", "import", "--digests", "--base-name", repository, str(archive))
    _ctr("images", "tag", "--force", f"{repository}@{digest}", name)
    return digest


def _stock() -> Iterator[tuple[str, Path]]:
    folder = parts.cache() / "images"
    folder.mkdir(parents=True, exist_ok=True)

    pause = folder / f"{parts.path('pause').name}.tar"
    if not pause.exists():
        archives.write(pause, {"/pause": parts.path("pause", "pause")}, ["/pause"])
    yield "localhost/pause:1", pause

    envoy = folder / f"{parts.path('envoy').name}.tar"
    if not envoy.exists():
        program = parts.path("envoy", "envoy")
        archives.write(envoy, {"/envoy": program, **_shared_libraries(program)}, ["/envoy"])
    yield "localhost/envoy:1", envoy

    for number in _SAMPLES:
        sample = folder / f"{parts.path('sample').name}-{number}.tar"
        if not sample.exists():
            program = parts.path("sample", "sample")
            archives.write(sample, {"/sample": program}, ["/sample"], {"RELEASE": str(number)})
        yield f"localhost/sample:{number}", sample


def _shared_libraries(program: Path) -> dict[str, Path]:
    """The loader and libraries that a program needs, at the paths where it looks for them."""
    listed = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True).stdout
    return {name: Path(name).resolve() for name in re.findall(r"(/\S+) \(0x", listed)}


def _ctr(*arguments: str) -> None:
    command = ["ctr", "--address", str(_CONTAINERD), "--namespace", _NAMESPACE, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise TestbedError(f"`ctr {' '.join(arguments)}` failed: {done.stderr.strip()}")
