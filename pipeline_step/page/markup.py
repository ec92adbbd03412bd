"""Pure: HTML and SVG as a tree, so that nothing is forgotten to be escaped. The standard library writes it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element, tostring

Child = Element | str | None

UNSHOWN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
"""Control characters, those that turn the direction of what follows, and what UTF-8 or HTML can't have."""


def element(tag: str, *children: Child, **attributes: object) -> Element:
    """An element; attributes that are None are left out. Written with `_` for `-`, and a `_` after Python's words."""
    made = Element(tag, {_name(key): clean(str(value)) for key, value in attributes.items() if value is not None})
    for child in children:
        if child is None:
            continue
        if isinstance(child, Element):
            made.append(child)
        elif len(made):
            made[-1].tail = (made[-1].tail or "") + clean(child)
        else:
            made.text = (made.text or "") + clean(child)
    return made


def html(root: Element) -> str:
    """The whole document as text."""
    return "<!doctype html>\n" + tostring(root, encoding="unicode", method="html") + "\n"


def clean(text: str) -> str:
    """The text without characters that no reader sees, and with no line break before a percent sign."""
    return UNSHOWN.sub("", text).replace(" %", "\u00a0%")


def link(text: str, url: str) -> Element | str:
    """A link where the address is one of the web, else the text alone."""
    try:
        ours = urlsplit(url).scheme in ("http", "https")
    except ValueError:
        ours = False
    return element("a", text, href=url, rel="noreferrer noopener") if ours else text


def moment(time: float, *, day: bool = False) -> Element:
    """A time in seconds since 1970 as a time of day in UTC, or with its day."""
    at = datetime.fromtimestamp(time, UTC)
    text = at.strftime("%Y-%m-%d %H:%M:%S UTC" if day else "%H:%M:%S")
    return element("time", text, datetime=at.strftime("%Y-%m-%dT%H:%M:%SZ"))


def _name(key: str) -> str:
    return key.rstrip("_").replace("_", "-")
