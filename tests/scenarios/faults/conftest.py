"""The fault proxy of a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..bed import Bed
from .proxy import Proxy


@pytest.fixture
def proxy(bed: Bed, tmp_path: Path) -> Iterator[Proxy]:
    """A proxy in front of the API server; a step that is to go through it gets KUBECONFIG=proxy.kubeconfig."""
    with Proxy(bed.api, tmp_path) as running:
        yield running
