"""What is missing before the first run, asked of the real cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from pipeline_step import permissions, requirements
from pipeline_step.errors import NotReady, StepError
from pipeline_step.model import Backend
from pipeline_step.ownership import gitops_owner, rewriting_owner
from pipeline_step.route import Seen, observe
from pipeline_step.run import Run
from pipeline_step.traffic import ROUTERS

if TYPE_CHECKING:
    from pipeline_step.cluster import Cluster


class Finding(NamedTuple):
    """One check, in a sentence that says what to do where it failed."""

    ok: bool
    text: str


def examine(run: Run) -> list[Finding]:
    """All checks of all clusters; a check that can't be made is a finding too."""
    findings: list[Finding] = []
    for context, cluster in run.clusters.items():
        where = f"{context}: " if context else ""
        findings += [finding._replace(text=where + finding.text) for finding in _examine(run, cluster)]
    return findings


def _examine(run: Run, cluster: Cluster) -> Iterator[Finding]:
    try:
        version = cluster.version()
    except StepError as error:
        yield Finding(False, str(error))
        return
    yield Finding(True, f"the API answers (Kubernetes {version})")
    seen = None
    try:
        seen = observe(run.target, cluster, [run.preview])
    except StepError as error:
        yield Finding(False, f"the route can't be read: {error}")
    if seen is not None:
        yield from _route(run, cluster, seen)
    yield from _permissions(run, cluster, seen)
    yield from _sides(run, cluster)


def _route(run: Run, cluster: Cluster, seen: Seen) -> Iterator[Finding]:
    router = ROUTERS[run.target.router]
    routed = router.routed(run.target, seen.objects)
    shares = ", ".join(f"{backend} {weight} %" for backend, weight in seen.weights.items())
    yield Finding(True, f"{routed} routes {run.target.stable}: {shares}")
    if owner := rewriting_owner(seen.objects[routed]):
        yield Finding(False, f"{routed} belongs to {owner}, which would overwrite the weights; take the route from it")
    if tool := gitops_owner(seen.objects[routed]):
        yield Finding(True, f"{routed} is applied by {tool}: tell it to ignore the weights, or it may set them back")
    for need in router.needs(run.target, seen.objects, [run.preview]):
        try:
            trouble = requirements.missing(cluster, need)
        except StepError as error:
            yield Finding(False, f"{need.ref} can't be read: {error}")
        else:
            yield Finding(not trouble, trouble or f"{need.ref} is there")
    try:
        waiting = router.settled(run.target, seen.objects)
    except NotReady as error:
        waiting = str(error)
    if waiting:
        yield Finding(False, waiting)
    yield from _reach(run, seen)


def _reach(run: Run, seen: Seen) -> Iterator[Finding]:
    """Whether the router can give every weight of the strategy."""
    for step in run.policy.steps:
        shares = {run.preview: step.weight}
        if trouble := ROUTERS[run.target.router].unreachable(run.target, seen.objects, shares):
            yield Finding(False, trouble)


def _permissions(run: Run, cluster: Cluster, seen: Seen | None) -> Iterator[Finding]:
    router = ROUTERS[run.target.router]
    routers = router.permissions(run.target, seen.objects if seen else {}, [run.preview])
    wanted = [
        *permissions.shift(run.config, routers, run.preview),
        *permissions.promote(run.config),
        *permissions.deploy(run.config, run.preview),
    ]
    missing = [
        permission for permission in dict.fromkeys(wanted) if not cluster.allowed(permission.verb, permission.ref)
    ]
    for verb, ref, reason in missing:
        yield Finding(False, f"this account may not {verb} {ref}, needed to {reason}")
    if not missing:
        yield Finding(True, f"this account has all {len(wanted)} permissions that the configuration needs")


def _sides(run: Run, cluster: Cluster) -> Iterator[Finding]:
    for name, backend in (("stable", run.target.stable), ("preview", run.preview)):
        yield _side(cluster, name, backend)


def _side(cluster: Cluster, name: str, backend: Backend) -> Finding:
    try:
        endpoints = cluster.endpoints(backend)
    except StepError as error:
        return Finding(False, f"{name} {backend}: {error}")
    if not endpoints:
        hint = "; deploy it with `pipeline-step preview`" if name == "preview" else ""
        return Finding(False, f"{name} {backend}: no ready pod stands behind this Service{hint}")
    return Finding(True, f"{name} {backend}: {len(endpoints)} ready")
