"""Pure: where a repository keeps an app's version, by the conventions of Jenkins X, where the user does not say it.

`.jx/promote.yaml` first, then a chart of charts in `env/`, then the helmfile of the namespace, then the root's.
Source: github.com/jenkins-x-plugins/jx-promote, pkg/promoteconfig and pkg/apis/promote/v1alpha1.
"""

from __future__ import annotations

import posixpath
from typing import Any

import yaml

from pipeline_step.edits import chart, helmfile
from pipeline_step.edits.interface import Read, Version
from pipeline_step.errors import ConfigError

PROMOTE = ".jx/promote.yaml"
RULES = ("helmRule", "helmfileRule")

Found = tuple[str, Any]
"""An edit's name and its settings."""


def discover(version: Version, read: Read) -> Found:
    """The edit for this app; raises `ConfigError` where no convention fits."""
    if (text := read(PROMOTE)) is not None:
        return _ruled(text, version, read)
    if read("env/Chart.yaml") is not None:
        return _chart("env", read)
    for path in (f"helmfiles/{version.namespace}/helmfile.yaml", "helmfile.yaml"):
        if read(path) is not None:
            return "helmfile", helmfile.Settings(path=path)
    raise ConfigError(
        f"no {PROMOTE}, env/Chart.yaml, helmfiles/{version.namespace}/helmfile.yaml or helmfile.yaml says where "
        "the app's version stands; name the file with promote.gitops.edits"
    )


def _ruled(text: str, version: Version, read: Read) -> Found:
    try:
        spec = (yaml.safe_load(text) or {}).get("spec") or {}
    except (yaml.YAMLError, AttributeError) as error:
        raise ConfigError(f"{PROMOTE}: this is no Promote object: {error}") from error
    if rule := spec.get("helmfileRule"):
        return "helmfile", helmfile.Settings(path=str(rule.get("path") or "helmfile.yaml"))
    if rule := spec.get("helmRule"):
        return _chart(str(rule.get("path") or "env"), read)
    raise ConfigError(
        f"{PROMOTE}: of its rules {', '.join(RULES)} are followed, and it has: {', '.join(spec) or 'none'}; "
        "name the file with promote.gitops.edits"
    )


def _chart(folder: str, read: Read) -> Found:
    """Helm 2 kept the dependencies in a file of their own."""
    old = posixpath.join(folder, "requirements.yaml")
    return "chart", chart.Settings(path=old if read(old) is not None else posixpath.join(folder, "Chart.yaml"))
