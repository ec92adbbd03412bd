"""The version of a dependency in a chart of charts: `Chart.yaml`, or `requirements.yaml` of Helm 2."""

from __future__ import annotations

from typing import Annotated

from pipeline_step.edits.interface import Version, Write, at_path
from pipeline_step.edits.spans import Part, documents, entries, find, items, put, word
from pipeline_step.errors import ConfigError
from pipeline_step.settings import Strict, says


class Settings(Strict, frozen=True):
    """`dependency` is its name or alias, the app's unless it is said."""

    path: Annotated[str, says("the file, from the root of the repository")]
    dependency: Annotated[str, says("its name or alias; the app's unless it is said")] = ""


place = at_path


def edit(settings: Settings, version: Version, text: str) -> str:
    """Replace the dependency's version."""
    wanted = settings.dependency or version.app
    listed = items(entries(next(iter(documents(text)), None)).get("dependencies"))
    found = [one for one in listed if wanted in (word(entries(one).get("alias")), word(entries(one).get("name")))]
    aliased = [one for one in found if word(entries(one).get("alias")) == wanted]
    if len(aliased or found) != 1:
        names = ", ".join(word(entries(one).get("alias")) or word(entries(one).get("name")) for one in listed)
        raise ConfigError(f"{len(found)} dependencies are called {wanted!r}; it has: {names or 'none'}")
    return put(text, find((aliased or found)[0], (Part(key="version"),)), version.value(Write.VERSION))
