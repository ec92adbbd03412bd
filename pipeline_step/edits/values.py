"""A value in any YAML file by its key path: a chart's values, a Flux HelmRelease, an Argo CD Application."""

from __future__ import annotations

from typing import Annotated

import msgspec

from pipeline_step.edits.interface import Version, Write, at_path
from pipeline_step.edits.spans import documents, find, key_path, put
from pipeline_step.errors import ConfigError
from pipeline_step.settings import Strict, says

ENDINGS = {
    "tag": Write.TAG,
    "digest": Write.DIGEST,
    "image": Write.IMAGE,
    "version": Write.VERSION,
    "targetrevision": Write.VERSION,
    "repository": Write.NAME,
}


class Settings(Strict, frozen=True):
    """`key` such as `image.tag` or `list[name=shop].image`; `document` counts from 0 where a file has several.

    What is written follows from the key's last word unless `write` says it.
    """

    path: Annotated[str, says("the file, from the root of the repository")]
    key: Annotated[str, says("the value's key path, such as image.tag or list[name=shop].image")]
    write: Annotated[Write | None, says("what it takes; told from the key's name unless it is said")] = None
    document: Annotated[int, msgspec.Meta(ge=0), says("which of the file's documents, from 0")] = 0

    def __post_init__(self) -> None:
        key_path(self.key)
        if self.write is None and _by_name(self.key) is None:
            valid = ", ".join(write.value for write in Write)
            raise ValueError(f"what {self.key} takes can't be told from its name; add write: one of {valid}")


def _by_name(key: str) -> Write | None:
    last = key_path(key)[-1].key.lower()
    return next((write for ending, write in ENDINGS.items() if last.endswith(ending)), None)


place = at_path


def edit(settings: Settings, version: Version, text: str) -> str:
    """Replace the value at the key path."""
    found = documents(text)
    if settings.document >= len(found):
        raise ConfigError(f"it has {len(found)} documents, and none is number {settings.document}")
    write = settings.write or _by_name(settings.key)
    assert write
    return put(text, find(found[settings.document], key_path(settings.key)), version.value(write))
