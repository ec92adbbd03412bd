"""Sinks: whom a run tells what happens. One module each, in a visible table.

A sink is never waited for while there is something to decide: each has a thread of its own, is given all that is new
at once when it comes to it, and the end of the run waits a bounded time for all of them together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from pipeline_step.errors import Exit
from pipeline_step.run import Event
from pipeline_step.sinks import alerts, audit, cdevents, metrics, page, pull_request, traces

if TYPE_CHECKING:
    from pipeline_step.cluster import Cluster
    from pipeline_step.config import Config
    from pipeline_step.gates import Conversation
    from pipeline_step.run import Look, Result


@dataclass(frozen=True, kw_only=True, slots=True)
class Story:
    """What a run has told so far, all times in seconds since 1970.

    `fresh` are the events among `events` that this sink has not been given before. `looks` are those at which a gate
    changed its mind or the weight had changed, and the newest; `decisions` counts what followed from all of them. `end`
    is there once the run is over, which it was at `ended`. `clusters` are those that it works on, by context.
    """

    config: Config
    command: str
    began: float
    events: Sequence[Event]
    fresh: Sequence[Event]
    looks: Sequence[Look]
    decisions: Mapping[str, int]
    end: Result | None
    ended: float = 0.0
    clusters: Mapping[str, Cluster] = field(default_factory=dict)

    @property
    def sha(self) -> str:
        """The commit that it is about, as far as it is known."""
        return next((event.sha for event in reversed(self.events) if event.sha), self.config.pull.sha)

    @property
    def image(self) -> str:
        """The preview's image, by digest where it is known."""
        return next((event.image for event in reversed(self.events) if event.image), "")

    @property
    def failure(self) -> Event | None:
        """The event that the run ended in an error: what it was refused, or what became of it after it had begun."""
        if self.end is None or self.end.exit is Exit.DONE:
            return None
        kind = "broken" if self.events else "refused" if self.end.exit is Exit.REFUSED else "failed"
        weight = self.events[-1].weight if self.events else 0
        return Event(kind=kind, weight=weight, reason=self.end.reason, sha=self.sha, at=self.ended)


Send = Callable[[Story], None]
"""Tells one sink; raises `StepError` where that is not possible. Called from the sink's own thread."""


class Sink(Protocol):
    """What a sink's module offers."""

    @property
    def EVERY(self) -> float:  # noqa: N802
        """Seconds after which it also wants to hear of a look without an event; 0 for only of events."""

    def connect(self, config: Config, conversation: Conversation | None) -> Mapping[str, Send]:
        """How to tell it, by what people call it; nothing where it is not configured. Must not talk to anyone yet."""


SINKS: dict[str, Sink] = {
    "alerts": alerts,
    "audit": audit,
    "cdevents": cdevents,
    "metrics": metrics,
    "page": page,
    "pull_request": pull_request,
    "traces": traces,
}
