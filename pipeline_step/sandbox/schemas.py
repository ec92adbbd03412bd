"""The types of the fields of Istio's objects that the sandbox reads, checked as their CRDs' schemas do.

A schema is a type (str, int, bool or dict for any map), a list of one schema, or a map of field names to
schemas; a name that ends in `!` is required. Fields that are not listed are let through.
"""

from __future__ import annotations

from typing import Any

from pipeline_step.sandbox.kinds import DESTINATION_RULE, GATEWAY, SERVICE_ENTRY, VIRTUAL_SERVICE, Kind

Obj = dict[str, Any]
Schema = Any
Cause = tuple[str, str, str]

_DESTINATION = {"host!": str, "subset": str, "port": {"number": int}}
_ROUTE = [{"destination!": _DESTINATION, "weight": int, "headers": dict}]
_STRING = {"exact": str, "prefix": str, "regex": str}
_HTTP_MATCH = {
    "uri": _STRING,
    "method": _STRING,
    "authority": _STRING,
    "scheme": _STRING,
    "headers": dict,
    "withoutHeaders": dict,
    "queryParams": dict,
    "gateways": [str],
    "port": int,
}
_HTTP = {
    "name": str,
    "match": [_HTTP_MATCH],
    "route": _ROUTE,
    "delegate": {"name": str, "namespace": str},
    "timeout": str,
    "retries": {"attempts": int, "perTryTimeout": str, "retryOn": str},
    "mirror": _DESTINATION,
    "mirrors": [{"destination!": _DESTINATION}],
    "rewrite": {"uri": str, "authority": str},
    "redirect": {"uri": str, "authority": str, "redirectCode": int},
    "fault": {"abort": dict, "delay": dict},
    "headers": {"request": dict, "response": dict},
}
_L4_MATCH = {"port": int, "gateways": [str], "sniHosts": [str]}
_L4 = [{"match": [_L4_MATCH], "route": _ROUTE}]
_PORT = {"number!": int, "name!": str, "protocol!": str}
_SPECS: dict[Kind, Schema] = {
    VIRTUAL_SERVICE: {"hosts": [str], "gateways": [str], "http": [_HTTP], "tcp": _L4, "tls": _L4},
    GATEWAY: {"selector": dict, "servers": [{"port!": _PORT, "hosts!": [str]}]},
    DESTINATION_RULE: {"host!": str, "subsets": [{"name!": str, "labels": dict}]},
    SERVICE_ENTRY: {
        "hosts!": [str],
        "resolution": str,
        "ports": [{"number!": int, "name!": str, "protocol": str, "targetPort": int}],
        "endpoints": [{"address": str, "ports": dict}],
    },
}
_NAMES: dict[type, str] = {str: "string", int: "integer", bool: "boolean", dict: "object", list: "array"}


def check(kind: Kind, obj: Obj) -> list[Cause]:
    """What is wrong with the spec's types, as (field, reason, message); nothing for a kind without a schema."""
    schema = _SPECS.get(kind)
    if schema is None:
        return []
    return list(_check(schema, obj.get("spec", {}), "spec"))


def _check(schema: Schema, value: Any, path: str) -> list[Cause]:
    wanted: type = schema if isinstance(schema, type) else type(schema)
    fits = isinstance(value, wanted) and not (wanted is int and isinstance(value, bool))
    if not fits:
        given = "null" if value is None else _NAMES.get(type(value), "number")
        text = f'Invalid value: "{given}": {path} in body must be of type {_NAMES[wanted]}: "{given}"'
        return [(path, "FieldValueTypeInvalid", text)]
    if isinstance(schema, list):
        return [cause for at, item in enumerate(value) for cause in _check(schema[0], item, f"{path}[{at}]")]
    if not isinstance(schema, dict):
        return []
    found: list[Cause] = []
    for field, inner in schema.items():
        name, required = field.rstrip("!"), field.endswith("!")
        if name in value:
            found += _check(inner, value[name], f"{path}.{name}")
        elif required:
            found.append((f"{path}.{name}", "FieldValueRequired", "Required value"))
    return found
