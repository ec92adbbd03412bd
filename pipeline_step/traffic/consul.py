"""Consul: the weights of a ServiceSplitter's splits.

https://developer.hashicorp.com/consul/docs/reference/config-entry/service-splitter
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pipeline_step.model import Backend, Object
from pipeline_step.settings import Label, Strict, says
from pipeline_step.traffic import interface
from pipeline_step.traffic.listed import Kind, Listed, Part, part_of
from pipeline_step.traffic.weighted import Key


class Settings(Strict, frozen=True):
    """The ServiceSplitter. `mirrored_namespaces`: Consul has a namespace for each of Kubernetes (Enterprise)."""

    service_splitter: Annotated[str, says("the ServiceSplitter")]
    namespace: Annotated[Label | None, says("its namespace, where it is not production's")] = None
    mirrored_namespaces: Annotated[bool, says("Consul has a namespace for each of Kubernetes (Enterprise)")] = False


def _parts(splitter: Object) -> Iterator[Part]:
    """A split without a service is the splitter's own; it is named while we work with it."""
    own = splitter["metadata"]["name"]
    unnamed = [split.get("service") is None for split in splitter["spec"]["splits"]]
    part = part_of(splitter["spec"], "splits", "splits")

    def write(entries: list[Object]) -> None:
        for index, _ in filter(lambda pair: pair[1], enumerate(unnamed)):
            entries[index] = {key: value for key, value in entries[index].items() if key != "service"}
        part.write(entries)

    yield Part("splits", [{"service": own, **split} for split in part.destinations], write)


def _backend(split: Object, namespace: str) -> Backend:
    subset = split.get("serviceSubset")
    return Backend(service=split["service"], namespace=split.get("namespace") or namespace, subset=subset)


def _entry(key: Key, beside: Object, namespace: str) -> Object:
    service, home = key.host.split(".")[:2]
    place = {} if home == namespace else {"namespace": home}
    return {"service": service, **place, **({"serviceSubset": key.subset} if key.subset else {})}


def _elsewhere(settings: Settings) -> str:
    if settings.mirrored_namespaces:
        return ""
    return (
        "Consul tells Services by their name alone, unless it mirrors namespaces (Enterprise: then write "
        "traffic.consul.mirrored_namespaces: true); let previews live there, with a name of their own "
        "(preview.namespace)"
    )


ROUTE = Listed(
    router="consul",
    kinds={
        "service_splitter": Kind(
            kind="ServiceSplitter",
            group="consul.hashicorp.com",
            resource="servicesplitters",
            parts=_parts,
            backend=_backend,
            entry=_entry,
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
