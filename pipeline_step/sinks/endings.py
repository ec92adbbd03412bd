"""Pure: what it means for others that a run ended as it did."""

from __future__ import annotations

from enum import Enum

from pipeline_step.run import Result


class Ending(Enum):
    """In the words of CDEvents."""

    SUCCESS = "success"
    FAILURE = "failure"
    CANCEL = "cancel"
    ERROR = "error"


ENDINGS = {
    "reverted": Ending.FAILURE,
    "inconclusive": Ending.FAILURE,
    "unproven": Ending.FAILURE,
    "returned": Ending.FAILURE,
    "interrupted": Ending.CANCEL,
    "superseded": Ending.CANCEL,
    "terminated": Ending.CANCEL,
    "refused": Ending.ERROR,
    "traffic_unknown": Ending.ERROR,
    "unexpected": Ending.ERROR,
    "usage": Ending.ERROR,
}
"""By outcome; what is not listed is a success."""


def ending(command: str, end: Result) -> Ending:
    """A revert that was asked for is a success."""
    if command == "revert" and end.outcome in ("reverted", "returned"):
        return Ending.SUCCESS
    return ENDINGS.get(end.outcome, Ending.SUCCESS)
