"""Matches of HTTPRoutes and GRPCRoutes as Envoy's, each with its rank: the more specific one is asked first. Pure."""

from __future__ import annotations

from typing import Any

Obj = dict[str, Any]
Rank = tuple[int, int, int, int, int]
"""Exact path, longest path, method, most headers, most query parameters; smaller comes first."""


def http(match: Obj) -> tuple[Rank, Obj]:
    """An HTTPRoute's match."""
    path = match.get("path") or {"type": "PathPrefix", "value": "/"}
    value, kind = path["value"], path["type"]
    if kind == "Exact":
        made: Obj = {"path": value}
    elif kind == "RegularExpression":
        made = {"safe_regex": {"regex": value}}
    elif value == "/":
        made = {"prefix": "/"}
    else:
        made = {"path_separated_prefix": value.rstrip("/")}
    headers = [_string(header) for header in match.get("headers") or []]
    if match.get("method"):
        headers.append({"name": ":method", "string_match": {"exact": match["method"]}})
    if headers:
        made["headers"] = headers
    queries = [_string(query) for query in match.get("queryParams") or []]
    if queries:
        made["query_parameters"] = queries
    return (kind != "Exact", -len(value), "method" not in match, -len(headers), -len(queries)), made


def grpc(match: Obj) -> tuple[Rank, Obj]:
    """A GRPCRoute's match: gRPC's paths are /SERVICE/METHOD."""
    method = match.get("method") or {}
    service, name = method.get("service") or "", method.get("method") or ""
    if service and name:
        made: Obj = {"path": f"/{service}/{name}"}
    elif name:
        made = {"safe_regex": {"regex": f"/[^/]+/{name}"}}
    else:
        made = {"prefix": f"/{service}/" if service else "/"}
    headers = [_string(header) for header in match.get("headers") or []]
    if headers:
        made["headers"] = headers
    return (not (service and name), -len(service), not name, -len(headers), 0), made


def _string(wanted: Obj) -> Obj:
    if wanted.get("type") == "RegularExpression":
        return {"name": wanted["name"], "string_match": {"safe_regex": {"regex": wanted["value"]}}}
    return {"name": wanted["name"], "string_match": {"exact": wanted["value"]}}
