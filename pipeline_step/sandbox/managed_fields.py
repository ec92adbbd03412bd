"""Who owns which field: sets of field paths, and the `managedFields` that carry them (FieldsV1).

A path is a tuple of segments as FieldsV1 writes them: `f:spec` for a field, `k:{"name":"app"}` for an item of
a keyed list, `v:"x"` for a member of a set. Lists without keys, and maps that are one value, are leaves.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipeline_step.sandbox.kinds import Kind
from pipeline_step.sandbox.list_types import Path, is_atomic_map, is_set, list_keys

Obj = dict[str, Any]
Fields = frozenset[Path]

_SERVERS = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "generation",
    "resourceVersion",
    "managedFields",
    "selfLink",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generateName",
)
# What every object has from the start, so that nobody made it.
_TEMPLATE: Obj = {"metadata": {}, "spec": {"containers": []}}
_BLANK: Obj = {"metadata": {}, "spec": {"template": _TEMPLATE, "strategy": {}}, "status": {}}
_META_ONLY: Obj = {"metadata": {}}
_UNOWNED = (("f:apiVersion",), ("f:kind",), *(("f:metadata", f"f:{name}") for name in _SERVERS))


@dataclass(frozen=True)
class Writer:
    """Who writes: the field manager, the version of the API that it speaks, and the subresource or ""."""

    manager: str
    api_version: str
    subresource: str = ""


def item_segment(item: Obj, keys: Path) -> str:
    """The segment of one item of a keyed list."""
    held = {key: item[key] for key in keys if key in item}
    if "protocol" in keys:
        held.setdefault("protocol", "TCP")
    return "k:" + json.dumps(held, separators=(",", ":"), sort_keys=True)


def fields_of(kind: Kind, obj: Obj) -> Fields:
    """Every leaf that the object sets, and the items of keyed lists themselves."""
    found: set[Path] = set()
    _collect(kind, obj, (), (), found)
    return frozenset(p for p in found if not any(p[: len(u)] == u for u in _UNOWNED))


def _collect(kind: Kind, node: Any, at: Path, names: Path, found: set[Path]) -> None:
    if isinstance(node, dict) and (node or not at) and not is_atomic_map(kind, names):
        for key, value in node.items():
            _collect(kind, value, (*at, f"f:{key}"), (*names, key), found)
        return
    if isinstance(node, list) and is_set(names):
        found.update((*at, f"v:{json.dumps(item)}") for item in node)
        return
    keys = list_keys(kind, names) if isinstance(node, list) else None
    if not keys or not all(isinstance(item, dict) for item in node):
        found.add(at)
        return
    for item in node:
        segment = (*at, item_segment(item, keys))
        found.add(segment)
        _collect(kind, item, segment, names, found)


def parents_of(kind: Kind, obj: Obj) -> Fields:
    """The maps and lists that hold those leaves: owned by who first made them."""
    found = {leaf[:size] for leaf in fields_of(kind, obj) for size in range(1, len(leaf))}
    return frozenset(path for path in found if path not in _UNOWNED)


def read(kind: Kind, obj: Obj, path: Path) -> Any:
    """The value that the object holds at a path; a missing one is `...`."""
    node: Any = obj
    for segment in path:
        mark, text = segment[:2], segment[2:]
        if mark == "f:":
            node = node.get(text, ...) if isinstance(node, dict) else ...
        elif mark == "v:":
            node = json.loads(text) if isinstance(node, list) and json.loads(text) in node else ...
        else:
            wanted = json.loads(text)
            node = next((i for i in node or [] if matches(i, wanted)), ...) if isinstance(node, list) else ...
        if node is ...:
            return ...
    return node


def matches(item: Obj, wanted: Obj) -> bool:
    """Whether a list item has all these keys; a port without a protocol is TCP."""
    return all(item.get(key, "TCP" if key == "protocol" else None) == v for key, v in wanted.items())


def to_tree(fields: Fields) -> Obj:
    """FieldsV1: nested maps, `.` where a path is owned and has owned children."""
    tree: Obj = {}
    for path in sorted(fields):
        node = tree
        for segment in path:
            node = node.setdefault(segment, {})
        node["."] = {}
    return _without_lone_dots(tree)


def _without_lone_dots(node: Obj) -> Obj:
    if set(node) == {"."}:
        return {}
    return {key: _without_lone_dots(value) for key, value in node.items()}


def from_tree(tree: Obj, at: Path = ()) -> Fields:
    """The paths of a FieldsV1."""
    found: set[Path] = set()
    for key, value in tree.items():
        if key == ".":
            found.add(at)
        elif not value:
            found.add((*at, key))
        else:
            found |= from_tree(value, (*at, key))
    return frozenset(found)


def entry(writer: Writer, operation: str, fields: Fields) -> Obj:
    """One entry of managedFields, of now."""
    made: Obj = {
        "manager": writer.manager,
        "operation": operation,
        "apiVersion": writer.api_version,
        "time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "fieldsType": "FieldsV1",
        "fieldsV1": to_tree(fields),
    }
    return {**made, "subresource": writer.subresource} if writer.subresource else made


def key_of(found: Obj) -> tuple[str, str, str, str]:
    """What tells two entries apart: manager, operation, version and subresource."""
    return found["manager"], found["operation"], found["apiVersion"], found.get("subresource", "")


def replace_entry(entries: list[Obj], new: Obj, taken: Fields) -> list[Obj]:
    """The entries with `new` in its place, and the `taken` fields removed from all others."""
    kept = []
    placed = False
    for found in entries:
        if key_of(found) == key_of(new):
            placed = True
            if new["fieldsV1"]:
                kept.append(found if found["fieldsV1"] == new["fieldsV1"] else new)
            continue
        left = without(from_tree(found["fieldsV1"]), taken)
        if left:
            kept.append({**found, "fieldsV1": to_tree(left)})
    return kept if placed or not new["fieldsV1"] else [*kept, new]


def without(fields: Fields, taken: Fields) -> Fields:
    """The fields less those taken."""
    return fields - taken


def record_update(kind: Kind, old: Obj | None, new: Obj, writer: Writer) -> None:
    """Give the fields that a plain write changed to its writer, in place in `new`.

    A write may carry managedFields of its own; an empty list forgets all owners.
    """
    before = (old or {}).get("metadata", {}).get("managedFields") or []
    entries: list[Obj] = new["metadata"].get("managedFields", before) or []
    entries = [found for found in entries if found]
    compared = old or (_BLANK if kind.typed else _META_ONLY)
    now, was = fields_of(kind, new), fields_of(kind, old) if old else frozenset()
    changed = {p for p in now if read(kind, compared, p) is ... or (p in was and _differs(kind, compared, new, p))}
    changed |= {p for p in parents_of(kind, new) if read(kind, compared, p) is ...}
    gone = was - now
    if changed or gone:
        mine = next((e for e in entries if key_of(e) == key_of(entry(writer, "Update", frozenset()))), None)
        held = from_tree(mine["fieldsV1"]) if mine else frozenset()
        owned = frozenset(changed) | {p for p in held if read(kind, new, p) is not ...}
        made = entry(writer, "Update", owned)
        entries = replace_entry(entries, made, gone | frozenset(changed))
    if entries:
        new["metadata"]["managedFields"] = entries


def _differs(kind: Kind, old: Obj, new: Obj, path: Path) -> bool:
    return not path[-1].startswith("k:") and read(kind, old, path) != read(kind, new, path)
