"""Server-side apply: a manager's wanted fields over the live object, with conflicts and removals."""

from __future__ import annotations

import copy
import json
from typing import Any

from pipeline_step.sandbox import managed_fields, refusals
from pipeline_step.sandbox.kinds import Kind
from pipeline_step.sandbox.list_types import Path, is_atomic_map, is_set, list_keys
from pipeline_step.sandbox.managed_fields import Fields, Writer

Obj = dict[str, Any]


def apply(kind: Kind, live: Obj, wanted: Obj, writer: Writer, force: bool) -> Obj:
    """The live object with the manager's fields set, and those it applied before and leaves out now removed.

    `live` is {} plus metadata for an object that does not exist yet. Fields that another manager owns with
    another value are a Conflict refusal unless `force`.
    """
    fields = managed_fields.fields_of(kind, wanted)
    entries: list[Obj] = live["metadata"].get("managedFields") or []
    mine = managed_fields.key_of(managed_fields.entry(writer, "Apply", frozenset()))
    others = [e for e in entries if managed_fields.key_of(e) != mine]
    clashes = [(e, _clashes(kind, live, wanted, fields, e)) for e in others]
    clashes = [(e, paths) for e, paths in clashes if paths]
    if clashes and not force:
        raise _refusal(clashes)
    previous = next((e for e in entries if managed_fields.key_of(e) == mine), None)
    merged: Obj = merge(kind, live, wanted, ())
    if previous:
        kept = frozenset(p for e in others for p in managed_fields.from_tree(e["fieldsV1"]))
        left_out = managed_fields.from_tree(previous["fieldsV1"]) - fields
        _remove(kind, merged, left_out, kept | fields)
    merged["metadata"] = {**merged["metadata"]}
    taken = frozenset(path for _, paths in clashes for path in paths)
    made = managed_fields.entry(writer, "Apply", fields)
    merged["metadata"]["managedFields"] = managed_fields.replace_entry(entries, made, taken)
    return merged


def merge(kind: Kind, live: Any, wanted: Any, names: Path) -> Any:
    """`wanted` over `live`: maps by key, keyed lists by item, sets by union, all else replaced."""
    if isinstance(wanted, dict) and isinstance(live, dict) and not is_atomic_map(kind, names):
        merged = dict(live)
        for key, value in wanted.items():
            if value is not None:
                merged[key] = merge(kind, live.get(key), value, (*names, key))
        return merged
    if isinstance(wanted, list) and isinstance(live, list):
        if is_set(names):
            return [*live, *(item for item in wanted if item not in live)]
        keys = list_keys(kind, names)
        if keys:
            return _merge_items(kind, live, wanted, keys, names)
    return copy.deepcopy(wanted)


def _merge_items(kind: Kind, live: list[Obj], wanted: list[Obj], keys: Path, names: Path) -> list[Obj]:
    held = {managed_fields.item_segment(item, keys): item for item in live}
    asked = {managed_fields.item_segment(item, keys): item for item in wanted}
    merged = [merge(kind, held.get(segment, {}), item, names) for segment, item in asked.items()]
    return [*merged, *(item for segment, item in held.items() if segment not in asked)]


def _clashes(kind: Kind, live: Obj, wanted: Obj, fields: Fields, entry: Obj) -> list[Path]:
    theirs = managed_fields.from_tree(entry["fieldsV1"]) & fields
    return sorted(
        path
        for path in theirs
        if not path[-1].startswith(("k:", "v:"))
        and managed_fields.read(kind, live, path) is not ...
        and managed_fields.read(kind, live, path) != managed_fields.read(kind, wanted, path)
    )


def _remove(kind: Kind, obj: Obj, left_out: Fields, kept: Fields) -> None:
    for path in sorted(left_out, key=len):
        if path in kept or any(other[: len(path)] == path for other in kept):
            continue
        _remove_at(kind, obj, path)


def _remove_at(kind: Kind, obj: Obj, path: Path) -> None:
    """Take one path out of the merged object, copying what it goes through; empty parents go with it."""
    parent = managed_fields.read(kind, obj, path[:-1]) if len(path) > 1 else obj
    mark, text = path[-1][:2], path[-1][2:]
    if mark == "f:" and isinstance(parent, dict):
        _replace(kind, obj, path[:-1], {key: value for key, value in parent.items() if key != text})
    elif mark == "k:" and isinstance(parent, list):
        wanted = json.loads(text)
        _replace(kind, obj, path[:-1], [i for i in parent if not managed_fields.matches(i, wanted)])
    elif mark == "v:" and isinstance(parent, list):
        _replace(kind, obj, path[:-1], [item for item in parent if item != json.loads(text)])


def _replace(kind: Kind, obj: Obj, path: Path, value: Any) -> None:
    if not path:
        obj.clear()
        obj.update(value)
        return
    if not value and path[-1].startswith("f:") and len(path) > 1:
        _remove_at(kind, obj, path)
        return
    parent = managed_fields.read(kind, obj, path[:-1])
    mark, text = path[-1][:2], path[-1][2:]
    if mark == "f:":
        changed: Any = {**parent, text: value}
    else:
        wanted = json.loads(text)
        changed = [value if managed_fields.matches(item, wanted) else item for item in parent]
    _replace(kind, obj, path[:-1], changed)


def _shown(path: Path) -> str:
    parts = []
    for segment in path:
        if segment.startswith("f:"):
            parts.append(f".{segment[2:]}")
        else:
            held = json.loads(segment[2:])
            inner = ",".join(f"{k}={json.dumps(v)}" for k, v in held.items()) if isinstance(held, dict) else held
            parts.append(f"[{inner}]")
    return "".join(parts)


def _refusal(clashes: list[tuple[Obj, list[Path]]]) -> refusals.ApiError:
    total = sum(len(paths) for _, paths in clashes)
    causes, said = [], []
    for entry, paths in clashes:
        who = f'"{entry["manager"]}"'
        if entry.get("subresource"):
            who += f' with subresource "{entry["subresource"]}"'
        if entry["operation"] == "Update":
            who += f" using {entry['apiVersion']}"
        causes += [
            {"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": _shown(path)}
            for path in paths
        ]
        if total == 1:
            said.append(f"conflict with {who}: {_shown(paths[0])}")
        else:
            lines = "".join(f"\n- {_shown(path)}" for path in paths)
            said.append(f"conflicts with {who}:{lines}")
    plural = "conflict" if total == 1 else "conflicts"
    message = f"Apply failed with {total} {plural}: " + "\n".join(said)
    return refusals.ApiError(409, "Conflict", message, {"causes": causes})
