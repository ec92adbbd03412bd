"""A rollout as a person watches it: a picture that is redrawn in a terminal, plain lines anywhere else."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipeline_step import outlook
from pipeline_step.model import Measurement, Target
from pipeline_step.picture import Side, View, picture
from pipeline_step.route import Seen
from pipeline_step.run import Event, Look, Result, Run

REDRAWN = 4  # times a second


class Progress:
    """What a rollout has told so far: `tell` and `show` take what `Run` gives, the rest is for a `View`."""

    def __init__(self) -> None:
        self.weight = 0
        self.gates: Sequence[Measurement] = ()
        self.coming = ""

    def tell(self, event: Event) -> None:
        """A transition: what the gates said before it is of another weight."""
        self.weight, self.gates = event.weight, ()
        self.coming = outlook.COMING.get(event.kind, "")

    def show(self, look: Look) -> None:
        """A look between two transitions."""
        self.weight, self.gates = look.rollout.weight, look.measurements
        self.coming = outlook.follows(look.policy, look.rollout, look.measurements, look.decision)

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


class Screen:
    """Lines that stay, above a picture that is redrawn while the block runs; without a terminal only the lines.

    `view` is called from another thread and must return at once and raise nothing.
    """

    def __init__(self, view: Callable[[], View], console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, markup=False, emoji=False)
        if isinstance(self.console.file, io.TextIOWrapper):
            self.console.file.reconfigure(errors="replace")  # a terminal that lacks a character shows another
        self._live = Live(
            console=self.console,
            get_renderable=lambda: picture(view()),
            refresh_per_second=REDRAWN,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=self.console.stderr,
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


def followed(run: Run, work: Callable[[Run], Result], console: Console | None = None) -> Result:
    """Do the work with a picture on standard error while it lasts; only the work where that is no terminal."""
    console = console or Console(stderr=True, highlight=False, markup=False, emoji=False)
    if not console.is_interactive:
        return work(run)
    progress = Progress()
    began = run.clock.time()

    def tell(event: Event) -> None:
        progress.tell(event)
        run.tell(event)

    def show(look: Look) -> None:
        progress.show(look)
        run.show(look)

    def view() -> View:
        minutes, seconds = divmod(int(run.clock.time() - began), 60)
        return View(
            title=f"{run.target.app}: {run.preview}",
            clock=f"{minutes}:{seconds:02d}",
            sides=progress.sides("production", f"pull request {run.config.pull.number}"),
            gates=progress.gates,
            coming=progress.coming,
        )

    with Screen(view, console):
        return work(dataclasses.replace(run, tell=tell, show=show))


def watched(look: Callable[[], View], sleep: Callable[[float], None]) -> None:
    """Look every second, and draw it on standard output, until a signal."""
    seen = look()
    with Screen(lambda: seen):
        while True:
            sleep(1)
            seen = look()


def destinations(target: Target, seen: Mapping[str, Seen]) -> View:
    """Who has which share, by cluster, and where the recorded rollouts stand."""
    sides = [
        Side(name=f"{context} {backend}" if context else backend, weight=weight)
        for context, one in seen.items()
        for backend, weight in sorted(one.weights.items(), key=lambda item: -item[1])
    ]
    rollouts = {rollout.preview: rollout for one in seen.values() for rollout in one.rollouts.values()}
    recorded = [
        f"#{rollout.pull_request} {rollout.phase.value} at {rollout.weight} %, asked for by {rollout.by}"
        for rollout in rollouts.values()
    ]
    return View(title=target.app, sides=sides, coming="; ".join(recorded) or "nothing is being rolled out")
