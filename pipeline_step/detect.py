"""Finding the route in the cluster where the configuration does not name it: what is looked up, and how it is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from pipeline_step.errors import ClusterError, NotFound
from pipeline_step.model import Backend, Object

if TYPE_CHECKING:
    from pipeline_step.cluster import Cluster
    from pipeline_step.config import Config


def settled(config: Config, clusters: Mapping[str, Cluster]) -> Config:
    """The configuration with a route: its own, else the one that the first cluster has, with what was found and why.

    Raises `ConfigError` where nothing or more than one object routes production.
    """
    if config.file.traffic is not None:
        return config
    from pipeline_step.config_file import Traffic
    from pipeline_step.traffic import detection

    stable = config.stable
    listings, unread = look(next(iter(clusters.values())), stable)
    route = detection.choose(stable, detection.find(stable, listings), unread)
    file = msgspec.structs.replace(config.file, traffic=Traffic(**{route.router: route.settings}))
    return dataclasses.replace(config, file=file, found=f"{route.text}; the file could say {route.yaml}")


def look(cluster: Cluster, stable: Backend) -> tuple[dict[tuple[str, str], list[Object]], list[str]]:
    """All objects that may be a route, and the resources that may not be listed; what is not served is not missed."""
    from pipeline_step.traffic.detection import CLASSES, SOUGHT

    served = cluster.groups()
    listings: dict[tuple[str, str], list[Object]] = {}
    unread = []
    for group, resource in dict.fromkeys([*((one.group, one.resource) for one in SOUGHT), CLASSES]):
        if group not in served:
            continue
        try:
            listings[group, resource] = _listed(cluster, group, resource, stable.namespace)
        except NotFound:
            continue
        except ClusterError as error:
            if error.status != 403:
                raise
            unread.append(f"{resource}.{group}")
    return listings, [name for name in unread if not name.startswith("ingressclasses")]


def _listed(cluster: Cluster, group: str, resource: str, namespace: str) -> list[Object]:
    """Those of all namespaces, or of production's where no more is allowed."""
    try:
        return cluster.list_objects(group, resource)
    except ClusterError as error:
        if error.status != 403:
            raise
        return cluster.list_objects(group, resource, namespace)
