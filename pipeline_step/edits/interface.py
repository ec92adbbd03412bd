"""What is written into an environment repository, and what each kind of edit offers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, assert_never

from pipeline_step.errors import ConfigError

Read = Callable[[str], str | None]
"""A file of the repository by its path, or None where there is none."""


class Write(Enum):
    """Which part of the new version a value takes."""

    IMAGE = "image"
    NAME = "name"
    TAG = "tag"
    DIGEST = "digest"
    VERSION = "version"


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """What becomes production: the image's `name` without tag and digest, its tag and digest, the chart's `version`.

    `app` and `namespace` are production's; `workload` is KIND/NAME and `container` may be empty. Tag and version are
    empty where they are not known.
    """

    app: str
    namespace: str
    name: str
    digest: str
    tag: str = ""
    version: str = ""
    workload: str = ""
    container: str = ""

    def value(self, write: Write) -> str:
        """What to write; raises `ConfigError` where it is not known."""
        match write:
            case Write.IMAGE:
                return f"{self.name}@{self.digest}"
            case Write.NAME:
                return self.name
            case Write.DIGEST:
                return self.digest
            case Write.TAG:
                if not self.tag:
                    raise ConfigError("the preview's image has no tag to write; write its digest, or deploy it by tag")
                return self.tag
            case Write.VERSION:
                if not self.version:
                    raise ConfigError("the chart's version to write is not known; set VERSION, as pipelines do")
                return self.version
            case _:
                assert_never(write)


class Edit(Protocol):
    """What the module of an edit offers: pure functions, which raise `ConfigError` in one sentence."""

    @property
    def Settings(self) -> type:  # noqa: N802
        """What the user writes below the edit's name."""

    def place(self, settings: Any, version: Version, read: Read) -> str:
        """The path of the file that has the value, relative to the repository."""

    def edit(self, settings: Any, version: Version, text: str) -> str:
        """The file's text with the value replaced and nothing else; the same where it is there already."""


def at_path(settings: Any, version: Version, read: Read) -> str:
    """The usual `place`: the path that the user wrote."""
    return str(settings.path)
