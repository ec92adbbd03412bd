"""The version of a release in a helmfile, also in the helmfiles that it names."""

from __future__ import annotations

import posixpath
from typing import Annotated

import yaml

from pipeline_step.edits.interface import Read, Version, Write
from pipeline_step.edits.spans import Part, documents, entries, find, items, put, word
from pipeline_step.errors import ConfigError
from pipeline_step.settings import Strict, says

DEEPEST = 10  # helmfiles that name helmfiles


class Settings(Strict, frozen=True):
    """`release` and `namespace` are the app's and production's unless they are said."""

    path: Annotated[str, says("the helmfile, from the root of the repository")] = "helmfile.yaml"
    release: Annotated[str, says("the release's name; the app's unless it is said")] = ""
    namespace: Annotated[str, says("the release's; production's unless it is said")] = ""


def place(settings: Settings, version: Version, read: Read) -> str:
    """The helmfile that has the release: this one, else the first of those that it names."""
    looked: list[str] = []
    queue = [(settings.path, "", 0)]
    while queue:
        path, namespace, depth = queue.pop(0)
        text = read(path)
        if text is None:
            if path == settings.path:
                return path
            continue
        looked.append(path)
        if _release(settings, version, text, namespace) is not None:
            return path
        if depth < DEEPEST:
            queue += [(nested, "", depth + 1) for nested in _nested(path, text) if nested not in looked]
    raise ConfigError(f"no release {settings.release or version.app!r} in {', '.join(looked)}")


def edit(settings: Settings, version: Version, text: str) -> str:
    """Replace the release's chart version."""
    release = _release(settings, version, text, "")
    if release is None:
        names = ", ".join(word(entries(one).get("name")) for one in _releases(text))
        raise ConfigError(f"it has no release {settings.release or version.app!r}; it has: {names or 'none'}")
    return put(text, find(release, (Part(key="version"),)), version.value(Write.VERSION))


def _releases(text: str) -> list[yaml.Node]:
    return [one for document in documents(text) for one in items(entries(document).get("releases"))]


def _release(settings: Settings, version: Version, text: str, namespace: str) -> yaml.Node | None:
    """The release by its name; of several of that name, the one in production's namespace."""
    wanted = settings.release or version.app
    found = [one for one in _releases(text) if word(entries(one).get("name")) == wanted]
    space = settings.namespace or version.namespace
    if len(found) > 1 or settings.namespace:
        tops = [word(entries(document).get("namespace")) for document in documents(text)]
        default = next(filter(None, tops), namespace)
        found = [one for one in found if (word(entries(one).get("namespace")) or default) == space]
    if len(found) > 1:
        raise ConfigError(f"{len(found)} releases are called {wanted!r} in namespace {space!r}")
    return next(iter(found), None)


def _nested(path: str, text: str) -> list[str]:
    """The helmfiles of the repository that this one names."""
    named = [one for document in documents(text) for one in items(entries(document).get("helmfiles"))]
    paths = [word(one) or word(entries(one).get("path")) for one in named]
    folder = posixpath.dirname(path)
    local = [one for one in paths if one and "://" not in one and "::" not in one and "{{" not in one]
    return [posixpath.normpath(posixpath.join(folder, one)) for one in local]
