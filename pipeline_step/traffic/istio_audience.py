"""Istio: previews for matching requests only, and for copies of requests. Pure.

https://istio.io/latest/docs/reference/config/networking/virtual-service/#HTTPMatchRequest
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

from pipeline_step.errors import ConfigError
from pipeline_step.model import Object, Ref
from pipeline_step.traffic import audience
from pipeline_step.traffic import istio_hosts as hosts
from pipeline_step.traffic.audience import Match
from pipeline_step.traffic.weighted import Key


def narrowed(ref: Ref, route: Object, match: Match) -> Object:
    """A copy of the route that takes only the requests of the route's that also match."""
    headers = {name.lower(): {"exact": value} for name, value in match.headers.items()}
    if match.cookie:
        headers["cookie"] = {"regex": match.cookie}
    query = {name: {"exact": value} for name, value in match.query.items()}
    conditions = []
    for condition in route.get("match") or [{}]:
        theirs = {**(condition.get("headers") or {})}, {**(condition.get("queryParams") or {})}
        audience.merged(str(ref), theirs[0], headers)
        audience.merged(str(ref), theirs[1], query)
        more = {"headers": {**theirs[0], **headers}, "queryParams": {**theirs[1], **query}}
        conditions.append({**copy.deepcopy(condition), **{key: value for key, value in more.items() if value}})
    return {**copy.deepcopy(route), "name": audience.OURS, "match": conditions}


def mirror(ref: Ref, routed: Object, route: Object, wanted: Mapping[Key, int]) -> None:
    """Have the route of the object at `ref` mirror its requests to these, each its percentage, in place."""
    if route.get("mirror") and wanted:
        raise ConfigError(f"{ref}: the route mirrors to one host by `mirror` already; write it under `mirrors`")
    entries = {
        key: {"destination": hosts.entry(key, 0)["destination"], "percentage": {"value": share}}
        for key, share in wanted.items()
        if share
    }
    had: list[Object] = route.get("mirrors") or []
    mirrors = audience.mirrored(routed, had, lambda entry: hosts.key(entry["destination"], ref.namespace), entries)
    if mirrors:
        route["mirrors"] = mirrors
    elif had:
        del route["mirrors"]
