"""Shares of requests as the configuration writes them: 99%, 0.5pp. Pure."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec

Percentage = Annotated[str | float, msgspec.Meta(description="a percentage such as 99% or 99.5")]
Points = Annotated[str | float, msgspec.Meta(description="percentage points such as 0.5pp or 1")]


def share(written: str | float, unit: str) -> float:
    """The share 0..1 of a percentage, given as a number or with the unit `%` or `pp`; raises ValueError otherwise."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*" + re.escape(unit), written) if isinstance(written, str) else None
    number = float(match[1]) if match else written
    if isinstance(number, str) or not 0 <= number <= 100:
        example = "99%" if unit == "%" else "0.5pp"
        raise ValueError(f"{written!r} is not a percentage from 0 to 100 such as {example}")
    return round(number / 100.0, 9)
