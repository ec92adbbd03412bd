"""Pure: freezes, which hold back every increase and promotion on a target until they end or are overridden by name.

Those of the configuration have a time; those that a person sets stand in an annotation on the routed object, where
they are seen in the same read as the weights.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated

import msgspec

from pipeline_step.errors import ConfigError
from pipeline_step.model import Object
from pipeline_step.settings import Strict, says

ANNOTATION = "pipeline-step.dev/freezes"
MANUAL = "manual"


class Freeze(Strict, frozen=True):
    """A named time in which nothing is increased; times have an offset or a Z."""

    name: Annotated[str, says("what --override names it by")]
    reason: Annotated[str, says("why, for whoever is refused")]
    start: Annotated[datetime, says("when it begins, with an offset or a Z")]
    end: Annotated[datetime, says("when it ends, likewise")]

    def __post_init__(self) -> None:
        for key in ("start", "end"):
            if getattr(self, key).tzinfo is None:
                raise ValueError(f"{key} needs an offset, such as 2026-12-24T00:00:00Z")
        if self.end <= self.start:
            raise ValueError(f"freeze {self.name!r} ends before it starts")


class Manual(msgspec.Struct, frozen=True, kw_only=True):
    """A freeze that a person has set."""

    reason: str
    by: str
    since: float


def frozen(routed: Object, configured: Iterable[Freeze], overrides: Iterable[str], now: float) -> str:
    """The first freeze in force that no override names, in words; "" where there is none."""
    passed = set(overrides)
    return next((words for name, words in in_force(routed, configured, now).items() if name not in passed), "")


def in_force(routed: Object, configured: Iterable[Freeze], now: float) -> dict[str, str]:
    """Every freeze in force, in words, by its name. `now` in seconds since 1970."""
    manual = {name: f"frozen by {one.by} ({name}): {one.reason}" for name, one in read(routed).items()}
    timed = {
        freeze.name: f"frozen until {freeze.end.isoformat()} ({freeze.name}): {freeze.reason}"
        for freeze in configured
        if freeze.start.timestamp() <= now < freeze.end.timestamp()
    }
    return manual | timed


def read(routed: Object) -> dict[str, Manual]:
    """The freezes that people have set on an object, by name."""
    text = (routed["metadata"].get("annotations") or {}).get(ANNOTATION)
    if text is None:
        return {}
    try:
        return msgspec.json.decode(text, type=dict[str, Manual])
    except msgspec.MsgspecError as error:
        metadata = routed["metadata"]
        where = f"{routed.get('kind', 'object')} {metadata.get('namespace')}/{metadata['name']}"
        raise ConfigError(f"{where}: annotation {ANNOTATION} can't be read ({error}); delete it") from error


def write(routed: Object, freezes: Mapping[str, Manual]) -> Object:
    """A copy of the object that bears exactly these."""
    changed = copy.deepcopy(routed)
    metadata = changed["metadata"]
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if key != ANNOTATION}
    if freezes:
        annotations[ANNOTATION] = json.dumps(msgspec.to_builtins(dict(freezes)), separators=(",", ":"))
    metadata["annotations"] = annotations
    if not annotations:
        del metadata["annotations"]
    return changed
