"""What happens before anything is started: clear refusals, one build per version, images that are what they say."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from . import archives, build, debian, discovery, images, parts
from .errors import CannotRunHereError, TestbedError

ROOT = Path(__file__).parents[2]


def up(tmp_path: Path, *prefix: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [*prefix, sys.executable, "-m", "tests.testbed", "up"]
    environment = {**os.environ, "PIPELINE_STEP_CACHE": str(tmp_path / "cache"), **variables}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_without_root_it_refuses_in_one_sentence(tmp_path: Path) -> None:
    prefix = ["setpriv", "--reuid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    if prefix and subprocess.run([*prefix, sys.executable, "-c", ""], check=False).returncode != 0:
        pytest.skip(f"{sys.executable} can't be run without root here")
    done = up(tmp_path, *prefix)
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert "needs root" in done.stderr


def test_without_go_it_refuses_before_anything_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_STEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotRunHereError, match=r"kubernetes, pilot-discovery, coredns .* no Go"):
        build.require_go(parts.missing())
    assert not (tmp_path / "cache").exists()


def test_a_built_part_needs_no_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_STEP_CACHE", str(tmp_path))
    for part in parts.PARTS:
        parts.folder(part).mkdir(parents=True)
    monkeypatch.setenv("PATH", str(tmp_path))
    build.require_go(parts.missing())
    build.build(parts.PARTS, pytest.fail)


def test_a_changed_source_is_a_new_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = next(part for part in parts.PARTS if part.name == "sample")
    before = parts.folder(part)
    shutil.copytree(parts.SOURCES, tmp_path / "go")
    monkeypatch.setattr(parts, "SOURCES", tmp_path / "go")
    assert parts.folder(part) == before
    with (tmp_path / "go" / "sample" / "main.go").open("a") as source:
        source.write("// changed\n")
    assert parts.folder(part) != before


@pytest.mark.skipif(shutil.which("go") is None, reason="Go is not installed")
def test_a_failed_build_shows_the_error_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_STEP_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(parts, "SOURCES", tmp_path)
    source = tmp_path / "broken"
    source.mkdir()
    (source / "go.mod").write_text("module example.org/broken\n\ngo 1.25.0\n")
    (source / "main.go").write_text("package main\n\nfunc main() { missing() }\n")
    broken = parts.GoModule(name="broken", version="1")
    with pytest.raises(TestbedError, match=r"undefined: missing"):
        build.build((broken,), lambda _: None)
    assert [path.name for path in parts.cache().iterdir()] == [".lock"]


@pytest.mark.parametrize("existing", [None, "#!/bin/sh\nexit 0\n"])
def test_no_service_is_started_while_packages_are_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, existing: str | None
) -> None:
    policy = tmp_path / "policy-rc.d"
    if existing is not None:
        policy.write_text(existing)
    monkeypatch.setattr(debian, "_POLICY", policy)
    with debian._no_service_starts():
        assert subprocess.run(["sh", str(policy)], check=False).returncode == 101
    assert (policy.read_text() if policy.exists() else None) == existing


def test_an_archive_is_one_image_named_by_its_content(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF")
    first, second = tmp_path / "first.tar", tmp_path / "second.tar"
    archives.write(first, {"/bin/program": program}, ["/bin/program"], {"RELEASE": "1"})
    archives.write(second, {"/bin/program": program}, ["/bin/program"], {"RELEASE": "2"})
    assert archives.digest(first) != archives.digest(second)
    with tarfile.open(first) as tar:
        blob = tar.extractfile(f"blobs/sha256/{archives.digest(first).removeprefix('sha256:')}")
        assert blob is not None
        manifest = json.load(blob)
        layer = tar.extractfile(f"blobs/sha256/{manifest['layers'][0]['digest'].removeprefix('sha256:')}")
        with tarfile.open(fileobj=layer) as content:
            assert content.getnames() == ["bin/program"]
            assert content.getmember("bin/program").mode == 0o755


def test_something_else_is_not_taken_for_an_archive(tmp_path: Path) -> None:
    other = tmp_path / "other.tar"
    with tarfile.open(other, "w"):
        pass
    with pytest.raises(TestbedError, match=r"other\.tar: not an OCI archive"):
        archives.digest(other)
    with pytest.raises(TestbedError, match=r"absent\.tar: no such file"):
        archives.digest(tmp_path / "absent.tar")


@pytest.mark.parametrize("name", ["localhost/app", "localhost:5000/app", "localhost/app@sha256:1"])
def test_an_image_needs_a_name_with_a_tag(tmp_path: Path, name: str) -> None:
    with pytest.raises(TestbedError, match=r"not an image name with a tag"):
        images.load(tmp_path / "app.tar", name)


def test_pods_are_scraped_as_their_annotations_ask() -> None:
    running: dict[str, Any] = {"phase": "Running", "podIP": "10.98.0.7"}
    asking = {
        "metadata": {
            "name": "app-1",
            "namespace": "production",
            "labels": {"app": "app"},
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "9000"},
        },
        "status": running,
    }
    silent = {"metadata": {"name": "other", "namespace": "production"}, "status": running}
    pending = {**asking, "status": {"phase": "Pending"}}
    gateway = {
        "metadata": {"name": "gw", "namespace": "istio-system", "labels": {"istio": "ingressgateway"}},
        "status": {"phase": "Running", "podIP": "10.98.0.2"},
    }
    pods: list[dict[str, Any]] = [asking, silent, pending, gateway]
    labels = {"namespace": "production", "pod": "app-1", "app": "app", "__metrics_path__": "/metrics"}
    assert discovery.annotated(pods) == [{"targets": ["10.98.0.7:9000"], "labels": labels}]
    assert discovery.gateways(pods) == [{"targets": ["10.98.0.2:15000"], "labels": {"pod": "gw"}}]
