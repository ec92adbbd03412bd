"""Weighted destinations: what all routers share whose route lists destinations with weights. Pure.

What the user's destinations weighed before the first preview stands in an annotation on the routed object, beside
what we set them to and what we added. So the last preview to leave gives the route back as it was, and a change that
the user made in mid-rollout is recognised and becomes the state to go back to.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from pipeline_step.errors import ConfigError
from pipeline_step.model import Backend, Object
from pipeline_step.traffic.shares import apportion, rest


class Key(NamedTuple):
    """What tells one destination of a route from another; the host is the full name where it is a Service."""

    host: str
    port: int = 0
    subset: str = ""


class Memory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The user's destinations with their weights before the first preview, what we set them to, what we added."""

    before: list[tuple[Key, int | float | None]]
    set: list[int | float | None]
    added: list[Key]


@dataclass(frozen=True, kw_only=True, slots=True)
class Notation:
    """How one kind of route writes its weighted destinations.

    `numbers` gives the effective relative weights of what is declared (None: no weight given), `entry` a destination
    that is added.
    """

    annotation: str
    numbers: Callable[[Sequence[float | None]], list[int]]
    entry: Callable[[Key, int], Object]


def percentages(notation: Notation, destinations: Sequence[Object]) -> list[int]:
    """The percentage that each destination has, in whole numbers that sum to 100."""
    return apportion(notation.numbers([destination.get("weight") for destination in destinations]), 100)


def hundredths(weights: Sequence[float]) -> list[int]:
    """Relative weights as whole numbers in the same proportion; of fractions two decimals count."""
    if all(weight == int(weight) for weight in weights):
        return [int(weight) for weight in weights]
    return [round(100 * weight) for weight in weights]


def by_backend(found: Sequence[tuple[Backend | None, int]]) -> dict[str, int]:
    """Percentages by SERVICE.NAMESPACE; what is no Service of the cluster is left out."""
    totals: dict[str, int] = {}
    for backend, weight in found:
        if backend is not None:
            totals[str(backend)] = totals.get(str(backend), 0) + weight
    return totals


def preview_key(preview: Backend, stable: Backend, keys: Sequence[Key]) -> Key:
    """The preview listens where stable does unless it says otherwise."""
    stables = next((key.port for key in keys if key.host == stable.host and key.port), 0)
    return Key(preview.host, preview.port or stables, preview.subset or "")


def share_out(
    notation: Notation, routed: Object, destinations: list[Object], keys: Sequence[Key], wanted: Mapping[Key, int]
) -> list[Object]:
    """The route's destinations once each of `wanted` has its percentage; without any, the user's own.

    What is left goes to the user's destinations in their proportion. `keys` are those of `destinations`. Changes the
    destinations and the annotation on `routed` in place: the caller gives copies.
    """
    memory = _recall(notation, routed)
    added = set(memory.added) if memory else set()
    theirs = [(key, d) for key, d in zip(keys, destinations, strict=True) if key not in added]
    ours = {key: d for key, d in zip(keys, destinations, strict=True) if key in added}
    before = _before(notation, theirs, memory, intact=len(theirs) == len(destinations))
    wanted = {key: share for key, share in wanted.items() if share}
    if wanted:
        _scale(notation, theirs, before, wanted)
    else:
        for (_, destination), weight in zip(theirs, before, strict=True):
            _set_weight(destination, weight)

    new = [key for key in wanted if key not in keys or key in added]
    remembered = Memory(
        before=[(key, weight) for (key, _), weight in zip(theirs, before, strict=True)],
        set=[destination.get("weight") for _, destination in theirs],
        added=new,
    )
    _remember(notation, routed, remembered if wanted else None)
    # Ours that are there stay as the API server has completed them.
    entries = [{**ours.get(key, notation.entry(key, wanted[key])), "weight": wanted[key]} for key in new]
    return [d for _, d in theirs] + entries


def _scale(
    notation: Notation, theirs: list[tuple[Key, Object]], before: Sequence[float | None], wanted: Mapping[Key, int]
) -> None:
    """Give the user's destinations what the previews leave; one that is a preview itself gets the preview's share."""
    base = notation.numbers(before)
    scaled = [index for index, (key, _) in enumerate(theirs) if key not in wanted]
    left = apportion([base[index] for index in scaled], rest(list(wanted.values())))
    set_to = dict(zip(scaled, left, strict=True))
    unset = dict(wanted)
    for index, (key, destination) in enumerate(theirs):
        destination["weight"] = set_to[index] if index in set_to else unset.pop(key, 0)


def _before(
    notation: Notation, theirs: list[tuple[Key, Object]], memory: Memory | None, *, intact: bool
) -> list[float | None]:
    """What the user's destinations weigh without previews: as remembered, unless the user changed them since.

    `intact` says that none of the destinations we added is there (any more).
    """
    now = [destination.get("weight") for _, destination in theirs]
    if memory is None:
        return now
    if [key for key, _ in theirs] == [key for key, _ in memory.before] and now == memory.set:
        return [weight for _, weight in memory.before]
    return now if intact else list(apportion(notation.numbers(now), 100))


def _set_weight(destination: Object, weight: float | None) -> None:
    if weight is None:
        destination.pop("weight", None)
    else:
        destination["weight"] = weight


def _recall(notation: Notation, routed: Object) -> Memory | None:
    metadata = routed["metadata"]
    text = (metadata.get("annotations") or {}).get(notation.annotation)
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=Memory)
    except msgspec.MsgspecError as error:
        raise ConfigError(
            f"{routed.get('kind', 'object')} {metadata.get('namespace')}/{metadata['name']}: annotation "
            f"{notation.annotation} can't be read ({error}); "
            "restore the route's own weights from Git and delete the annotation"
        ) from error


def _remember(notation: Notation, routed: Object, memory: Memory | None) -> None:
    text = json.dumps(msgspec.to_builtins(memory), separators=(",", ":")) if memory else None
    annotate(routed, notation.annotation, text)


def annotate(obj: Object, key: str, text: str | None) -> None:
    """Set an annotation, or with None remove it, in place; no empty mapping is left behind."""
    metadata = obj["metadata"]
    annotations = metadata.get("annotations") or {}
    annotations.pop(key, None)
    if text is not None:
        annotations[key] = text
    if annotations:
        metadata["annotations"] = annotations
    else:
        metadata.pop("annotations", None)
