"""A rollout as a person watches it: a picture that is redrawn in a terminal, plain lines anywhere else.

Every number and verdict is also a word or a digit; colours and bars only repeat them.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self, assert_never

from rich.bar import Bar
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from pipeline_step.model import Advance, Hold, Measurement, Outcome, Policy, Promote, Revert, Stop
from pipeline_step.run import Event, Look

REDRAWN = 4  # times a second
STYLES = {Outcome.PASS: "green", Outcome.FAIL: "bold red"}
COMING = {
    "promoting": "production rolls out the preview's image; then all requests go to it",
    "undoing": "production rolls back to its previous image; then all requests go to it",
}
"""What follows an event by itself, by the event's kind."""


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


class Progress:
    """What a rollout has told so far: `tell` and `show` take what `Run` gives, the rest is for a `View`."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.weight = 0
        self.gates: Sequence[Measurement] = ()
        self.coming = ""

    def tell(self, event: Event) -> None:
        """A transition: what the gates said before it is of the past."""
        self.weight, self.gates = event.weight, event.measurements
        self.coming = COMING.get(event.kind, "")

    def show(self, look: Look) -> None:
        """A look between two transitions."""
        self.weight, self.gates = look.rollout.weight, look.measurements
        self.coming = self._follows(look)

    def sides(self, stable: str, preview: str) -> list[Side]:
        """Both sides as the first gate that counts requests sees them."""
        counted = next((m for m in self.gates if m.preview and m.stable), None)
        weights = {stable: 100 - self.weight, preview: self.weight}
        if counted is None or counted.preview is None or counted.stable is None:
            return [Side(name=name, weight=weight) for name, weight in weights.items()]
        total = counted.stable.total + counted.preview.total
        return [
            Side(
                name=name,
                weight=weights[name],
                share=100 * counts.total / total if total else None,
                requests=counts.total,
                failed=counts.bad,
            )
            for name, counts in ((stable, counted.stable), (preview, counted.preview))
        ]

    def _follows(self, look: Look) -> str:
        steps, step = self._policy.steps, look.rollout.step
        match look.decision:
            case Hold(reason):
                last = "promotion" if self._policy.promote else "it is held there"
                then = f"{steps[step + 1].weight} %" if step + 1 < len(steps) else last
                waited = next((m.gate for m in look.measurements if m.reason == reason), "")
                return f"{f'waits for a verdict of {waited}' if waited else reason}; then {then}"
            case Advance(index, _):
                return f"{steps[index].weight} %"
            case Promote():
                return "promotion: production gets the preview's image"
            case Stop(reason):
                return f"held at {look.rollout.weight} %: {reason}"
            case Revert(reason):
                return f"all requests go back to production: {reason}"
            case _:
                assert_never(look.decision)


class Screen:
    """Lines that stay, above a picture that is redrawn while the block runs; without a terminal only the lines.

    `view` is called from another thread and must return at once and raise nothing.
    """

    def __init__(self, view: Callable[[], View], console: Console | None = None) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a character shows another
        self.console = console or Console(highlight=False, markup=False, emoji=False)
        self._live = Live(
            console=self.console,
            get_renderable=lambda: picture(view()),
            refresh_per_second=REDRAWN,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def say(self, clock: str, text: str, style: str = "") -> None:
        """One line that stays: when, and what happened."""
        if not self.console.is_interactive:
            self.console.print(f"{clock:>5}  {text}", soft_wrap=True)
            return
        row = Table.grid(padding=(0, 2))
        row.add_column(width=5, justify="right", style="dim")
        row.add_column()
        row.add_row(clock, Text(text, style=style))
        self.console.print(row)

    def __enter__(self) -> Self:
        if self.console.is_interactive:
            self._live.start(refresh=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()


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
    table.add_column("side", min_width=10, no_wrap=True)
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
