"""Pure: the picture of a rollout in a terminal.

Every number and verdict is also a word or a digit; colours and bars only repeat them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.bar import Bar
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from pipeline_step.model import Measurement, Outcome

STYLES = {Outcome.PASS: "green", Outcome.FAIL: "bold red"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Side:
    """One destination of the route: the percentage it is given, and what it has answered where that is known."""

    name: str
    weight: int
    share: float | None = None
    requests: float | None = None
    failed: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """All that one picture shows."""

    title: str
    clock: str = ""
    doing: str = ""
    sides: Sequence[Side] = ()
    gates: Sequence[Measurement] = ()
    coming: str = ""


def picture(view: View) -> RenderableType:
    """The view for a terminal of 80 columns or more, about 12 lines high."""
    top = Table.grid(expand=True)
    top.add_column(style="bold")
    top.add_column(justify="right", style="dim")
    top.add_row(Text(view.title), view.clock)
    parts: list[RenderableType] = [Rule(characters="-", style="dim"), top]
    if view.doing:
        parts.append(Text(f"$ {view.doing}", style="cyan"))
    if view.sides:
        parts += [Text(), _shares(view.sides)]
    words = Table.grid(padding=(0, 2))
    words.add_column(style="bold", width=5)
    words.add_column()
    for measurement in view.gates:
        outcome = measurement.outcome
        mark = "FAIL" if outcome is Outcome.FAIL else outcome.value.replace("_", " ")
        words.add_row("gate", Text.assemble((mark, STYLES.get(outcome, "yellow")), " ", _unbroken(measurement.reason)))
    if view.coming:
        words.add_row("next", _unbroken(view.coming))
    if words.row_count:
        parts += [Text(), words]
    return Group(*parts)


def short(text: str) -> str:
    """The text with digests cut to twelve digits."""
    return re.sub(r"(sha256:[0-9a-f]{12})[0-9a-f]{52}", r"\1…", text)


def _unbroken(text: str) -> str:
    """The text with no line break before a percent sign."""
    return short(text).replace(" %", "\u00a0%")


def _percent(share: float | None) -> str:
    """Such as "4.9 %"; nothing where it is not known."""
    return "" if share is None else f"{share:.1f} %"


@dataclass(frozen=True, slots=True)
class _Bar:
    """A weight as a bar, in eighths of a column where the terminal can show them."""

    weight: int

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.ascii_only:
            filled = round(self.weight * options.max_width / 100)
            yield Text("#" * max(filled, 1 if self.weight else 0))
        else:
            yield Bar(100, 0, self.weight, color="cyan")


def _shares(sides: Sequence[Side]) -> Table:
    table = Table(box=None, expand=True, padding=(0, 1), pad_edge=False, header_style="dim")
    table.add_column("side", min_width=10, max_width=40, overflow="fold")
    table.add_column("weight", justify="right", no_wrap=True)
    table.add_column("", ratio=1, min_width=10)
    counted = any(side.requests is not None for side in sides)
    if counted:
        for name in ("counted", "requests", "failed"):
            table.add_column(name, justify="right", no_wrap=True, min_width=8)
    for side in sides:
        cells: list[RenderableType] = [side.name, f"{side.weight} %", _Bar(side.weight)]
        if counted:
            failed = Text(_number(side.failed), style="bold red" if side.failed else "")
            cells += [_percent(side.share), _number(side.requests), failed]
        table.add_row(*cells)
    return table


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"
