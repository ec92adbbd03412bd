"""SMI: the weights of a TrafficSplit, for meshes that still follow one. The specification is archived.

https://github.com/servicemeshinterface/smi-spec/blob/main/apis/traffic-split/v1alpha4/traffic-split.md
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pipeline_step.model import Backend, Object
from pipeline_step.settings import Label, Strict, says
from pipeline_step.traffic import interface
from pipeline_step.traffic.listed import Kind, Listed, Part, even_or_none, part_of
from pipeline_step.traffic.weighted import Key


class Settings(Strict, frozen=True):
    """The TrafficSplit, of API version v1alpha2 or later: before that weights were no numbers."""

    traffic_split: Annotated[str, says("the TrafficSplit")]
    namespace: Annotated[Label | None, says("its namespace, where it is not production's")] = None


def _parts(split: Object) -> Iterator[Part]:
    yield part_of(split["spec"], "backends", "backends")


def _backend(backend: Object, namespace: str) -> Backend | None:
    return Backend(service=backend["service"], namespace=namespace)


def _entry(key: Key, beside: Object, namespace: str) -> Object:
    return {"service": key.host.split(".")[0]}


def _elsewhere(settings: Settings) -> str:
    return "a TrafficSplit names Services of its own namespace only; let previews live there (preview.namespace)"


ROUTE = Listed(
    router="smi",
    kinds={
        "traffic_split": Kind(
            kind="TrafficSplit",
            group="split.smi-spec.io",
            resource="trafficsplits",
            parts=_parts,
            backend=_backend,
            entry=_entry,
            numbers=even_or_none,
            elsewhere=_elsewhere,
        )
    },
)
resources = ROUTE.resources
routed = ROUTE.routed
weights = ROUTE.weights
plan = ROUTE.plan
needs = ROUTE.needs
permissions = ROUTE.permissions
unreachable = ROUTE.unreachable
room = interface.no_room_needed
settled = interface.says_nothing
