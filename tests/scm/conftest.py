"""No test of a provider may leave its token in a log: errors are logged as well, as they are raised."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from .server import FORMS


@pytest.fixture(autouse=True)
def no_token_in_any_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Look through everything that was logged, at every level and by every library."""
    caplog.set_level(logging.DEBUG)
    yield
    for record in caplog.get_records("call"):
        text = record.getMessage()
        for form in FORMS:
            assert form not in text, record.name
