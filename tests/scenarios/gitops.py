"""An environment repository, and what follows it: a small stand-in for Argo CD or Flux that applies one manifest."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from .bed import Api, path
from .world import APP, World, deployment

FILE = "apps/croc.yaml"
NOTE = "# Owned by the platform team; bots change one line only.\n"


def git(*arguments: str, folder: Path) -> str:
    """Run git there, which must succeed."""
    identity = ["-c", "user.name=owner", "-c", "user.email=owner@example.com"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass
class Environment:
    """A repository that says what production runs, as a clone of its owners and what the step pushes to."""

    remote: str
    clone: Path
    first: str = ""
    applied: list[str] = field(default_factory=list)

    def pull(self) -> None:
        """Bring the owners' clone up to date."""
        git("fetch", "--quiet", "origin", "main", folder=self.clone)
        git("reset", "--hard", "--quiet", "FETCH_HEAD", folder=self.clone)

    def image(self) -> str:
        """The image that it says now."""
        self.pull()
        return image_in((self.clone / FILE).read_text())

    def differences(self) -> str:
        """What differs from how it began, as git says it."""
        self.pull()
        return git("diff", self.first, "HEAD", folder=self.clone)

    def commits(self) -> int:
        """How many commits there have been since it began."""
        self.pull()
        return int(git("rev-list", "--count", f"{self.first}..HEAD", folder=self.clone))

    def push(self, name: str, text: str) -> None:
        """A commit of its owners."""
        self.pull()
        (self.clone / name).write_text(text)
        git("add", "--all", folder=self.clone)
        git("commit", "--quiet", "--message", f"Change {name}", folder=self.clone)
        git("push", "--quiet", "origin", "HEAD:main", folder=self.clone)


def image_in(text: str) -> str:
    """The image in a manifest."""
    return str(next(yaml.safe_load_all(text))["spec"]["template"]["spec"]["containers"][0]["image"])


def manifest(image: str) -> str:
    """The manifest as people have written it."""
    text = yaml.safe_dump(deployment(image, 1, {}, {}), sort_keys=False)
    return NOTE + text.replace(f"image: {image}", f"image: {image}   # by digest where a pipeline promoted it")


def filled(clone: Path, remote: str, image: str) -> Environment:
    """An environment whose remote gets its first commit from this clone."""
    (clone / "apps").mkdir()
    (clone / FILE).write_text(manifest(image))
    (clone / "README.md").write_text("# Production\n")
    git("add", "--all", folder=clone)
    git("commit", "--quiet", "--message", "Begin", folder=clone)
    git("push", "--quiet", "origin", "HEAD:main", folder=clone)
    return Environment(remote, clone, git("rev-parse", "HEAD", folder=clone).strip())


def local(world: World, image: str) -> Environment:
    """One on this machine's disk, which takes pushes."""
    bare, clone = world.directory / "environment.git", world.directory / "environment"
    git("init", "--quiet", "--bare", "--initial-branch", "main", str(bare), folder=world.directory)
    git("clone", "--quiet", str(bare), str(clone), folder=world.directory)
    return filled(clone, f"file://{bare}", image)


@contextmanager
def followed(world: World, environment: Environment) -> Iterator[None]:
    """Apply what the repository says to production, and go on until the block ends, as an operator does."""
    over = threading.Event()
    api = Api(world.bed.kubeconfig, world.directory)
    where = path("Deployment", world.namespace, APP)
    copy = world.directory / "operator"
    if not copy.exists():
        git("clone", "--quiet", str(environment.clone), str(copy), folder=world.directory)
    source = git("remote", "get-url", "origin", folder=environment.clone).strip()

    def follow() -> None:
        while not over.wait(0.3):
            git("fetch", "--quiet", source, "main", folder=copy)
            text = git("show", f"FETCH_HEAD:{FILE}", folder=copy)
            image = image_in(text)
            if environment.applied[-1:] == [image]:
                continue
            change = {"spec": {"template": {"spec": {"containers": [{"name": APP, "image": image}]}}}}
            answer = api.send("PATCH", where, change, "application/strategic-merge-patch+json")
            if answer.ok:
                environment.applied.append(image)

    thread = threading.Thread(target=follow, name="operator", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=30)
