"""What is missing before the first run, asked of the real cluster."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, NamedTuple

from pipeline_step import requirements
from pipeline_step.errors import NotReady, StepError
from pipeline_step.model import Backend, Ref
from pipeline_step.ownership import gitops_owner, rewriting_owner
from pipeline_step.permissions import ACCOUNTS
from pipeline_step.preflight import counted, expected
from pipeline_step.roles import granted
from pipeline_step.route import Seen, observe
from pipeline_step.run import Run
from pipeline_step.traffic import ROUTERS

if TYPE_CHECKING:
    from pipeline_step.cluster import Cluster


class Finding(NamedTuple):
    """One check, in a sentence that says what to do where it failed."""

    ok: bool
    text: str


def examine(run: Run, accounts: Collection[str] = tuple(ACCOUNTS)) -> list[Finding]:
    """All checks of all clusters, for what these accounts do; a check that can't be made is a finding too."""
    findings = [Finding(True, run.config.found)] if run.config.found else []
    for context, cluster in run.clusters.items():
        where = f"{context}: " if context else ""
        findings += [finding._replace(text=where + finding.text) for finding in _examine(run, cluster, accounts)]
    if "shift" in accounts:
        findings += _proof(run)
    return findings


def _proof(run: Run) -> list[Finding]:
    """What the judge counts by, whether it can read that, and come to a verdict before the deadline."""
    asked = [
        Finding(True, f"compare: {side} is counted by {query}")
        for side, queries in counted(run).items()
        for query in queries.values()
    ]
    try:
        proof = expected(run)
    except StepError as error:
        return [*asked, Finding(False, f"compare: {error}")]
    return [*asked, Finding(proof.in_time, f"compare: {proof.text}")] if proof else asked


def _examine(run: Run, cluster: Cluster, accounts: Collection[str]) -> Iterator[Finding]:
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
        yield from _route(run, seen)
    yield from _permissions(run, cluster, seen, accounts)
    if "shift" not in accounts:
        return
    if seen is not None:
        yield from _readiness(run, cluster, seen)
    yield from _sides(run, cluster)


def _route(run: Run, seen: Seen) -> Iterator[Finding]:
    router = ROUTERS[run.target.router]
    routed = router.routed(run.target, seen.objects)
    shares = ", ".join(f"{backend} {weight} %" for backend, weight in seen.weights.items())
    yield Finding(True, f"{routed} routes {run.target.stable}: {shares}")
    if owner := rewriting_owner(seen.objects[routed]):
        yield Finding(False, f"{routed} belongs to {owner}, which would overwrite the weights; take the route from it")
    if tool := gitops_owner(seen.objects[routed]):
        yield Finding(True, f"{routed} is applied by {tool}: tell it to ignore the weights, or it may set them back")


def _readiness(run: Run, cluster: Cluster, seen: Seen) -> Iterator[Finding]:
    """Whether requests would get where the route sends them."""
    router = ROUTERS[run.target.router]
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
    for weight in run.policy.weights:
        shares = {run.preview: weight}
        if trouble := ROUTERS[run.target.router].unreachable(run.target, seen.objects, shares):
            yield Finding(False, trouble)
            if run.policy.ramp:  # which may come to every percentage: one example will do
                return


def _permissions(run: Run, cluster: Cluster, seen: Seen | None, accounts: Collection[str]) -> Iterator[Finding]:
    wanted = granted(run.config, seen.objects if seen else {}, accounts)
    users: dict[tuple[str, Ref], list[str]] = {}
    reasons: dict[tuple[str, Ref], str] = {}
    for account, needed in wanted.items():
        for verb, ref, reason in needed:
            users.setdefault((verb, ref), []).append(account)
            reasons.setdefault((verb, ref), reason)
    missing = [asked for asked in users if not cluster.allowed(*asked)]
    for verb, ref in missing:
        who = ", ".join(dict.fromkeys(users[verb, ref]))
        yield Finding(False, f"this account may not {verb} {ref}, needed to {reasons[verb, ref]} ({who})")
    if not missing:
        yield Finding(True, f"this account has all {len(users)} permissions that {', '.join(accounts)} needs")


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
