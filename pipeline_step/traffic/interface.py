"""What every router offers: pure functions from the objects that were read to the objects to write."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from pipeline_step.model import Backend, Change, Object, Permission, Ref, Target

Objects = Mapping[Ref, Object]
Shares = Mapping[Backend, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """Something that has to exist for requests to get there: the object `ref`, or any of that list that `fits`.

    `why` says who needs it, and `remedy` what to do where it is missing.
    """

    ref: Ref
    why: str
    remedy: str
    fits: Callable[[Object], bool] = lambda _: True


class Room(NamedTuple):
    """The capacity for a share: what to write to get it, and what is still missing in words ("" for nothing)."""

    changes: list[Change]
    missing: str


class Router(Protocol):
    """What a router's module offers. Every function raises `ConfigError` where the route can't be told.

    `objects` are those of `resources` as they were read; a `Ref` with `labels` and no name stands for a list, whose
    objects are under `items`. `previews` are those that have, or are about to get, a share.
    """

    @property
    def Settings(self) -> type:  # noqa: N802
        """What the user writes below the router's name in the configuration."""

    def resources(self, target: Target, objects: Objects, previews: Collection[Backend] = ()) -> list[Ref]:
        """The objects to read, given those read so far; asked again until nothing is missing."""

    def routed(self, target: Target, objects: Objects) -> Ref:
        """The one object that carries the record, and where the route has weights also these."""

    def weights(self, target: Target, objects: Objects) -> dict[str, int]:
        """The percentage that each destination of the route has now, by SERVICE.NAMESPACE."""

    def plan(self, target: Target, objects: Objects, shares: Shares) -> list[Change]:
        """The writes, in their order, that give each preview its percentage.

        An empty `shares` restores the user's own route. The routed object is among them, changed or not.
        """

    def needs(self, target: Target, objects: Objects, previews: Collection[Backend]) -> list[Need]:
        """What else has to exist before a preview may get requests."""

    def permissions(self, target: Target, objects: Objects, previews: Collection[Backend]) -> list[Permission]:
        """What the account has to be allowed, given the objects that could be read."""

    def unreachable(self, target: Target, objects: Objects, shares: Shares) -> str:
        """Why the route can't give exactly these percentages, and which are near; "" where it can."""

    def room(self, target: Target, objects: Objects, shares: Shares) -> Room:
        """The capacity that these percentages take, to be had before `plan` is acted upon."""

    def settled(self, target: Target, objects: Objects) -> str:
        """Why the data plane does not follow the route yet; "" when it does, or says nothing about it.

        Raises `NotReady` where it has refused the route.
        """


def any_percentage(target: Target, objects: Objects, shares: Shares) -> str:
    """`unreachable` of a router that can give every whole percentage."""
    return ""


def no_room_needed(target: Target, objects: Objects, shares: Shares) -> Room:
    """`room` of a router that leaves the capacity to others."""
    return Room([], "")


def says_nothing(target: Target, objects: Objects) -> str:
    """`settled` of a router whose data plane reports nothing."""
    return ""
