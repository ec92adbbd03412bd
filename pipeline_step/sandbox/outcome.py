"""Pure: whether the demo went as told, from what was answered and from what the cluster says at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from rich.table import Table

from pipeline_step.model import Object
from pipeline_step.run import Event, Result
from pipeline_step.sandbox.tally import Tally

BETWEEN = "between two weights"
"""The phase of requests sent while a weight changes: nobody can say which weight met them."""


class Check(NamedTuple):
    """One thing that the story tells, and whether it was so."""

    ok: bool
    text: str


@dataclass(kw_only=True, slots=True)
class Chapter:
    """One pull request: its phases with the weight that its preview had in them, and how its rollout ended."""

    number: int
    namespace: str
    weights: dict[str, int] = field(default_factory=dict)
    result: Result | None = None

    def phase(self, event: Event) -> str:
        """The name of the phase that begins with an event."""
        if event.kind in ("promoting", "undoing"):
            return f"PR {self.number} being promoted"
        if not event.weight:
            return self.after(event.kind)
        name = f"PR {self.number} at {event.weight} %"
        self.weights[name] = event.weight
        return name

    def after(self, outcome: str) -> str:
        """The name of the phase that begins when the rollout has ended."""
        return f"PR {self.number} {outcome}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """What happened: the chapters, the sides' names by namespace, the route before and after, production's image."""

    chapters: Sequence[Chapter]
    labels: Mapping[str, str]
    before: Object
    after: Object
    production: str


def table(story: Story, tally: Tally) -> Table:
    """Every phase with the requests that each side answered."""
    made = Table(title="Requests, by who answered them", box=None, padding=(0, 1), pad_edge=False, title_justify="left")
    for name in ("", "all", *story.labels.values(), "failed"):
        made.add_column(name, justify="right" if name else "left", no_wrap=True)
    phases = dict.fromkeys(answer.phase for answer in tally.answers)
    for phase in sorted(phases, key=lambda phase: phase == BETWEEN):
        all_of_it = tally.part(phase)
        cells = [f"{tally.part(phase, namespace).requests:,}" for namespace in story.labels]
        made.add_row(phase, f"{all_of_it.requests:,}", *cells, f"{all_of_it.failed:,}")
    return made


def checks(story: Story, tally: Tally) -> list[Check]:
    """All that has to be true of the story."""
    good, bad = story.chapters
    assert good.result is not None
    assert bad.result is not None
    total, harmed = tally.part(), tally.part(namespace=bad.namespace)
    since = bad.after(bad.result.outcome)
    late, reached = tally.part(since), tally.part(since, bad.namespace)
    return [
        Check(good.result.outcome == "promoted", f"PR {good.number} was {good.result.outcome}"),
        Check(
            bool(good.result.digest) and story.production.endswith(f"@{good.result.digest}"),
            f"production runs {story.production}; what was judged is {good.result.digest}",
        ),
        *(_share(chapter, phase, tally) for chapter in story.chapters for phase in chapter.weights),
        Check(bad.result.outcome == "reverted", f"PR {bad.number} was {bad.result.outcome}: {bad.result.reason}"),
        Check(
            late.requests > 0 and not reached.requests,
            f"since then PR {bad.number} answered {reached.requests} of {late.requests:,} requests",
        ),
        Check(
            0 < harmed.failed == total.failed,
            f"{total.failed} of {total.requests:,} requests failed, {harmed.failed} of them at PR {bad.number}",
        ),
        Check(story.before == story.after, "the VirtualService is what it was before"),
    ]


def _share(chapter: Chapter, phase: str, tally: Tally) -> Check:
    weight = chapter.weights[phase]
    share = tally.share(phase, chapter.namespace) or 0.0
    ok = tally.follows(phase, chapter.namespace, weight)
    total = tally.part(phase).requests
    text = f"PR {chapter.number} was given {weight} % and got {share:.1f} % of {total:,} requests"
    return Check(ok, f"{text}, {'within' if ok else 'beyond'} chance")
