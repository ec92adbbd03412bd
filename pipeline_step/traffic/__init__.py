"""Routers: what splits the requests between stable and previews. One module each, in a visible table.

A router's functions are pure: they take the objects that were read and give the objects to write. Its `Settings`
are what the user writes under `traffic: NAME:` in the configuration.
"""

from __future__ import annotations

from pipeline_step.traffic import (
    apisix,
    aws_alb,
    consul,
    contour,
    gateway_api,
    gloo,
    istio,
    knative,
    kuma,
    nginx,
    openshift,
    pods,
    skipper,
    smi,
    traefik,
)
from pipeline_step.traffic.interface import Need, Objects, Room, Router, Shares

__all__ = ["ROUTERS", "Need", "Objects", "Room", "Router", "Shares"]

ROUTERS: dict[str, Router] = {
    "apisix": apisix,
    "aws_alb": aws_alb,
    "consul": consul,
    "contour": contour,
    "gateway_api": gateway_api,
    "gloo": gloo,
    "istio": istio,
    "knative": knative,
    "kuma": kuma,
    "nginx": nginx,
    "openshift": openshift,
    "pods": pods,
    "skipper": skipper,
    "smi": smi,
    "traefik": traefik,
}
