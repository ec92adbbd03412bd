"""Times that a request may take, as the configuration writes them: 500ms, 1.5s. Pure."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

EXAMPLES = "a time such as 250ms, 500ms or 1.5s"

Latency = Annotated[str, msgspec.Meta(description=EXAMPLES)]


def latency(text: str) -> float:
    """The time in seconds, above 0; raises ValueError for anything else, so use it in `__post_init__`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s)", text)
    if not match or not float(match[1]):
        raise ValueError(f"{text!r} is not {EXAMPLES}")
    return round(float(match[1]) / (1000 if match[2] == "ms" else 1), 9)


def spelled(edge: float) -> str:
    """A number of seconds as `latency` reads it."""
    return f"{edge * 1000:g}ms" if edge < 1 else f"{edge:g}s"
