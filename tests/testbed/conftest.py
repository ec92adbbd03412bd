"""Fixtures of tests that run on the test-bed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from . import environment, network
from .environment import Environment


@pytest.fixture
def testbed() -> Iterator[Environment]:
    """The running test-bed; the test is inside its network namespace. Skipped when it is not up."""
    if not environment.is_up():
        pytest.skip("the test-bed is not up: `python -m tests.testbed up` as root")
    with network.entered():
        yield environment.load()
