"""A cluster for tests that talk to several ones from one process."""

from __future__ import annotations

from pathlib import Path

import pytest
from kubernetes.config import kube_config

from pipeline_step.cluster import Cluster


def connected(kubeconfig: Path, patch: pytest.MonkeyPatch) -> Cluster:
    """The current context of a kubeconfig. The client library reads the environment only once, at its import."""
    patch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
    return Cluster()
