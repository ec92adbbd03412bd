"""Where a progress page is kept: a file, or a ConfigMap beside production.

A place never takes what is not a progress page of ours.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pipeline_step.errors import ConfigError, Conflict, Refused, StepError
from pipeline_step.model import Backend, Object, Ref
from pipeline_step.page.document import history_in
from pipeline_step.preview import APP, MANAGED_BY

if TYPE_CHECKING:
    from pipeline_step.cluster import Cluster
    from pipeline_step.config import Config

PREFIX = "configmap/"
KEY = "index.html"
PATIENCE = 5.0  # seconds that a request is repeated
LIMIT = 900_000  # bytes of a page: an object of the API has at most 1 MiB or so, with its names and labels


class Place(Protocol):
    """Reads and writes a page; both raise `StepError` with a sentence."""

    pace: float
    """Seconds between two writes, at least; transitions don't wait for it."""

    def check(self) -> None:
        """Raise `ConfigError` where a page can't be there, as far as that is known without asking anybody."""

    def read(self) -> str:
        """The page that is there, "" where none is."""

    def write(self, page: str) -> None:
        """Put a page there at once: a reader sees the one before or this one, never a part."""


class File:
    """A page in a file, such as one of a Tekton workspace."""

    pace = 2.0

    def __init__(self, path: Path) -> None:
        self._path = path

    def check(self) -> None:
        self.read()

    def read(self) -> str:
        """Raises `ConfigError` where the folder is missing, or something else stands there already."""
        if not self._path.parent.is_dir():
            raise ConfigError(f"--report {self._path}: there is no folder {self._path.parent}")
        try:
            page = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"--report {self._path}: can't be read: {error}") from error
        if page and not history_in(page):
            raise ConfigError(f"--report {self._path}: this is no progress page; name a new file, or remove it")
        return page

    def write(self, page: str) -> None:
        beside = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        try:
            beside.write_text(page, encoding="utf-8")
            beside.replace(self._path)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise StepError(f"{self._path} can't be written: {error}") from error


class ConfigMap:
    """A page in a ConfigMap of production's namespace, under the key `index.html`."""

    pace = 10.0

    def __init__(self, context: str, ref: Ref, app: str) -> None:
        self._context = context
        self._ref = ref
        self._app = app

    @cached_property
    def _cluster(self) -> Cluster:
        from pipeline_step.cluster import Cluster

        return Cluster(self._context, patience=PATIENCE)

    def check(self) -> None:
        """Nothing is known before the cluster is asked."""

    def read(self) -> str:
        return str(((self._find() or {}).get("data") or {}).get(KEY, ""))

    def write(self, page: str) -> None:
        if len(page.encode()) > LIMIT:
            raise StepError(f"{self._ref}: the page has {len(page.encode())} bytes, and {LIMIT} are allowed")
        while True:
            existing = self._find()
            try:
                if existing is None:
                    self._cluster.create(self._ref, self._fresh(page))
                else:
                    self._cluster.replace(self._ref, {**existing, "data": {KEY: page}})
                return
            except Conflict:
                continue

    def _find(self) -> Object | None:
        """Raises `Refused` for a ConfigMap of that name that is somebody else's."""
        found = self._cluster.find(self._ref)
        labels = ((found or {}).get("metadata") or {}).get("labels") or {}
        if found is not None and (labels.get(MANAGED_BY), labels.get(APP)) != ("pipeline-step", self._app):
            raise Refused(f"{self._ref} is not one of pipeline-step for {self._app}; give the report another name")
        return found

    def _fresh(self, page: str) -> Object:
        labels = {MANAGED_BY: "pipeline-step", APP: self._app}
        metadata = {"name": self._ref.name, "namespace": self._ref.namespace, "labels": labels}
        return {"kind": "ConfigMap", "metadata": metadata, "data": {KEY: page}}


def configmap_ref(report: str, stable: Backend) -> Ref | None:
    """The ConfigMap that a report names; None where it names a file."""
    if not report.startswith(PREFIX):
        return None
    return Ref(group="", resource="configmaps", namespace=stable.namespace, name=report.removeprefix(PREFIX))


def kept(config: Config) -> Callable[[], str]:
    """Reads the page that the configuration names; "" where it names none."""
    return place(config).read if config.report else lambda: ""


def place(config: Config) -> Place:
    """Where the page is to be kept; of several clusters the first has the ConfigMap."""
    if ref := configmap_ref(config.report, config.target.stable):
        return ConfigMap(config.contexts[0], ref, config.file.app)
    return File(Path(config.report))
