"""Promoters: what makes the judged image production. One module each, in a visible table.

The main flow asks for the version before, starts the change, and asks until it is there; a promoter only knows how.
Every function is safe to repeat, since a killed run does it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from pipeline_step.model import Workload
from pipeline_step.promote import gitops, workload

if TYPE_CHECKING:
    from pipeline_step.cluster import Cluster
    from pipeline_step.config import Config
    from pipeline_step.promote.interface import Promotion, Written
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

    def progress(self, settings: Any, production: Workload, cluster: Cluster, image: str) -> Progress:
        """How far production is with running this image."""

    @property
    def WRITES_GIT(self) -> bool:  # noqa: N802
        """Whether a promotion leaves something in Git, which has to go again before its record does."""

    def write(self, settings: Any, config: Config, promotion: Promotion) -> Written:
        """Have Git say it, before `start`, as far as that goes now; asked again until it is done or stuck."""

    def withdraw(self, settings: Any, config: Config, promotion: Promotion) -> Written:
        """Have Git say it no more, likewise; also where `write` was never asked, or was killed."""


PROMOTERS: dict[str, Promoter] = {
    "gitops": gitops,
    "workload": workload,
}
