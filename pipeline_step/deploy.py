"""Bringing a preview up and taking it down: objects applied and ready, or drained and gone."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_step.errors import ConfigError, NotFound, NotReady
from pipeline_step.health import pod_trouble, rolled_out
from pipeline_step.model import Backend, Object, Ref
from pipeline_step.preview import APP, MANAGED_BY, PULL_REQUEST, clone, labels, mark, namespace
from pipeline_step.promote.workload import last_words
from pipeline_step.render import manifests
from pipeline_step.revert import take_back
from pipeline_step.route import each, observe
from pipeline_step.run import Event, Result, Run
from pipeline_step.settings import seconds

if TYPE_CHECKING:
    from pipeline_step.cluster import Cluster

POLL = 0.5  # seconds between two looks at the preview's pods


def deploy(run: Run) -> Result:
    """The command: render, apply, wait until the new version is ready behind its Service in every cluster.

    A preview that has a share of the requests is drained first: what is new has not been judged.
    """
    if any(run.key in seen.rollouts for seen in each(run.clusters, lambda c: observe(run.target, c)).values()):
        had = take_back(run)
        reason = "a new version of the preview is being deployed"
        run.tell(Event(kind="superseded", weight=0, reason=reason, sha=had.sha if had else ""))
    url = next(iter(each(run.clusters, lambda cluster: _deploy(run, cluster)).values()))
    reason = f"{run.preview} is ready at {url}"
    run.tell(Event(kind="ready", weight=0, reason=reason, sha=run.config.pull.sha, url=url))
    return Result(outcome="ready", reason=reason, url=url, sha=run.config.pull.sha)


def delete(run: Run) -> Result:
    """The command: take the preview's traffic back, then delete what was deployed for it."""
    had = take_back(run)
    if had:
        run.tell(Event(kind="reverted", weight=0, reason="its preview is being deleted", sha=had.sha))
    each(run.clusters, lambda cluster: remove(cluster, run.preview, run.target.app, run.config.pull.number))
    reason = f"{run.preview} has no traffic any more, and is deleted"
    run.tell(Event(kind="deleted", weight=0, reason=reason))
    return Result(outcome="deleted", reason=reason)


def remove(cluster: Cluster, preview: Backend, app: str, number: int) -> None:
    """Delete a preview's own namespace, or in a namespace that others use only the preview's objects.

    Nothing that does not bear the preview's labels is touched.
    """
    wanted = labels(app, number)
    space = Ref(group="", resource="namespaces", namespace="", name=preview.namespace)
    found = cluster.find(space)
    if found is None:
        return
    if _bears(found, wanted):
        cluster.delete(space)
        return
    selector = ",".join(f"{key}={value}" for key, value in wanted.items())
    for group, resource in (
        ("apps", "deployments"),
        ("apps", "statefulsets"),
        ("apps", "daemonsets"),
        ("", "services"),
    ):
        with suppress(NotFound):  # a cluster that has no such resource has none to delete
            for obj in cluster.list_objects(group, resource, preview.namespace, selector):
                name = obj["metadata"]["name"]
                cluster.delete(Ref(group=group, resource=resource, namespace=preview.namespace, name=name))


def _bears(obj: Object, wanted: dict[str, str]) -> bool:
    given = obj["metadata"].get("labels") or {}
    return all(given.get(key) == value for key, value in wanted.items())


def _deploy(run: Run, cluster: Cluster) -> str:
    """Apply everything in one cluster and wait; the preview's URL."""
    config, preview = run.config, run.preview
    space = Ref(group="", resource="namespaces", namespace="", name=preview.namespace)
    if cluster.find(space) is None:
        marks = labels(run.target.app, config.pull.number) if config.own_namespace else {}
        cluster.create(space, namespace(preview.namespace, marks))
    applied = []
    for obj in _render(run, cluster):
        marked = mark(obj, preview, run.target.app, config.pull.number, config.pull.sha)
        applied.append(cluster.apply(cluster.ref(marked), marked))
    return _wait(run, cluster, applied)


def _render(run: Run, cluster: Cluster) -> list[Object]:
    config, preview = run.config, run.preview
    if config.file.preview.manifests:
        values = {
            "APP": run.target.app,
            "NAME": preview.service,
            "NAMESPACE": preview.namespace,
            "IMAGE": config.pull.image,
            "SHA": config.pull.sha,
            "NUMBER": config.pull.number,
            "OWNER": config.pull.owner,
            "REPO": config.pull.repo,
        }
        return manifests.render(Path(config.file.preview.manifests), values)
    if not config.file.preview.clone:
        raise ConfigError(
            "preview: nothing says how to make one; give preview.manifests (a file or folder) or clone: true"
        )
    if not config.pull.image:
        raise ConfigError("preview.clone needs the image under review: give --image or set PIPELINE_STEP_IMAGE")
    stable = run.target.stable
    service = Ref(group="", resource="services", namespace=stable.namespace, name=stable.service)
    return clone(
        cluster.get(config.workload.ref),
        cluster.get(service),
        preview,
        config.pull.image,
        config.file.production.container,
        config.file.preview.replicas,
    )


def _wait(run: Run, cluster: Cluster, applied: list[Object]) -> str:
    """Until all workloads applied are rolled out and a ready pod stands behind the Service."""
    preview = run.preview
    workloads = [cluster.ref(obj) for obj in applied if obj["kind"] in ("Deployment", "StatefulSet", "DaemonSet")]
    until = run.clock.time() + seconds(run.config.file.preview.ready_within)
    selector = f"{MANAGED_BY}=pipeline-step,{APP}={run.target.app},{PULL_REQUEST}={run.config.pull.number}"
    while True:
        states = [rolled_out(cluster.get(ref)) for ref in workloads]
        endpoints = cluster.endpoints(preview)
        if all(done for done, _ in states) and endpoints:
            return cluster.address(preview)
        pods = cluster.list_objects("", "pods", preview.namespace, selector)
        trouble = next((words for pod in pods if (words := pod_trouble(pod))), "")
        late = run.clock.time() >= until
        if trouble or late:
            pending = [reason for done, reason in states if not done]
            no_endpoint = f"no ready pod stands behind the Service {preview.service}"
            why = trouble or (pending[0] if pending else no_endpoint)
            raise NotReady(f"{preview} is not ready{' in time' if late else ''}: {why}{last_words(cluster, pods)}")
        run.clock.sleep(POLL)
