"""The image in a plain manifest of a workload."""

from __future__ import annotations

from typing import Annotated

import yaml

from pipeline_step.edits.interface import Version, Write, at_path
from pipeline_step.edits.spans import Part, documents, entries, find, items, put, word
from pipeline_step.errors import ConfigError
from pipeline_step.settings import Strict, WorkloadName, says

TEMPLATE = (Part(key="spec"), Part(key="template"), Part(key="spec"), Part(key="containers"))


class Settings(Strict, frozen=True):
    """`workload` is as in the file, and production's unless it is said; the file may hold other documents too."""

    path: Annotated[str, says("the file, from the root of the repository")]
    workload: Annotated[WorkloadName | None, says("as the file has it; production's unless it is said")] = None
    container: Annotated[str, says("whose image it is, where there are several")] = ""


place = at_path


def edit(settings: Settings, version: Version, text: str) -> str:
    """Replace the container's image by the judged one."""
    wanted = settings.workload or version.workload
    found = {_called(document): document for document in _objects(text)}
    if wanted not in found:
        raise ConfigError(f"it has no {wanted}; it has: {', '.join(sorted(filter(None, found))) or 'no objects'}")
    containers = items(find(found[wanted], TEMPLATE))
    name = settings.container or version.container
    fitting = [one for one in containers if not name or word(entries(one).get("name")) == name]
    if len(fitting) != 1:
        names = ", ".join(word(entries(one).get("name")) for one in containers)
        raise ConfigError(f"{wanted}: container {name or 'is needed: name'!r} one of: {names}")
    return put(text, find(fitting[0], (Part(key="image"),)), version.value(Write.IMAGE))


def _objects(text: str) -> list[yaml.Node]:
    """All objects, also those of a List."""
    return [one for document in documents(text) for one in (items(entries(document).get("items")) or [document])]


def _called(document: yaml.Node) -> str:
    found = entries(document)
    name = word(entries(found.get("metadata")).get("name"))
    return f"{word(found.get('kind')).lower()}/{name}" if name else ""
