"""The image is small, complete, reproducible and says what is in it; docs/image.md promises it."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from pipeline_step.cli import cli
from tests.testbed import parts

from . import build

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(900)]

MEGABYTE = 1_000_000
OWN_LIMIT = 17 * MEGABYTE  # with the 43.0 MB of its base the image stays under 60
UNCHECKED = 1  # the flags of bytecode that bears a hash which is not checked (PEP 552)


@pytest.fixture(scope="module")
def image() -> Path:
    return available("step")


def available(target: str) -> Path:
    try:
        return build.archive(target)
    except build.CannotBuildHereError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def inside(image: Path) -> Iterator[str]:
    with build.container(image) as name:
        yield name


def run(container: str, script: str) -> str:
    return build.buildah("run", container, "--", "/bin/sh", "-euc", script)


def blob(tar: tarfile.TarFile, digest: str) -> bytes:
    file = tar.extractfile("blobs/sha256/" + digest.removeprefix("sha256:"))
    assert file is not None
    return file.read()


def described(image: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The image's manifest and configuration."""
    with tarfile.open(image) as tar:
        index = tar.extractfile("index.json")
        assert index is not None
        manifest = json.loads(blob(tar, json.load(index)["manifests"][0]["digest"]))
        return manifest, json.loads(blob(tar, manifest["config"]["digest"]))


def test_it_runs_as_nobody_in_particular_and_says_what_it_is(image: Path) -> None:
    config = described(image)[1]["config"]
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["pipeline-step"]
    assert config["WorkingDir"] == "/workspace"
    labels = {key.removeprefix("org.opencontainers.image."): value for key, value in config["Labels"].items()}
    assert labels["title"] == "pipeline-step"
    assert labels["licenses"] == "Apache-2.0"
    assert labels["base.name"] == build.BASE
    assert labels["version"]
    assert len(labels["revision"]) == 40 or labels["revision"] == "unknown"


def test_what_the_step_adds_to_its_base_is_small(image: Path) -> None:
    layers = [layer["size"] for layer in described(image)[0]["layers"]]
    assert sum(layers[1:]) < OWN_LIMIT, [round(size / MEGABYTE, 1) for size in layers]


def test_every_command_tells_its_help(inside: str) -> None:
    names = cli.list_commands(click.Context(cli))
    assert "rollout" in names
    output = run(inside, f"id -u; for name in {' '.join(names)}; do pipeline-step $name --help; done")
    assert output.startswith("65532\n")
    assert output.count("Usage: pipeline-step") == len(names)


def test_every_module_loads_without_what_is_left_out(inside: str) -> None:
    script = """
import importlib, importlib.util, pkgutil, pipeline_step
for left_out in ("aiohttp", "multidict", "pygments", "kubernetes.aio", "kubernetes.client.api"):
    assert importlib.util.find_spec(left_out) is None, left_out
for module in pkgutil.walk_packages(pipeline_step.__path__, "pipeline_step."):
    if not module.name.startswith("pipeline_step.sandbox") and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
import kubernetes.client, kubernetes.config
kubernetes.client.rest.RESTClientObject(kubernetes.client.Configuration())
from rich.console import Console
from rich.live import Live
from rich.table import Table
table = Table("side", "weight")
table.add_row("preview", "5 %")
with Live(table, console=Console(force_terminal=True)):
    pass
print("loaded")
"""
    assert run(inside, f"/opt/step/bin/python -W error::ImportWarning -c '{script}'").strip().endswith("loaded")


def test_bytecode_is_there_and_does_not_depend_on_dates(inside: str) -> None:
    script = f"""
import importlib.util, pathlib, sysconfig
own = [path for path in pathlib.Path("/opt/step/lib").rglob("*.py")]
library = pathlib.Path(sysconfig.get_path("stdlib"))
ours = own + [library / "json" / "__init__.py", library / "ssl.py", library / "encodings" / "utf_8.py"]
assert len(own) > 500
for path in ours:
    compiled = pathlib.Path(importlib.util.cache_from_source(str(path)))
    assert compiled.exists(), compiled
    assert int.from_bytes(compiled.read_bytes()[4:8], "little") == {UNCHECKED}, compiled
print("compiled")
"""
    assert run(inside, f"/opt/step/bin/python -c '{script}'") == "compiled\n"


def test_a_second_build_gives_the_same_digest(tmp_path: Path) -> None:
    """From a copy of the sources, so that work going on in them does no harm."""
    source = tmp_path / "source"
    source.mkdir()
    for name in build.SOURCES:
        shutil.copy2(build.ROOT / name, source / name)
    shutil.copytree(build.ROOT / "pipeline_step", source / "pipeline_step")
    try:
        build.require_outside()
    except build.CannotBuildHereError as error:
        pytest.skip(str(error))
    manifests = []
    for name in ("first.tar", "second.tar"):
        build.build(tmp_path / name, "step", "--no-cache", source=source)
        manifests.append(described(tmp_path / name)[0])
    assert manifests[0] == manifests[1]


def test_the_bill_of_materials_lists_what_is_installed(inside: str, tmp_path: Path) -> None:
    try:
        build.require_outside()
    except build.CannotBuildHereError as error:
        pytest.skip(str(error))
    build.build(tmp_path, "sbom")
    bill = json.loads((tmp_path / "pipeline-step.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    listed = {(one["name"].lower().replace("_", "-"), one["version"]) for one in bill["components"]}
    ask = "import importlib.metadata as m; print(*{f'{d.name}=={d.version}' for d in m.distributions()}, sep='\\n')"
    installed = run(inside, f'/opt/step/bin/python -c "{ask}"').split()
    found = {tuple(line.lower().replace("_", "-").split("==")) for line in installed}
    own = next(one for one in found if one[0] == "pipeline-step")
    assert listed == found - {own}
    assert bill["metadata"]["component"]["name"] == "pipeline-step"
    assert bill["metadata"]["component"]["version"] == own[1]


def test_with_helm_there_is_helm(image: Path) -> None:
    helm = next(part for part in parts.OPTIONAL if part.name == "helm")
    if not parts.folder(helm).exists():
        pytest.skip("helm is not built: run `python -m tests.testbed build --all` once")
    with build.container(available("with-helm")) as name:
        assert "v3." in run(name, "helm version --short && pipeline-step --version")
    assert "helm" not in json.dumps(described(image)[1]["history"])
