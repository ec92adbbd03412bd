"""The patch formats: JSON merge patch (RFC 7386), JSON patch (RFC 6902) and strategic merge patch.

All are pure: the object given is not changed, and a patch that does not fit is a refusal.
"""

from __future__ import annotations

import copy
from typing import Any

from pipeline_step.sandbox import refusals
from pipeline_step.sandbox.kinds import Kind
from pipeline_step.sandbox.list_types import Path, is_set, patch_key

Obj = dict[str, Any]


def merge(target: Any, patch: Any) -> Any:
    """RFC 7386: maps merge, null removes, everything else replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def json_patch(target: Obj, operations: list[Obj]) -> Any:
    """RFC 6902: add, remove, replace, move, copy and test, in order, all or nothing."""
    document: Any = copy.deepcopy(target)
    for operation in operations:
        document = _operate(document, operation)
    return document


def _operate(document: Any, operation: Obj) -> Any:
    name, path = operation.get("op"), _pointer(operation.get("path", ""))
    if name in ("move", "copy"):
        source = _pointer(operation.get("from", ""))
        value = copy.deepcopy(_read(document, source))
        if name == "move":
            document = _remove(document, source)
        return _add(document, path, value)
    if name == "test":
        if _read(document, path) != operation.get("value"):
            shown = operation.get("path")
            raise _unprocessable(f"testing path '{shown}' failed: the server rejected our request")
        return document
    if name == "add":
        return _add(document, path, operation.get("value"))
    if name == "remove":
        return _remove(document, path)
    if name == "replace":
        _read(document, path)
        return _add(_remove(document, path), path, operation.get("value")) if path else operation.get("value")
    raise refusals.bad_request(f"unknown JSON patch operation {name!r}")


def _unprocessable(message: str) -> refusals.ApiError:
    return refusals.ApiError(
        422, "Invalid", f"the server rejected our request due to an error in our request: {message}", {}
    )


def _pointer(text: str) -> list[str]:
    if text and not text.startswith("/"):
        raise refusals.bad_request(f"JSON pointer {text!r} must start with '/'")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _step(node: Any, part: str) -> Any:
    try:
        return node[int(part)] if isinstance(node, list) else node[part]
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise _unprocessable(f"path {part!r} is not there") from error


def _read(document: Any, path: list[str]) -> Any:
    for part in path:
        document = _step(document, part)
    return document


def _add(document: Any, path: list[str], value: Any) -> Any:
    if not path:
        return value
    parent = _read(document, path[:-1])
    if isinstance(parent, list):
        if path[-1] != "-" and (not path[-1].isdigit() or int(path[-1]) > len(parent)):
            raise _unprocessable(f"{path[-1]!r} is no place in the list")
        at = len(parent) if path[-1] == "-" else int(path[-1])
        parent.insert(at, value)
    elif isinstance(parent, dict):
        parent[path[-1]] = value
    else:
        raise _unprocessable(f"nothing can be added below {path[-2]!r}")
    return document


def _remove(document: Any, path: list[str]) -> Any:
    if not path:
        raise _unprocessable("the whole object cannot be removed")
    parent = _read(document, path[:-1])
    _step(parent, path[-1])
    if isinstance(parent, list):
        del parent[int(path[-1])]
    else:
        del parent[path[-1]]
    return document


def strategic(kind: Kind, target: Any, patch: Obj, path: Path = ()) -> Any:
    """A strategic merge patch: lists with a merge key merge item by item; `$patch`, `$retainKeys`,
    `$setElementOrder/...` and `$deleteFromPrimitiveList/...` are followed."""
    mode = patch.get("$patch")
    if mode == "replace":
        return {key: copy.deepcopy(value) for key, value in patch.items() if key != "$patch"}
    if mode == "delete":
        return {}
    merged = dict(target) if isinstance(target, dict) else {}
    retain = patch.get("$retainKeys")
    if retain is not None:
        merged = {key: value for key, value in merged.items() if key in retain}
    for key, value in patch.items():
        if key.startswith("$deleteFromPrimitiveList/"):
            field = key.partition("/")[2]
            merged[field] = [item for item in merged.get(field) or [] if item not in value]
        elif not key.startswith("$"):
            _strategic_field(kind, merged, patch, key, (*path, key))
    for key, order in patch.items():
        if key.startswith("$setElementOrder/"):
            field = key.partition("/")[2]
            merged[field] = _ordered(merged.get(field) or [], order, patch_key(kind, (*path, field)))
    return merged


def _strategic_field(kind: Kind, merged: Obj, patch: Obj, key: str, path: Path) -> None:
    value = patch[key]
    if value is None:
        merged.pop(key, None)
    elif isinstance(value, dict):
        merged[key] = strategic(kind, merged.get(key), value, path)
    elif isinstance(value, list) and is_set(path):
        held = merged.get(key) or []
        merged[key] = [*held, *(item for item in value if item not in held)]
    elif isinstance(value, list) and (name := patch_key(kind, path)):
        merged[key] = _strategic_list(kind, merged.get(key) or [], value, name, path)
    else:
        merged[key] = copy.deepcopy(value)


def _strategic_list(kind: Kind, held: list[Obj], items: list[Obj], name: str, path: Path) -> list[Obj]:
    if any(item.get("$patch") == "replace" for item in items):
        return [copy.deepcopy(item) for item in items if "$patch" not in item]
    merged = list(held)
    for item in items:
        if name not in item:
            raise refusals.bad_request(f"map: {item} does not contain declared merge key: {name}")
        at = next((i for i, found in enumerate(merged) if found.get(name) == item[name]), None)
        if item.get("$patch") == "delete":
            merged = [found for found in merged if found.get(name) != item[name]]
        elif at is None:
            merged.append(strategic(kind, {}, item, path))
        else:
            merged[at] = strategic(kind, merged[at], item, path)
    return merged


def _ordered(items: list[Any], order: list[Any], name: str | None) -> list[Any]:
    """Items in the wanted order; those that it does not name keep their place after their neighbour."""
    keys = [item.get(name) if name and isinstance(item, dict) else item for item in items]
    wanted = [entry.get(name) if name and isinstance(entry, dict) else entry for entry in order]
    named = sorted((key for key in keys if key in wanted), key=wanted.index)
    turn = iter(named)
    places = [next(turn) if key in wanted else key for key in keys]
    return [items[keys.index(key)] for key in places]
