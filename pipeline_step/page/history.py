"""Pure: what a run has told of a rollout, kept small enough to travel in the page itself.

The page carries its history as JSON, so that a later run of the same rollout goes on with it. A series that gets
too long is thinned evenly; the first and the newest stay.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TypeVar

import msgspec

VERSION = 1
MOST_SAMPLES = 240
MOST_EVENTS = 120
MOST_WORDS = 600  # characters of a reason

T = TypeVar("T")


class Plain(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A mapping in the page's JSON."""


class Row(msgspec.Struct, frozen=True, array_like=True):
    """A list in the page's JSON: there are many of these."""


class Rate(Row, frozen=True):
    """Bad requests and all requests of one side, and the bounds of its rate that hold at any time, 0..1."""

    bad: float
    total: float
    low: float
    high: float

    @property
    def share(self) -> float | None:
        """Bad requests as a share of all; None where there were none."""
        return self.bad / self.total if self.total else None


class Compared(Row, frozen=True):
    """One measure of both sides; each bound is wrong at any time with chance at most `beta`."""

    name: str
    preview: Rate
    stable: Rate
    beta: float


class Weighed(Row, frozen=True):
    """A judge's evidence as natural logarithms of odds: against the preview and for it, and what each verdict needs."""

    gate: str
    against: float
    needed_against: float
    in_favour: float
    needed_in_favour: float


class Measured(Row, frozen=True):
    """A gate's value, and the limits that it is held to."""

    gate: str
    value: float
    low: float | None = None
    high: float | None = None


class Sample(Row, frozen=True):
    """One look, at a time in seconds since 1970; `counted` is the percentage of requests that the preview got."""

    at: float
    weight: int
    counted: float | None = None
    weighed: tuple[Weighed, ...] = ()
    compared: tuple[Compared, ...] = ()
    measured: tuple[Measured, ...] = ()


class Told(Row, frozen=True):
    """A transition: when, which kind as in `Event`, the weight since, and why."""

    at: float
    kind: str
    weight: int
    reason: str


class Says(Row, frozen=True):
    """What a gate said last; the outcome is the value of an `Outcome`."""

    gate: str
    outcome: str
    reason: str


class Ahead(Plain, frozen=True):
    """What the next step means: its weight, requests a second to the preview, and how many of those fail.

    `failing` is by the rate that was measured, `failing_most` by its upper bound.
    """

    weight: int
    requests: float
    failing: float
    failing_most: float


class History(Plain, frozen=True):
    """All that a page shows. Times are seconds since 1970 and 0 where they are not known; weights are percentages.

    `plan` has weight and bake, in seconds, of each step, or none where a `ramp` chooses weights up to that one.
    `standing` is a word of `STANDINGS`; `then` is what happens next, and `coming` what it waits for; `if_due` is what
    would happen if the next step were due at the last look. `left_out` counts the events that are no longer listed.
    """

    app: str
    stable: str
    preview: str
    version: int = VERSION
    pull_request: int = 0
    sha: str = ""
    digest: str = ""
    url: str = ""
    run: str = ""
    run_url: str = ""
    by: str = ""
    comments: bool = False
    plan: tuple[tuple[int, float], ...] = ()
    ramp: int = 0
    promotes: bool = False
    began: float = 0.0
    updated: float = 0.0
    weight: int = 0
    step: int = 0
    standing: str = "running"
    reason: str = ""
    then: str = ""
    coming: str = ""
    due: float = 0.0
    deadline: float = 0.0
    if_due: str = ""
    ahead: Ahead | None = None
    gates: tuple[Says, ...] = ()
    events: tuple[Told, ...] = ()
    left_out: int = 0
    samples: tuple[Sample, ...] = ()

    @property
    def over(self) -> bool:
        """Whether it has ended, and the preview has no requests any more."""
        return self.standing in ENDS


STANDINGS = {
    "running": "No gate watches it",
    "good": "Going well",
    "unproven yet": "Nothing bad found, not proven yet",
    "waiting": "No verdict yet",
    "suspicious": "Under suspicion",
    "failing": "Failing",
    "paused": "Paused",
    "promoting": "Being promoted",
    "undoing": "Promotion failed, going back",
    "held": "Held for a person",
    "unproven": "Held: no verdict in time",
    "promoted": "Promoted",
    "unchanged": "In production already",
    "reverted": "Reverted",
    "inconclusive": "Reverted: no verdict in time",
    "interrupted": "Stopped and reverted",
    "superseded": "Ended from elsewhere",
    "over": "Over",
}
"""How a rollout goes, in a few words."""

ENDS = frozenset({"promoted", "unchanged", "reverted", "inconclusive", "interrupted", "superseded", "over"})


def spread(series: Sequence[T], most: int) -> list[T]:
    """At most so many of them, evenly; the first and the last are among them."""
    if len(series) <= most:
        return list(series)
    return [series[round(number * (len(series) - 1) / (most - 1))] for number in range(most)]


def with_event(history: History, told: Told) -> History:
    """The history with one event more; of too many the oldest but the first go."""
    events, left_out = (*history.events, told), history.left_out
    if len(events) > MOST_EVENTS:
        events, left_out = (events[0], *events[2:]), left_out + 1
    return msgspec.structs.replace(history, events=events, left_out=left_out)


def with_sample(history: History, sample: Sample) -> History:
    """The history with one look more; of too many, one goes that leaves the smallest gap, but no end."""
    samples = (*history.samples, sample)
    if len(samples) > MOST_SAMPLES:
        gone = min(range(1, len(samples) - 1), key=lambda index: samples[index + 1].at - samples[index - 1].at)
        samples = samples[:gone] + samples[gone + 1 :]
    return msgspec.structs.replace(history, samples=samples)


def encoded(history: History) -> str:
    """As JSON that can stand inside of an HTML script element."""
    return json.dumps(msgspec.to_builtins(history), separators=(",", ":")).replace("<", "\\u003c")


def decoded(text: str) -> History | None:
    """The history that a page's JSON tells; None where it is none, or one of another version."""
    try:
        history = msgspec.json.decode(text, type=History)
    except msgspec.MsgspecError:
        return None
    return history if history.version == VERSION else None
