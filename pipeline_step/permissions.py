"""Pure: what each account has to be allowed, and why. `doctor` asks for it; `roles` writes it down as Roles.

There are three accounts, so that none can do what it never needs. `preview` handles what pull requests bring, and
only reads production's route. `shift` moves production's traffic and promotes. `guard` only brings things back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from pipeline_step import handled, promotions
from pipeline_step.lock import lease_ref
from pipeline_step.model import Backend, Permission, Ref
from pipeline_step.page.places import configmap_ref

if TYPE_CHECKING:
    from pipeline_step.config import Config

WORKLOADS = (("apps", "deployments"), ("apps", "statefulsets"), ("apps", "daemonsets"))


class Route(NamedTuple):
    """What the router takes: for the objects that it reads and writes, and for those that have to exist besides."""

    own: Sequence[Permission]
    needs: Sequence[Permission] = ()


def preview(config: Config, route: Route, side: Backend) -> Iterator[Permission]:
    """What `preview` takes, and taking a preview down that has no requests."""
    for permission in route.own:
        if permission.verb in ("get", "list"):
            yield permission._replace(reason="see whether the preview has requests")
    space = Ref(group="", resource="namespaces", namespace="", name=side.namespace)
    yield Permission("get", space, "find the preview")
    if config.own_namespace:
        yield Permission("create", _any("", "namespaces"), "give the preview a namespace of its own")
        yield Permission("delete", space, "take the preview down")
    for group, resource in (("apps", "deployments"), ("", "services")):
        for verb in ("create", "patch", "get"):
            yield Permission(verb, _any(group, resource, side.namespace), "deploy the preview")
    yield Permission("list", _any("discovery.k8s.io", "endpointslices", side.namespace), "wait for ready pods")
    yield Permission("list", _any("", "pods", side.namespace), "tell why the preview does not get ready")
    yield Permission("get", _any("", "pods/log", side.namespace), "tell why the preview does not get ready")
    if not config.own_namespace:
        yield from _collected(side.namespace)
    if config.file.preview.clone:
        yield Permission("get", config.workload.ref, "copy production")
        stable = config.target.stable
        service = Ref(group="", resource="services", namespace=stable.namespace, name=stable.service)
        yield Permission("get", service, "copy production")


def shift(config: Config, route: Route, side: Backend) -> Iterator[Permission]:
    """What `rollout`, `shift`, `promote`, `revert`, `status` and `plan` take."""
    stable = config.target.stable.namespace
    yield from route.own
    yield from route.needs
    yield Permission("create", _any("coordination.k8s.io", "leases", stable), "hold the target")
    for verb in ("get", "update", "delete"):
        yield Permission(verb, _lease(config, side), "hold the target")
    for verb in ("get", "update"):
        reason = "do a comment only once, and tell the pull request what it is owed"
        yield Permission(verb, handled.lease_ref(config.target), reason)
        yield Permission(verb, promotions.lease_ref(config.target), "remember what was promoted")
    yield from _audit(stable)
    for namespace in (side.namespace, stable):
        yield Permission("list", _any("discovery.k8s.io", "endpointslices", namespace), "find ready pods")
    yield Permission("list", _any("", "pods", side.namespace), "read which image the preview runs")
    yield Permission("get", _any("", "services", side.namespace), "say where the preview answers")
    if page := configmap_ref(config.report, config.target.stable):
        yield Permission("create", _any("", "configmaps", stable), "keep the progress page")
        for verb in ("get", "update"):
            yield Permission(verb, page, "keep the progress page")
    for kind, settings in config.gates.values():
        yield from _gate(kind, settings, (side.namespace, stable))
    if config.promoter:
        yield Permission("get", config.workload.ref, "see what production runs")
        if config.promoter[0] == "workload":
            yield Permission("update", config.workload.ref, "give production the judged image")
        yield Permission("list", _any("", "pods", stable), "tell why production does not get ready")
        yield Permission("get", _any("", "pods/log", stable), "tell why production does not get ready")


def guard(config: Config, route: Route, side: Backend) -> Iterator[Permission]:
    """What `guard` takes: it heals the route, undoes a promotion that nobody finishes, collects closed previews."""
    yield from route.own
    stable = config.target.stable.namespace
    for verb in ("get", "list"):
        yield Permission(verb, _any("coordination.k8s.io", "leases", stable), "see whether a run is alive")
    yield Permission("update", promotions.lease_ref(config.target), "end a reversal that was left half done")
    if config.promoter and config.promoter[0] == "workload":
        for verb in ("get", "update"):
            yield Permission(verb, config.workload.ref, "undo a promotion that was left half done")
    yield from _audit(stable)
    if not config.provider.token:
        return
    yield Permission("update", handled.lease_ref(config.target), "tell the pull request what it is owed")
    space = Ref(group="", resource="namespaces", namespace="", name=side.namespace)
    yield Permission("get", space, "collect closed previews")
    if config.own_namespace:
        yield Permission("list", _any("", "namespaces"), "collect closed previews")
        yield Permission("delete", space, "collect closed previews")
    else:
        yield from _collected(side.namespace)


Account = Callable[["Config", Route, Backend], Iterator[Permission]]
ACCOUNTS: dict[str, Account] = {"preview": preview, "shift": shift, "guard": guard}


def _audit(namespace: str) -> Iterator[Permission]:
    yield Permission("create", _any("events.k8s.io", "events", namespace), "note who asked what, and what became of it")


def _collected(namespace: str) -> Iterator[Permission]:
    """What deleting a preview's objects takes in a namespace that stays."""
    for group, resource in (*WORKLOADS, ("", "services")):
        yield Permission("list", _any(group, resource, namespace), "collect the preview's objects")
    for group, resource in (("apps", "deployments"), ("", "services")):
        yield Permission("delete", _any(group, resource, namespace), "collect the preview's objects")


def _gate(kind: str, settings: Any, namespaces: tuple[str, str]) -> Iterator[Permission]:
    """What a gate reads from the cluster, and a Job that it runs there."""
    if kind == "job":
        namespace = settings.namespace or namespaces[0]
        for verb in ("get", "create"):
            yield Permission(verb, _any("batch", "jobs", namespace), "run the Job of a gate")
        yield Permission("list", _any("", "pods", namespace), "tell why a gate's Job fails")
        yield Permission("get", _any("", "pods/log", namespace), "tell why a gate's Job fails")
    scraping = settings if kind == "scrape" else getattr(settings, "scrape", None)
    if kind not in ("scrape", "compare") or getattr(settings, "prometheus", None) or (scraping and scraping.url):
        return
    proxy = scraping.proxy.partition("/")[0] if scraping and scraping.proxy else ""
    for namespace in (proxy,) if proxy else namespaces:
        yield Permission("list", _any("discovery.k8s.io", "endpointslices", namespace), "find the pods to scrape")
        yield Permission("get", _any("", "pods/proxy", namespace), "scrape the pods' metrics")


def _lease(config: Config, side: Backend) -> Ref:
    """The target's Lease; any of its namespace where previews share the target and each has its own."""
    if config.file.strategy.budget is not None:
        return _any("coordination.k8s.io", "leases", config.target.stable.namespace)
    return lease_ref(config.target, side, shared=False)


def _any(group: str, resource: str, namespace: str = "") -> Ref:
    return Ref(group=group, resource=resource, namespace=namespace, name="")
