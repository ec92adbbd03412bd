"""Image references: repository, tag and digest, and the environment that an image brings along.

There are no real images in a sandbox. A digest is derived from the repository and the tag, so the same
reference always has the same one, and a reference by digest runs what that digest was derived from.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_HOST = r"[A-Za-z0-9.-]+(?::\d+)?"
_REFERENCE = re.compile(
    rf"(?P<name>(?:{_HOST}/)?{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>\w[\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
MISSING = "missing"


@dataclass(frozen=True)
class Image:
    """A parsed reference; `digest` is `sha256:<64 hexadecimal digits>`."""

    repository: str
    tag: str
    digest: str

    @property
    def id(self) -> str:
        """The imageID that a container status shows."""
        return f"{self.repository}@{self.digest}"

    @property
    def exists(self) -> bool:
        """Whether it can be pulled: every image can, unless its repository's name says that it is missing."""
        return MISSING not in self.repository


def parse(reference: str) -> Image | None:
    """The image that a reference names, or None for one that is malformed."""
    match = _REFERENCE.fullmatch(reference)
    if not match:
        return None
    digest = match["digest"] or digest_of(match["name"], match["tag"] or "latest")
    return Image(match["name"], match["tag"] or ("" if match["digest"] else "latest"), digest)


def digest_of(repository: str, tag: str) -> str:
    """The digest of a repository and tag."""
    return "sha256:" + hashlib.sha256(f"{repository}:{tag}".encode()).hexdigest()


class Images:
    """What the images of one sandbox bring: their ENV, and the tag that a digest was seen under."""

    def __init__(self) -> None:
        self._env: dict[str, dict[str, str]] = {}
        self._tags: dict[str, str] = {}

    def build(self, reference: str, env: dict[str, str]) -> str:
        """Give an image an environment, as ENV in a Dockerfile does; returns its digest."""
        image = parse(reference)
        if image is None:
            raise ValueError(f"{reference!r} is no image reference")
        self._env[image.digest] = dict(env)
        self._tags.setdefault(image.digest, image.tag)
        return image.digest

    def env(self, image: Image) -> dict[str, str]:
        """The environment that the image's containers start with: RELEASE is its tag, then what was built in."""
        if image.tag:
            self._tags.setdefault(image.digest, image.tag)
        release = self._tags.get(image.digest, image.digest[7:19])
        return {"RELEASE": release, **self._env.get(image.digest, {})}
