"""What is missing before the first run, asked of the real cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from pipeline_step import permissions
from pipeline_step.errors import StepError
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
        seen = observe(run.target, cluster)
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
    for ref in router.needs(run.target, seen.objects):
        try:
            exists = cluster.find(ref) is not None
        except StepError as error:
            yield Finding(False, f"{ref} can't be read: {error}")
            continue
        if exists:
            yield Finding(True, f"{ref} exists")
            continue
        there = sorted(obj["metadata"]["name"] for obj in cluster.list_objects(ref.group, ref.resource, ref.namespace))
        yield Finding(
            False,
            f"{routed} names {ref}, which does not exist: its requests go nowhere; "
            f"{ref.namespace} has: {', '.join(there) or 'none'}",
        )


def _permissions(run: Run, cluster: Cluster, seen: Seen | None) -> Iterator[Finding]:
    router = ROUTERS[run.target.router]
    if seen is None:
        routed = router.resources(run.target, {})
        needed = []
    else:
        routed = [router.routed(run.target, seen.objects)]
        needed = router.needs(run.target, seen.objects)
    wanted = [
        *permissions.shift(run.config, routed, needed, run.preview),
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
