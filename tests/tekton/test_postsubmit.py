"""The step that finds which pull request a commit on main has merged, run by a shell on real Git repositories."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from .test_manifests import JENKINS_X, only, steps_below

SCRIPT = next(
    step["script"]
    for step in steps_below(only(JENKINS_X / "tasks/pipeline-step/promote.yaml"))
    if step["name"] == "judged"
)


class Repository:
    """A bare repository as a provider keeps it, and a clone of someone who merges."""

    def __init__(self, folder: Path) -> None:
        self.url = str(folder / "server.git")
        self.clone = folder / "clone"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            **{f"GIT_{who}_{what}": "x@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        }
        subprocess.run(["git", "init", "-q", "--bare", "-b", "main", self.url], check=True, env=self.environment)
        subprocess.run(["git", "clone", "-q", self.url, str(self.clone)], check=True, env=self.environment)
        self.git("checkout", "-q", "-b", "main")
        self.commit(".pipeline-step.yaml", "app: shop\n")

    def git(self, *arguments: str) -> str:
        """A command in the clone; what it prints."""
        done = subprocess.run(
            ["git", *arguments], cwd=self.clone, env=self.environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def commit(self, name: str, text: str) -> str:
        """A commit of one file; its SHA."""
        (self.clone / name).write_text(text)
        self.git("add", name)
        self.git("commit", "-q", "-m", f"Change {name}")
        return self.git("rev-parse", "HEAD")

    def propose(self, number: int) -> str:
        """A pull request; the SHA of its head."""
        self.git("checkout", "-q", "-b", f"feature-{number}", "main")
        head = self.commit(f"feature-{number}", "new\n")
        self.git("push", "-q", "origin", f"HEAD:refs/pull/{number}/head")
        self.git("checkout", "-q", "main")
        return head

    def merge(self, number: int, subject: str, *, squash: bool = False) -> str:
        """Merge it with this subject; the SHA on main."""
        if squash:
            self.git("merge", "-q", "--squash", f"feature-{number}")
            self.git("commit", "-q", "-m", subject)
        else:
            self.git("merge", "-q", "--no-ff", "-m", subject, f"feature-{number}")
        self.git("push", "-q", "origin", "main")
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository(tmp_path)
    made.git("push", "-q", "origin", "main")
    return made


def judged(repository: Repository, merged: str, place: Path) -> tuple[int, str, dict[str, str]]:
    """Run the script for a commit on main: its code, its words and the files that it leaves for the next step."""
    place.mkdir()
    variables = {**repository.environment, "REPO_URL": repository.url, "PULL_BASE_SHA": merged, "GIT_TOKEN": "s3cret"}
    # Providers let a commit be fetched by its SHA; plain repositories have to be told.
    variables |= {"GIT_CONFIG_PARAMETERS": "'uploadpack.allowAnySHA1InWant=true'"}
    done = subprocess.run(["sh", "-c", SCRIPT], cwd=place, env=variables, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert "s3cret" not in said
    left = {path.name: path.read_text().strip() for path in place.iterdir() if path.is_file()}
    return done.returncode, said, left


@pytest.mark.parametrize(
    ("subject", "squash"),
    [
        ("Merge pull request #35 from acme/feature", False),
        ("Merge pull request 'Make it new (#7)' (#35) from feature into main", False),
        ("Make it new (#35)", True),
        ("Fix #12 and (#7) (#35)", True),
    ],
)
def test_the_merged_pull_request_is_found(repository: Repository, tmp_path: Path, subject: str, squash: bool) -> None:
    head = repository.propose(35)
    merged = repository.merge(35, subject, squash=squash)
    code, said, left = judged(repository, merged, tmp_path / "merged")
    assert code == 0, said
    assert left == {"number": "35", "sha": head, ".pipeline-step.yaml": "app: shop"}


def test_files_that_were_not_judged_are_not_promoted(repository: Repository, tmp_path: Path) -> None:
    repository.propose(35)
    repository.commit("meanwhile", "on main\n")
    merged = repository.merge(35, "Merge pull request #35 from acme/feature")
    code, said, left = judged(repository, merged, tmp_path / "merged")
    assert code == 5
    assert "pull request 35" in said and "number" not in left


@pytest.mark.parametrize(
    "subject", ["Fix a bug", "Merge branch 'x'", "See (#35) for more", "Merge pull request #x from y"]
)
def test_a_commit_that_merges_nothing_promotes_nothing(repository: Repository, tmp_path: Path, subject: str) -> None:
    repository.propose(35)
    merged = repository.merge(35, subject, squash=True)
    code, said, left = judged(repository, merged, tmp_path / "merged")
    assert code == 0 and left == {}
    assert "nothing to promote" in said
