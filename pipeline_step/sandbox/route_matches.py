"""The conditions of a VirtualService's http route as Envoy's route matches. Pure."""

from __future__ import annotations

from typing import Any

Obj = dict[str, Any]


def _string(match: Obj) -> Obj:
    if "regex" in match:
        return {"safe_regex": {"regex": match["regex"]}}
    return {key: match[key] for key in ("exact", "prefix") if key in match}


def match_of(match: Obj) -> Obj:
    """Envoy's match for one HTTPMatchRequest."""
    uri = match.get("uri") or {}
    if "exact" in uri:
        made: Obj = {"path": uri["exact"]}
    elif "regex" in uri:
        made = {"safe_regex": {"regex": uri["regex"]}}
    else:
        made = {"prefix": uri.get("prefix", "/")}
    if match.get("ignoreUriCase"):
        made["case_sensitive"] = False
    headers = [_header(name, value) for name, value in (match.get("headers") or {}).items()]
    for name, value in (match.get("withoutHeaders") or {}).items():
        headers.append({**_header(name, value), "invert_match": True, "treat_missing_header_as_empty": True})
    pseudo = (("method", ":method"), ("authority", ":authority"), ("scheme", ":scheme"))
    headers += [_header(name, match[key]) for key, name in pseudo if match.get(key)]
    if headers:
        made["headers"] = headers
    queries = [_query(name, value) for name, value in (match.get("queryParams") or {}).items()]
    if queries:
        made["query_parameters"] = queries
    return made


def _header(name: str, value: Obj | None) -> Obj:
    given = _string(value or {})
    return {"name": name, "string_match": given} if given else {"name": name, "present_match": True}


def _query(name: str, value: Obj | None) -> Obj:
    given = _string(value or {})
    return {"name": name, "string_match": given} if given else {"name": name, "present_match": True}
