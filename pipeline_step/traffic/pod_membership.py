"""Who stands behind a Service, and bringing a preview's pods in and out by their labels. Pure.

A pod that was brought in says so in an annotation, with the preview that it belongs to and what its labels were.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline_step.errors import ConfigError
from pipeline_step.health import is_ready
from pipeline_step.model import Object, Put, Ref
from pipeline_step.traffic.interface import Objects
from pipeline_step.traffic.weighted import annotate

JOINED = "pipeline-step.dev/joined"
Selector = Mapping[str, str]


def known(objects: Objects, resource: str) -> list[tuple[Ref, Object]]:
    """All objects of a resource among those read, from lists and by themselves, each once and as last written."""
    found: dict[Ref, Object] = {}
    for ref, obj in objects.items():
        if ref.resource != resource:
            continue
        for item in [obj] if ref.name else obj["items"]:
            meta = item["metadata"]
            own = Ref(group=ref.group, resource=resource, namespace=meta["namespace"], name=meta["name"])
            found[own] = objects.get(own, item)
    return sorted(found.items())


def alive(objects: Objects) -> list[tuple[Ref, Object]]:
    """The pods that may get requests now or soon: not those on their way out."""
    return [
        (ref, pod)
        for ref, pod in known(objects, "pods")
        if not pod["metadata"].get("deletionTimestamp")
        and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
    ]


def bears(obj: Object, labels: Selector) -> bool:
    """Whether the object has all these labels."""
    given = obj["metadata"].get("labels") or {}
    return all(given.get(key) == value for key, value in labels.items())


def ready(pods: Iterable[Object]) -> int:
    """How many are ready."""
    return sum(is_ready(pod) for pod in pods)


def preview_of(pod: Object) -> str:
    """The preview for which the pod was brought in, as SERVICE.NAMESPACE; "" where it was not."""
    return str(_memory(pod).get("preview") or "")


def join(ref: Ref, pod: Object, preview: str, selector: Selector) -> Put:
    """The pod with the labels that the Service selects by."""
    joined = _typed(pod)
    labels = joined["metadata"].get("labels") or {}
    before = {key: labels.get(key) for key, value in selector.items() if labels.get(key) != value}
    joined["metadata"]["labels"] = {**labels, **selector}
    annotate(joined, JOINED, json.dumps({"preview": preview, "before": before}, separators=(",", ":")))
    return Put(ref, joined)


def leave(ref: Ref, pod: Object) -> Put:
    """The pod with the labels that it had."""
    left = _typed(pod)
    metadata = left["metadata"]
    labels = dict(metadata.get("labels") or {})
    for key, value in (_memory(pod).get("before") or {}).items():
        labels.pop(key, None)
        if value is not None:
            labels[key] = value
    metadata["labels"] = labels
    annotate(left, JOINED, None)
    return Put(ref, left)


def _typed(pod: Object) -> Object:
    """A copy that says what it is, which items of lists do not."""
    return {"apiVersion": "v1", "kind": "Pod", **copy.deepcopy(pod)}


def _memory(pod: Object) -> Mapping[str, Any]:
    text = (pod["metadata"].get("annotations") or {}).get(JOINED)
    if text is None:
        return {}
    try:
        found = json.loads(text)
        return {"preview": found["preview"], "before": dict(found["before"])}
    except (ValueError, KeyError, TypeError) as error:
        where = f"{pod['metadata'].get('namespace')}/{pod['metadata']['name']}"
        raise ConfigError(
            f"Pod {where}: annotation {JOINED} can't be read ({error}); delete the pod, and another takes its place"
        ) from error
