"""One part of the page: a table, what was to be reached, and whether it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Goal(NamedTuple):
    """What was to be reached and what was measured, in words, and whether it was reached."""

    reached: bool
    text: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """A title, how it was measured, rows of text under a header, and the goals."""

    title: str
    how: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    goals: Sequence[Goal]

    def markdown(self) -> str:
        """The section of the page."""
        rules = ["---", *["---:"] * (len(self.header) - 1)]
        table = "\n".join(f"| {' | '.join(cells)} |" for cells in (self.header, rules, *self.rows))
        goals = "\n".join(f"- {'Reached' if goal.reached else '**Missed**'}: {goal.text}" for goal in self.goals)
        return f"## {self.title}\n{self.how}\n\n{table}\n\n{goals}\n"
