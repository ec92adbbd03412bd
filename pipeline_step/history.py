"""Pure: the history in the sticky comment, a line for each transition, kept in the comment itself from run to run.

Each run reads the lines that are there, adds its own where they are missing, and drops the oldest that do not fit. A
line that another run's edit has overwritten in the same moment comes back with the next edit of the run that wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

MOST = 200  # lines that are kept
REFUSALS = 20  # of them refused commands, which strangers can write and so must not push the rest out
LONGEST = 400  # characters of a line
REFUSED = "🚫"
DROPPED = "- Older entries were dropped."
TITLE = "History"
OPENINGS = (f"<details><summary>{TITLE}</summary>", f"**{TITLE}**")

_LINE = re.compile(r"- \d{4}-\d\d-\d\d \d\d:\d\d:\d\d · \S.*")
_TIME = slice(0, 21)


def line(at: float, mark: str, text: str) -> str:
    """One line: `text` is Markdown without line breaks, `at` in seconds since 1970."""
    return f"- {datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} · {mark} {' '.join(text.split())}"[:LONGEST]


def split(body: str) -> tuple[str, list[str]]:
    """A comment's text without its history, and the lines of that; what is no line of ours is left out."""
    ends = [at for opening in OPENINGS if (at := body.rfind(f"\n{opening}")) >= 0]
    if not ends:
        return body.strip(), []
    at = max(ends)
    lines = [text.rstrip() for text in body[at:].splitlines()]
    return body[:at].strip(), [text for text in lines if text == DROPPED or _LINE.fullmatch(text)]


def merged(*parts: Iterable[str]) -> list[str]:
    """The lines of all parts, each once, by their time."""
    lines = dict.fromkeys(text for part in parts for text in part)
    return sorted(lines, key=lambda text: text[_TIME] if text != DROPPED else "")


def section(lines: Sequence[str], room: int, *, html: bool) -> str:
    """The newest lines that fit into `room` characters, folded where the provider shows HTML; "" where none does."""
    before, after = (OPENINGS[0] + "\n\n", "\n\n</details>") if html else (OPENINGS[1] + "\n\n", "")
    left = room - len(before) - len(after) - len(DROPPED) - 1
    kept: list[str] = []
    refusals = 0
    for text in reversed([text for text in lines if text != DROPPED]):
        refusals += REFUSED in text
        if REFUSED in text and refusals > REFUSALS:
            continue
        left -= len(text) + 1
        if left < 0 or len(kept) == MOST:
            break
        kept.insert(0, text)
    if not kept:
        return ""
    shown = kept if len(kept) == len(lines) else [DROPPED, *kept]
    return before + "\n".join(shown) + after
