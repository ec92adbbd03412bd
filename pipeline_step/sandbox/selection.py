"""Label and field selectors of list and watch."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from pipeline_step.sandbox import refusals

Obj = dict[str, Any]
Matcher = Callable[[Obj], bool]

_TERM = re.compile(
    r"\s*(?:(?P<key>[^\s!=,()]+)\s+(?P<in>in|notin)\s*\((?P<values>[^)]*)\)"
    r"|(?P<eq>[^\s!=,()]+)\s*(?P<op>==|=|!=)\s*(?P<value>[^\s,()]*)"
    r"|(?P<absent>!)?\s*(?P<exists>[^\s!=,()]+))\s*(?:,|$)"
)


def labels(selector: str) -> Matcher:
    """A matcher for a label selector: `a=b`, `a!=b`, `a in (b,c)`, `a notin (b)`, `a`, `!a`."""
    terms: list[Callable[[Obj], bool]] = []
    at = 0
    while at < len(selector):
        match = _TERM.match(selector, at)
        if not match:
            raise refusals.bad_request(f"unable to parse requirement: found '{selector[at:]}'")
        terms.append(_term(match))
        at = match.end()
    return lambda obj: all(term(obj["metadata"].get("labels") or {}) for term in terms)


def _term(match: re.Match[str]) -> Callable[[Obj], bool]:
    if match["in"]:
        key, values = match["key"], {value.strip() for value in match["values"].split(",")}
        if match["in"] == "in":
            return lambda held: held.get(key) in values
        return lambda held: held.get(key) not in values
    if match["op"]:
        key, value = match["eq"], match["value"]
        if match["op"] == "!=":
            return lambda held: held.get(key) != value
        return lambda held: held.get(key) == value
    name = match["exists"]
    if match["absent"]:
        return lambda held: name not in held
    return lambda held: name in held


def fields(selector: str) -> Matcher:
    """A matcher for a field selector: `metadata.name=x`, `status.phase!=Running`, joined by commas."""
    wanted: list[tuple[str, bool, str]] = []
    for term in filter(None, selector.split(",")):
        match = re.fullmatch(r"([^!=]+)(==|=|!=)(.*)", term)
        if not match:
            raise refusals.bad_request(f"invalid selector: '{selector}'; can't understand '{term}'")
        wanted.append((match[1], match[2] != "!=", match[3]))
    return lambda obj: all((_field(obj, path) == value) is same for path, same, value in wanted)


def _field(obj: Obj, path: str) -> str:
    node: Any = obj
    for part in path.split("."):
        node = node.get(part) if isinstance(node, dict) else None
    return "" if node is None else str(node)


def matches(selector: Obj, held: Obj) -> bool:
    """Whether labels satisfy a LabelSelector object (`matchLabels` and `matchExpressions`)."""
    for key, value in (selector.get("matchLabels") or {}).items():
        if held.get(key) != value:
            return False
    for term in selector.get("matchExpressions") or []:
        key, values = term["key"], term.get("values") or []
        truth = {
            "In": held.get(key) in values,
            "NotIn": held.get(key) not in values,
            "Exists": key in held,
            "DoesNotExist": key not in held,
        }
        if not truth[term["operator"]]:
            return False
    return True
