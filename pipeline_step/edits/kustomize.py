"""The image in a kustomization's `images`."""

from __future__ import annotations

from typing import Annotated

import yaml

from pipeline_step.edits.interface import Version, Write, at_path
from pipeline_step.edits.spans import add_entry, add_line, content_end, documents, entries, items, put, spelled, word
from pipeline_step.errors import ConfigError
from pipeline_step.settings import Strict, says


class Settings(Strict, frozen=True):
    """`image` is the entry's `name`, the judged image's own unless it is said.

    The digest is written, or with `write: tag` the tag alone.
    """

    path: Annotated[str, says("the file, from the root of the repository")]
    image: Annotated[str, says("the entry's name; the judged image's own unless it is said")] = ""
    write: Annotated[Write, says("digest, or the tag alone")] = Write.DIGEST

    def __post_init__(self) -> None:
        if self.write not in (Write.DIGEST, Write.TAG):
            raise ValueError(f"write is digest or tag here, not {self.write.value}")


place = at_path


def edit(settings: Settings, version: Version, text: str) -> str:
    """Set `digest`, and the tag beside it where one stands and the new one is known; or `newTag` alone.

    An entry that is missing is added at the end of the list.
    """
    document = next(iter(documents(text)), None)
    wanted = settings.image or version.name
    entry = _entry(document, wanted, version.name)
    if entry is None:
        return _append(text, document, wanted, settings.write, version)
    if settings.write is Write.TAG:
        if "digest" in entries(entry):
            raise ConfigError(f"the entry of {wanted} has a digest, which counts more than a tag; write: digest")
        return _set(text, entry, "newTag", version.value(Write.TAG))
    if "newTag" in entries(entry) and version.tag:
        text = _set(text, entry, "newTag", version.tag)
        entry = _entry(documents(text)[0], wanted, version.name)
        assert entry
    return _set(text, entry, "digest", version.digest)


def _entry(document: yaml.Node | None, wanted: str, name: str) -> yaml.Node | None:
    listed = items(entries(document).get("images"))
    named = [one for one in listed if word(entries(one).get("name")) == wanted]
    renamed = [one for one in listed if word(entries(one).get("newName")) == name]
    return next(iter([*named, *renamed]), None)


def _set(text: str, entry: yaml.Node, key: str, value: str) -> str:
    found = entries(entry).get(key)
    return put(text, found, value) if found is not None else add_entry(text, entry, key, value)


def _append(text: str, document: yaml.Node | None, image: str, write: Write, version: Version) -> str:
    key = "digest" if write is Write.DIGEST else "newTag"
    lines = [f"- name: {spelled(image, None)}"]
    if image != version.name:
        lines.append(f"  newName: {spelled(version.name, None)}")
    lines.append(f"  {key}: {spelled(version.value(write), None)}")
    images = entries(document).get("images")
    if images is None:
        newline = "\r\n" if "\r\n" in text else "\n"
        head = text if not text or text.endswith("\n") else text + newline
        return head + newline.join(["images:", *lines, ""])
    if not isinstance(images, yaml.SequenceNode) or not images.value or images.flow_style:
        raise ConfigError(f"images is not a list with a line for each entry; add {image} to it by hand once")
    end = content_end(text, images)
    indent = " " * images.start_mark.column
    for line in reversed(lines):
        text = add_line(text, end, indent + line)
    return text
