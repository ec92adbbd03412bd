"""Documents are written as CommonMark, which providers show; mkdocs' Markdown wants lists indented by four."""

from __future__ import annotations

import re

ITEM = re.compile(r"(?:[-*]|\d+\.) +")


def adapted(text: str) -> str:
    """The same document, with what belongs to a list item indented by four, and an empty line before each list."""
    lines: list[str] = []
    fenced, width = False, 0
    for line in text.splitlines():
        indented = len(line) - len(line.lstrip())
        if line.startswith("```"):
            fenced, width = not fenced, 0
        elif not fenced and (item := ITEM.match(line)):
            if lines and lines[-1].strip() and not width:
                lines.append("")
            width = len(item[0])
        elif not fenced and width and line.strip():
            if indented >= width:
                line = " " * 4 + line[width:]
            elif lines and not lines[-1].strip():
                width = 0
        lines.append(line)
    return "\n".join(lines) + "\n"
