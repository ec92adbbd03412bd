"""Routers: what splits the requests between stable and previews. One module each, in a visible table.

A router's functions are pure: they take the objects that were read and give the objects to write. Its `Settings`
are what the user writes under `traffic: NAME:` in the configuration.
"""

from __future__ import annotations

from pipeline_step.traffic import gateway_api, istio, pods
from pipeline_step.traffic.interface import Need, Objects, Room, Router, Shares

__all__ = ["ROUTERS", "Need", "Objects", "Room", "Router", "Shares"]

ROUTERS: dict[str, Router] = {
    "gateway_api": gateway_api,
    "istio": istio,
    "pods": pods,
}
