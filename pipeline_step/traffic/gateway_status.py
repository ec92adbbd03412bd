"""Whether the controllers of a Gateway API route follow it, from its `status.parents`. Pure.

https://gateway-api.sigs.k8s.io/guides/api-design/#status
"""

from __future__ import annotations

from typing import Any

from pipeline_step.errors import NotReady
from pipeline_step.model import Object, Ref
from pipeline_step.traffic.gateway_references import GROUP, Reference, kind_of

CONDITIONS = ("Accepted", "ResolvedRefs")


def settled(ref: Ref, route: Object) -> str:
    """Why some parent's controller does not follow this generation of the route yet; "" where all do.

    Raises `NotReady` where one refuses it.
    """
    said = (route.get("status") or {}).get("parents") or []
    generation = route["metadata"].get("generation", 0)
    for parent in route["spec"].get("parentRefs") or []:
        name = f"{parent.get('kind', 'Gateway')} {parent.get('namespace', ref.namespace)}/{parent['name']}"
        entries = [entry for entry in said if _full(entry["parentRef"], ref) == _full(parent, ref)]
        if not entries:
            return f"no controller of {name} has taken {ref} yet"
        for entry in entries:
            for kind in CONDITIONS:
                if waiting := _condition(entry, kind, generation, f"{ref} at {name}"):
                    return waiting
    return ""


def _full(reference: Reference, route: Ref) -> tuple[Any, ...]:
    """A parentRef with its defaults, for comparing."""
    home = reference.get("namespace") or route.namespace
    more = (reference.get("sectionName"), reference.get("port"))
    return (*kind_of(reference, GROUP, "Gateway"), home, reference["name"], *more)


def _condition(entry: Object, kind: str, generation: int, where: str) -> str:
    condition = next((c for c in entry.get("conditions") or [] if c["type"] == kind), None)
    if condition is None or condition.get("observedGeneration", generation) < generation:
        return f"{where}: {entry.get('controllerName', 'its controller')} has not seen the change yet"
    if condition["status"] == "False":
        raise NotReady(f"{where}: {kind} is False, {condition.get('reason')}: {condition.get('message')}")
    return "" if condition["status"] == "True" else f"{where}: {kind} is {condition['status']}"
