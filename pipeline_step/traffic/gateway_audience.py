"""Gateway API: previews for matching requests only, and for copies of requests. Pure.

https://gateway-api.sigs.k8s.io/reference/api-spec/main/spec/#httproutematch
"""

from __future__ import annotations

import copy
from collections.abc import Mapping

from pipeline_step.model import Object, Ref
from pipeline_step.traffic import audience
from pipeline_step.traffic import gateway_references as references
from pipeline_step.traffic.audience import Match
from pipeline_step.traffic.weighted import Key


def narrowed(ref: Ref, rule: Object, match: Match) -> Object:
    """A copy of the rule that takes only the requests of the rule's that also match."""
    headers = [{"type": "Exact", "name": name, "value": value} for name, value in match.headers.items()]
    if match.cookie:
        headers.append({"type": "RegularExpression", "name": "cookie", "value": match.cookie})
    query = [{"type": "Exact", "name": name, "value": value} for name, value in match.query.items()]
    conditions = []
    for condition in rule.get("matches") or [{}]:
        theirs = condition.get("headers") or [], condition.get("queryParams") or []
        audience.merged(str(ref), [one["name"].lower() for one in theirs[0]], [one["name"].lower() for one in headers])
        audience.merged(str(ref), [one["name"] for one in theirs[1]], [one["name"] for one in query])
        more = {"headers": [*theirs[0], *headers], "queryParams": [*theirs[1], *query]}
        conditions.append({**copy.deepcopy(condition), **{key: value for key, value in more.items() if value}})
    return {**copy.deepcopy(rule), "name": audience.OURS, "matches": conditions}


def mirror(ref: Ref, routed: Object, rule: Object, wanted: Mapping[Key, int]) -> None:
    """Have the rule of the route at `ref` mirror its requests to these, each its percentage, in place."""
    entries = {key: _filter(key, share, ref.namespace) for key, share in wanted.items() if share}
    had: list[Object] = rule.get("filters") or []
    filters = audience.mirrored(routed, had, lambda one: _key(one, ref.namespace), entries)
    if filters:
        rule["filters"] = filters
    elif had:
        del rule["filters"]


def _filter(key: Key, share: int, namespace: str) -> Object:
    backend = references.entry(key, 0, namespace)
    del backend["weight"]
    return {"type": "RequestMirror", "requestMirror": {"backendRef": backend, "percent": share}}


def _key(one: Object, namespace: str) -> Key | None:
    return references.key(one["requestMirror"]["backendRef"], namespace) if "requestMirror" in one else None
