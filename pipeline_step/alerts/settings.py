"""What all alerts share in the configuration."""

from __future__ import annotations

from enum import Enum


class Transition(Enum):
    """What can be heard of: the events of a rollout, and the errors that a run may end with."""

    SHIFTED = "shifted"
    RESUMED = "resumed"
    REASSERTED = "reasserted"
    PAUSED = "paused"
    SKIPPED = "skipped"
    PROMOTING = "promoting"
    UNDOING = "undoing"
    PROMOTED = "promoted"
    RETURNING = "returning"
    RETURNED = "returned"
    WAITING = "waiting"
    UNCHANGED = "unchanged"
    HELD = "held"
    UNPROVEN = "unproven"
    REVERTED = "reverted"
    INCONCLUSIVE = "inconclusive"
    INTERRUPTED = "interrupted"
    SUPERSEDED = "superseded"
    READY = "ready"
    DELETED = "deleted"
    FROZEN = "frozen"
    UNFROZEN = "unfrozen"
    REFUSED = "refused"
    FAILED = "failed"
    BROKEN = "broken"
    TRAFFIC_UNKNOWN = "traffic_unknown"


FAILURES = (Transition.REVERTED, Transition.INCONCLUSIVE, Transition.UNPROVEN)
ENDS = (
    Transition.BROKEN,
    Transition.TRAFFIC_UNKNOWN,
    Transition.PROMOTED,
    Transition.HELD,
    *FAILURES,
    Transition.INTERRUPTED,
    Transition.SUPERSEDED,
    Transition.RETURNED,
)
