"""Routers: what splits the requests between stable and previews. One module each, in a visible table.

A router's functions are pure: they take the objects that were read and give the objects to write. Its `Settings`
are what the user writes under `traffic: NAME:` in the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from pipeline_step.model import Backend, Change, Object, Ref, Target
from pipeline_step.traffic import istio

Objects = Mapping[Ref, Object]
Shares = Mapping[Backend, int]


class Router(Protocol):
    """What a router's module offers. Every function raises `ConfigError` where the route can't be told."""

    @property
    def Settings(self) -> type:  # noqa: N802
        """What the user writes below the router's name in the configuration."""

    def resources(self, target: Target, objects: Objects) -> list[Ref]:
        """The objects to read, given those read so far; asked again until nothing is missing."""

    def routed(self, target: Target, objects: Objects) -> Ref:
        """The one object that carries the weights and so the record."""

    def weights(self, target: Target, objects: Objects) -> dict[str, int]:
        """The percentage that each destination of the route has now, by SERVICE.NAMESPACE."""

    def plan(self, target: Target, objects: Objects, shares: Shares) -> list[Change]:
        """The writes that give each preview its percentage; an empty `shares` restores the user's own route."""

    def needs(self, target: Target, objects: Objects) -> list[Ref]:
        """Other objects that the route names and that must exist for it to route anything."""


ROUTERS: dict[str, Router] = {
    "istio": istio,
}
