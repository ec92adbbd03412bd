"""IBM's tekton-lint finds nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from .. import npm
from .test_manifests import CATALOG, FILES, REPOSITORY

HERE = Path(__file__).parent
pytestmark = pytest.mark.contract


@pytest.fixture(scope="session")
def linter() -> Path:
    """The installed program; skips where node or npm is missing."""
    return npm.installed(HERE, "tekton-lint can't be run") / "@ibm/tekton-lint/dist/lint.js"


def lint(linter: Path, *files: Path) -> subprocess.CompletedProcess[str]:
    command = ["node", str(linter), "--max-warnings=0", "--color=false", *map(str, files)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.timeout(360)
def test_nothing_is_found(linter: Path) -> None:
    files = [path for path in FILES if "tekton" in path.parts and "cronjob" not in path.parts]
    done = lint(linter, *files)
    assert (done.returncode, done.stdout.strip(), done.stderr.strip()) == (0, "", "")


@pytest.mark.timeout(360)
def test_the_linter_finds_what_is_wrong(linter: Path, tmp_path: Path) -> None:
    (pipeline,) = (path for path in CATALOG if path.stem == "pipeline-step-comment" and "pipeline" in path.parts)
    broken = tmp_path / "broken.yaml"
    broken.write_text(pipeline.read_text().replace("value: $(params.comment-id)", "value: $(params.coment-id)"))
    done = lint(linter, broken)
    assert done.returncode == 1
    assert "coment-id" in done.stdout
