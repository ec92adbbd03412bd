"""Bodies in protobuf, as kubectl's own commands send them (`create`, `auth can-i`), for the few kinds they make.

The numbers are those of the fields in the `generated.proto` files of k8s.io/api. Only what those commands set
is listed; an object of another kind, or with another field that is not empty, is refused.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

from pipeline_step.sandbox.refusals import ApiError

Obj = dict[str, Any]
# Of each field: its name, and what it holds. `string`, `int`, `bool`, `bytes`, a map of one of them, or the
# name of a message; a trailing `[]` marks a list. A name of "" is read over.
Fields = dict[int, tuple[str, str]]

MEDIA = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_SKIP = ("", "")
_META: Fields = {
    1: ("name", "string"),
    2: ("generateName", "string"),
    3: ("namespace", "string"),
    4: _SKIP,
    5: _SKIP,
    6: _SKIP,
    7: _SKIP,
    8: _SKIP,
    11: ("labels", "map string"),
    12: ("annotations", "map string"),
    14: ("finalizers", "string[]"),
}
_ATTRIBUTES: Fields = {
    1: ("namespace", "string"),
    2: ("verb", "string"),
    3: ("group", "string"),
    4: ("version", "string"),
    5: ("resource", "string"),
    6: ("subresource", "string"),
    7: ("name", "string"),
}
_MESSAGES: dict[str, Fields] = {
    "Meta": _META,
    "Namespace": {1: ("metadata", "Meta"), 2: _SKIP, 3: _SKIP},
    "ConfigMap": {1: ("metadata", "Meta"), 2: ("data", "map string")},
    "Secret": {1: ("metadata", "Meta"), 2: ("data", "map bytes"), 3: ("type", "string")},
    "ServiceAccount": {1: ("metadata", "Meta")},
    "SelfSubjectAccessReview": {1: _SKIP, 2: ("spec", "Review"), 3: _SKIP},
    "Review": {1: ("resourceAttributes", "Attributes")},
    "Attributes": _ATTRIBUTES,
    "Deployment": {1: ("metadata", "Meta"), 2: ("spec", "DeploymentSpec"), 3: _SKIP},
    "DeploymentSpec": {
        1: ("replicas", "int"),
        2: ("selector", "Selector"),
        3: ("template", "Template"),
        4: _SKIP,
        5: _SKIP,
        7: _SKIP,
    },
    "Selector": {1: ("matchLabels", "map string")},
    "Template": {1: ("metadata", "Meta"), 2: ("spec", "PodSpec")},
    "PodSpec": {2: ("containers", "Container[]"), **dict.fromkeys((11, 12, 13, 14), _SKIP)},
    "Container": {
        1: ("name", "string"),
        2: ("image", "string"),
        3: ("command", "string[]"),
        4: ("args", "string[]"),
        5: _SKIP,
        6: ("ports", "Port[]"),
        8: _SKIP,
    },
    "Port": {1: ("name", "string"), 2: _SKIP, 3: ("containerPort", "int"), 4: ("protocol", "string"), 5: _SKIP},
}
_TYPE: Fields = {1: ("apiVersion", "string"), 2: ("kind", "string")}
_UNKNOWN: Fields = {1: ("type", "Type"), 2: ("raw", "raw"), 3: _SKIP, 4: _SKIP}
_ENVELOPE = {"Unknown": _UNKNOWN, "Type": _TYPE}


def decode(body: bytes) -> Obj:
    """The object in a protobuf body; 415 for one that is not understood."""
    try:
        if not body.startswith(_MAGIC):
            raise KeyError("magic")
        envelope = _message("Unknown", body[len(_MAGIC) :])
        kind = envelope["type"]["kind"]
        return {**envelope["type"], **_message(kind, envelope["raw"])}
    except (KeyError, IndexError, UnicodeDecodeError) as error:
        message = (
            "the body of the request was in an unknown format - accepted media types include: "
            "application/json, application/yaml (and protobuf for the simplest objects)"
        )
        raise ApiError(415, "UnsupportedMediaType", message) from error


def _message(name: str, data: bytes) -> Obj:
    fields = _ENVELOPE.get(name) or _MESSAGES[name]
    made: Obj = {}
    for number, value in _wire(data):
        key, kind = fields.get(number, _SKIP) if value in (b"", 0) else fields[number]
        if not key:
            continue
        if kind.startswith("map "):
            pair = dict(_wire(value))
            made.setdefault(key, {})[pair.get(1, b"").decode()] = _value(kind[4:], pair.get(2, b""))
        elif kind.endswith("[]"):
            made.setdefault(key, []).append(_value(kind[:-2], value))
        else:
            read = _value(kind, value)
            if read not in ("", {}):
                made[key] = read
    return made


def _value(kind: str, value: Any) -> Any:
    if kind == "string":
        return value.decode()
    if kind == "bytes":
        return base64.b64encode(value).decode()
    if kind == "bool":
        return bool(value)
    return value if kind in ("int", "raw") else _message(kind, value)


def _wire(data: bytes) -> Iterator[tuple[int, Any]]:
    """Field numbers with their values: an int of a varint, bytes of what has a length."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        size, at = _varint(data, at)
        if tag & 7 == 0:
            yield tag >> 3, size
        elif tag & 7 == 2:
            yield tag >> 3, data[at : at + size]
            at += size
        else:
            raise KeyError(tag)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at
