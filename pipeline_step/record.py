"""Pure: the record of all rollouts on a route, as an annotation on the routed object itself.

It travels in the same write as the weights, so the two can't disagree; when the last rollout ends it is gone.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import msgspec

from pipeline_step.errors import ConfigError, Refused
from pipeline_step.model import Object, Rollout

ANNOTATION = "pipeline-step.dev/rollouts"
VERSION = 1
LIMIT = 256 * 1024  # bytes of all annotations of an object, set by the API server

Rollouts = Mapping[str, Rollout]
"""Rollouts by `str(preview)`."""


def read(routed: Object) -> dict[str, Rollout]:
    """The rollouts recorded on an object; raises `ConfigError` for a record that this version can't read."""
    metadata = routed["metadata"]
    text = (metadata.get("annotations") or {}).get(ANNOTATION)
    if text is None:
        return {}
    where = f"{routed.get('kind', 'object')} {metadata.get('namespace')}/{metadata['name']}: annotation {ANNOTATION}"
    try:
        document = json.loads(text)
        version = document["version"]
        if version != VERSION:
            raise ConfigError(f"{where}: version {version!r}, but this program reads {VERSION}; use the newer program")
        rollouts = msgspec.convert(document["rollouts"], list[Rollout])
    except (ValueError, KeyError, TypeError, msgspec.ValidationError) as error:
        raise ConfigError(
            f"{where}: can't be read ({error}); restore the route's own weights from Git and delete the annotation"
        ) from error
    return {str(rollout.preview): rollout for rollout in rollouts}


def write(routed: Object, rollouts: Rollouts) -> Object:
    """A copy of the object that bears exactly these rollouts. Raises `Refused` where they do not fit."""
    changed = copy.deepcopy(routed)
    metadata = changed["metadata"]
    annotations = dict(metadata.get("annotations") or {})
    annotations.pop(ANNOTATION, None)
    if rollouts:
        document = {"version": VERSION, "rollouts": [_compact(rollout) for rollout in rollouts.values()]}
        annotations[ANNOTATION] = json.dumps(document, separators=(",", ":"))
    size = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    if size > LIMIT:
        raise Refused(
            f"{changed.get('kind', 'object')} {metadata.get('namespace')}/{metadata['name']} can't record "
            f"{len(rollouts)} rollouts: its annotations would take {size} bytes and {LIMIT} are allowed; "
            "promote or revert some first"
        )
    if annotations:
        metadata["annotations"] = annotations
    else:
        metadata.pop("annotations", None)
    return changed


def _compact(rollout: Rollout) -> dict[str, Any]:
    """Without the fields that have their default, so that many fit."""
    defaults = {
        field.name: field.default if field.default is not dataclasses.MISSING else {}
        for field in dataclasses.fields(rollout)
    }
    full: dict[str, Any] = msgspec.to_builtins(rollout)
    plain = {key: value for key, value in full.items() if value != msgspec.to_builtins(defaults[key])}
    plain["preview"] = {key: value for key, value in full["preview"].items() if value is not None}
    return plain
