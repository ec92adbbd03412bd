"""Pure: every permission that a configuration needs, each with the reason; `doctor` asks for them one by one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pipeline_step.model import Backend, Ref

if TYPE_CHECKING:
    from pipeline_step.config import Config


class Permission(NamedTuple):
    """A verb on a resource, and what it is for."""

    verb: str
    ref: Ref
    reason: str


def shift(config: Config, routers: Sequence[Permission], preview: Backend) -> Iterator[Permission]:
    """What moving traffic takes: the router's own, the Lease, and looking at the pods of both sides."""
    yield from routers
    stable = config.target.stable.namespace
    lease = Ref(group="coordination.k8s.io", resource="leases", namespace=stable, name="")
    for verb in ("get", "create", "update", "delete"):
        yield Permission(verb, lease, "hold the target")
    for namespace in dict.fromkeys((stable, preview.namespace)):
        slices = Ref(group="discovery.k8s.io", resource="endpointslices", namespace=namespace, name="")
        yield Permission("list", slices, "find ready pods")
        yield Permission("list", Ref(group="", resource="pods", namespace=namespace, name=""), "read their image")
        if any(kind == "scrape" for kind, _ in config.gates.values()):
            proxy = Ref(group="", resource="pods/proxy", namespace=namespace, name="")
            yield Permission("get", proxy, "scrape their metrics")


def promote(config: Config) -> Iterator[Permission]:
    """What the `workload` promoter takes: production's workload by its name."""
    if config.promoter is None:
        return
    for verb in ("get", "update"):
        yield Permission(verb, config.workload.ref, "give production the judged image")
    log = Ref(group="", resource="pods/log", namespace=config.workload.namespace, name="")
    yield Permission("get", log, "tell why production does not get ready")


def deploy(config: Config, preview: Backend) -> Iterator[Permission]:
    """What `preview` takes in the preview's namespace, and for a clone the reading of what is copied."""
    settings = config.file.preview
    if not (settings.clone or settings.manifests):
        return
    space = Ref(group="", resource="namespaces", namespace="", name=preview.namespace)
    for verb in ("get", "create", "delete"):
        yield Permission(verb, space, "give the preview a namespace of its own")
    for group, resource in (("apps", "deployments"), ("", "services")):
        for verb in ("get", "create", "patch", "list", "delete"):
            ref = Ref(group=group, resource=resource, namespace=preview.namespace, name="")
            yield Permission(verb, ref, "deploy and collect the preview")
    if settings.clone:
        stable = config.target.stable
        yield Permission("get", config.workload.ref, "copy production")
        service = Ref(group="", resource="services", namespace=stable.namespace, name=stable.service)
        yield Permission("get", service, "copy production")
