"""Promoters: what makes the judged image production. One module each, in a visible table.

The main flow asks for the version before, starts the change, and asks until it is there; a promoter only knows how.
Every function is safe to repeat, since a killed run does it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from pipeline_step.model import Workload
from pipeline_step.promote import workload

if TYPE_CHECKING:
    from pipeline_step.cluster import Cluster
    from pipeline_step.promote.workload import Progress


class Promoter(Protocol):
    """What a promoter's module offers; every function raises `ClusterError` or `ConfigError`."""

    @property
    def Settings(self) -> type:  # noqa: N802
        """What the user writes below the promoter's name in the configuration."""

    def current(self, settings: Any, production: Workload, cluster: Cluster) -> str:
        """The image that production is told to run."""

    def start(self, settings: Any, production: Workload, cluster: Cluster, image: str) -> None:
        """Tell production to run this image."""

    def progress(self, settings: Any, production: Workload, cluster: Cluster) -> Progress:
        """How far production is with what it was told."""


PROMOTERS: dict[str, Promoter] = {
    "workload": workload,
}
