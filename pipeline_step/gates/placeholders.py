"""What queries and URLs in the configuration may name: `${preview_service}` and the like. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from string import Template
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline_step.gates import Subject
    from pipeline_step.model import Backend

SIDES = ("preview_namespace", "preview_service", "stable_namespace", "stable_service")
SIDE = ("namespace", "service")
WINDOW = "window"


def check(text: str, valid: Iterable[str]) -> None:
    """Raise ValueError where `text` has a placeholder that is not valid there, or a `$` that begins none.

    A `$` of the text itself is written `$$`.
    """
    listed = ", ".join(f"${{{name}}}" for name in valid) or "none here"
    for match in Template.pattern.finditer(text):
        name = match["named"] or match["braced"]
        if match["invalid"] is not None:
            raise ValueError(f"a '$' that begins no placeholder (write $$ for the sign itself). Valid: {listed}")
        if name and name not in valid:
            raise ValueError(f"unknown placeholder ${{{name}}}. Valid: {listed}")


def fill(text: str, values: Mapping[str, str]) -> str:
    """`text` with its placeholders replaced; only for texts that `check` accepted for these names."""
    return Template(text).substitute(values)


def sides(subject: Subject, window: str = "") -> dict[str, str]:
    """The values of `SIDES` and `WINDOW`."""
    return {
        "preview_namespace": subject.preview.namespace,
        "preview_service": subject.preview.service,
        "stable_namespace": subject.stable.namespace,
        "stable_service": subject.stable.service,
        WINDOW: window,
    }


def side(backend: Backend) -> dict[str, str]:
    """The values of `SIDE` for one of the two sides."""
    return {"namespace": backend.namespace, "service": backend.service}


def check_pattern(pattern: str, valid: Iterable[str] = ()) -> None:
    """Raise ValueError where `pattern`, after a leading `!`, is no regular expression with valid placeholders."""
    names = tuple(valid)
    check(pattern, names)
    try:
        re.compile(fill(pattern.removeprefix("!"), dict.fromkeys(names, "a")))
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression ({error})") from None
