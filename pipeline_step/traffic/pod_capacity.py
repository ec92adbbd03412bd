"""The capacity of a preview in pods: its Deployment's replicas, raised for a share and given back after it. Pure.

The number that the Deployment had before stands in an annotation on it.
"""

from __future__ import annotations

import copy

from pipeline_step.errors import ConfigError
from pipeline_step.model import Backend, Change, Object, Put, Ref
from pipeline_step.preview import PREVIEW
from pipeline_step.traffic.interface import Objects, Shares
from pipeline_step.traffic.pod_membership import bears, known
from pipeline_step.traffic.weighted import annotate

REPLICAS = "pipeline-step.dev/replicas-original"


def deployments(objects: Objects, preview: Backend) -> list[tuple[Ref, Object]]:
    """The preview's Deployments among the objects."""
    return [(ref, obj) for ref, obj in known(objects, "deployments") if bears(obj, {PREVIEW: preview.service})]


def scaled(objects: Objects, preview: Backend, pods: int) -> list[Change]:
    """The preview's Deployment with this many replicas, and in an annotation those that it had."""
    found = deployments(objects, preview)
    if len(found) != 1:
        names = ", ".join(ref.name for ref, _ in found) or "none"
        raise ConfigError(
            f"{preview} needs {pods} pods, and exactly one Deployment with the label {PREVIEW}={preview.service} "
            f"must be there to get them; there are: {names}"
        )
    ref, deployment = found[0]
    if deployment["spec"].get("replicas", 1) >= pods:
        return []
    raised = {"apiVersion": "apps/v1", "kind": "Deployment", **copy.deepcopy(deployment)}
    if REPLICAS not in (raised["metadata"].get("annotations") or {}):
        annotate(raised, REPLICAS, str(raised["spec"].get("replicas", 1)))
    raised["spec"]["replicas"] = pods
    return [Put(ref, raised)]


def restored(objects: Objects, wanted: Shares) -> list[Change]:
    """Deployments of previews without a share, with their own number of replicas."""
    kept = {preview.service for preview in wanted}
    changes: list[Change] = []
    for ref, deployment in known(objects, "deployments"):
        original = (deployment["metadata"].get("annotations") or {}).get(REPLICAS)
        if original is None or deployment["metadata"]["labels"].get(PREVIEW) in kept:
            continue
        own = {"apiVersion": "apps/v1", "kind": "Deployment", **copy.deepcopy(deployment)}
        annotate(own, REPLICAS, None)
        own["spec"]["replicas"] = _number(ref, original)
        changes.append(Put(ref, own))
    return changes


def _number(ref: Ref, original: str) -> int:
    if not original.isdecimal():
        raise ConfigError(f"{ref}: annotation {REPLICAS} is {original!r}, not a number of replicas; delete it")
    return int(original)
