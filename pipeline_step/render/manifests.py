"""A preview from YAML manifests with `${...}` values, read from a file or a folder."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from pipeline_step.errors import ConfigError
from pipeline_step.model import Object

VALUES = {
    "APP": "the app's name",
    "NAME": "the preview's Service name",
    "NAMESPACE": "the preview's namespace",
    "IMAGE": "the image under review, as given with --image",
    "SHA": "the reviewed commit",
    "NUMBER": "the pull request's number",
    "OWNER": "the repository's owner",
    "REPO": "the repository's name",
}
_PLACEHOLDER = re.compile(r"\$\{([^}]*)\}")


def render(path: Path, values: Mapping[str, Any]) -> list[Object]:
    """All objects of the file, or of the folder's .yaml and .yml files in the order of their names."""
    files = [path]
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix in (".yaml", ".yml"))
    if not files:
        raise ConfigError(f"{path}: no .yaml or .yml file in this folder; preview.manifests needs at least one")
    return [obj for file in files for obj in _objects(file, values)]


def _objects(file: Path, values: Mapping[str, Any]) -> list[Object]:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: can't be read ({error}); preview.manifests names a file or a folder") from error

    def value(match: re.Match[str]) -> str:
        if match[1] not in VALUES:
            line = text.count("\n", 0, match.start()) + 1
            raise ConfigError(f"{file}:{line}: unknown value ${{{match[1]}}}; valid: {', '.join(VALUES)}")
        return str(values[match[1]])

    try:
        documents = list(yaml.safe_load_all(_PLACEHOLDER.sub(value, text)))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}" if mark else str(file)
        raise ConfigError(f"{where}: this is not YAML: {getattr(error, 'problem', None) or error}") from error
    for document in documents:
        if document is not None and not _is_object(document):
            raise ConfigError(f"{file}: every document needs apiVersion, kind and metadata.name; one has not")
    return [document for document in documents if document is not None]


def _is_object(document: Any) -> bool:
    return (
        isinstance(document, dict)
        and isinstance(document.get("apiVersion"), str)
        and isinstance(document.get("kind"), str)
        and isinstance(document.get("metadata"), dict)
        and isinstance(document["metadata"].get("name"), str)
    )
