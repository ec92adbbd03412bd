"""What a machine lacks is said once, as the reason of a skipped test."""

from __future__ import annotations

import shutil

import pytest
from hypothesis import settings

settings.register_profile("unhurried", deadline=None)  # a busy machine fails no example for being slow
settings.load_profile("unhurried")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The sandbox's tests read the truth with kubectl, as a user would."""
    if shutil.which("kubectl"):
        return
    for item in items:
        if item.get_closest_marker("sandbox"):
            item.add_marker(pytest.mark.skip(reason="kubectl is not installed"))
