"""Gate `job`: runs a Kubernetes Job, whose result is the verdict. It passes once the Job is complete.

The Job's containers find what is judged in PREVIEW_HOST, PREVIEW_NAMESPACE, PREVIEW_SERVICE, the same of STABLE, and
PREVIEW_WEIGHT. A Job that could not start, since its image can't be pulled, says nothing about the preview.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pipeline_step.errors import ClusterError, ConfigError, Conflict
from pipeline_step.gates.load import Load, container
from pipeline_step.gates.placeholders import sides
from pipeline_step.health import pod_trouble
from pipeline_step.model import Measurement, Object, Outcome, Ref
from pipeline_step.settings import Duration, Label, Strict, says, seconds

if TYPE_CHECKING:
    from pipeline_step.cluster import Cluster
    from pipeline_step.gates import Sources, Subject

MANAGED = {"app.kubernetes.io/managed-by": "pipeline-step", "app.kubernetes.io/component": "gate"}
NO_SIDECAR = {"sidecar.istio.io/inject": "false"}  # a sidecar would keep a Job from ever being complete
KEPT = 3600  # seconds that a finished Job stays, for people to read its logs
FINISHED = {Outcome.PASS.value: Outcome.PASS, Outcome.FAIL.value: Outcome.FAIL}


class Settings(Strict, frozen=True, kw_only=True):
    """What to run: a `manifest` file with a Job, an `image` with `command` and `args`, or a ready `load`.

    It runs once in each step, or once in the `rollout`, in the preview's namespace and the first cluster unless
    others are named, and fails when it takes longer than `timeout`.
    """

    manifest: Annotated[str, says("a file with a Job")] = ""
    image: Annotated[str, says("an image to run instead")] = ""
    command: Annotated[tuple[str, ...], says("its command")] = ()
    args: Annotated[tuple[str, ...], says("its arguments")] = ()
    load: Annotated[Load | None, says("requests to send instead")] = None
    namespace: Annotated[Label | None, says("where it runs; the preview's namespace where not given")] = None
    context: Annotated[str, says("the cluster it runs in; the first where not given")] = ""
    service_account: Annotated[str, says("the account it runs with")] = ""
    each: Annotated[Literal["step", "rollout"], says("run in every step, or once in the rollout")] = "step"
    timeout: Annotated[Duration, says("how long it may take before that is a failure")] = "5m"

    def __post_init__(self) -> None:
        if sum(map(bool, (self.manifest, self.image, self.load))) != 1:
            raise ValueError("give one of manifest, image and load")
        if (self.command or self.args) and not self.image:
            raise ValueError("command and args go with image")
        if self.load and seconds(self.load.duration) >= seconds(self.timeout):
            raise ValueError(f"timeout {self.timeout} must be longer than the load's duration {self.load.duration}")


def measure(
    name: str, settings: Settings, subject: Subject, sources: Sources, counters: Mapping[str, Any]
) -> Measurement:
    """Start the Job of this step if it is not there, and say how it stands; a finished one is not run again."""
    began = counters["began"] if settings.each == "rollout" and "began" in counters else subject.began
    if counters.get("began") == began and counters.get("outcome") in FINISHED:
        outcome = FINISHED[counters["outcome"]]
        return Measurement(gate=name, outcome=outcome, reason=counters["reason"], counters=counters)
    cluster = _cluster(settings, sources)
    try:
        template = _template(settings, subject)
        ref = job_ref(name, settings, subject, began)
        found = cluster.find(ref) or _create(cluster, ref, job(template, ref, settings, subject))
        pods = [] if _condition(found, "Complete") else _pods(cluster, ref)
        outcome, reason = judge(found, pods)
        if outcome is Outcome.FAIL and pods:
            reason += _last_words(cluster, pods[-1])
    except ClusterError as error:
        outcome, reason = Outcome.UNREACHABLE, str(error)
    reason = f"{name}: {reason}"
    state: dict[str, Any] = {"began": began}
    if outcome.value in FINISHED:
        state.update(outcome=outcome.value, reason=reason)
    return Measurement(gate=name, outcome=outcome, reason=reason, counters=state)


def judge(found: Object, pods: list[Object]) -> tuple[Outcome, str]:
    """How a Job stands, with its pods where it is not complete."""
    what = f"Job {found['metadata']['namespace']}/{found['metadata']['name']}"
    if _condition(found, "Complete"):
        return Outcome.PASS, f"{what} is complete"
    trouble = next(filter(None, map(pod_trouble, pods)), "")
    if failed := _condition(found, "Failed"):
        if trouble:
            return Outcome.UNREACHABLE, f"{what} could not start: {trouble}"
        return Outcome.FAIL, f"{what} failed: {failed.get('message') or failed.get('reason') or 'no reason given'}"
    if trouble:
        return Outcome.UNREACHABLE, f"{what} can't start: {trouble}"
    return Outcome.WAITING, f"{what} is still running"


def job_ref(name: str, settings: Settings, subject: Subject, began: float) -> Ref:
    """Where the Job of this step is: the same for whichever run asks, so that a resumed one finds it."""
    key = hashlib.sha256(f"{subject.preview} {name} {began}".encode()).hexdigest()[:10]
    namespace = settings.namespace or subject.preview.namespace
    return Ref(group="batch", resource="jobs", namespace=namespace, name=f"pipeline-step-{name[:30].rstrip('-')}-{key}")


def job(template: Object, ref: Ref, settings: Settings, subject: Subject) -> Object:
    """The Job to create, from a template that is a Job itself; the template is left as it is."""
    spec = {"backoffLimit": 0, "ttlSecondsAfterFinished": KEPT, **template.get("spec", {})}
    spec.setdefault("activeDeadlineSeconds", int(seconds(settings.timeout)))
    pod = {**spec.get("template", {})}
    pod_meta = {**pod.get("metadata", {})}
    pod_meta["labels"] = {**NO_SIDECAR, **pod_meta.get("labels", {})}
    pod_spec = {"restartPolicy": "Never", **pod.get("spec", {})}
    if settings.service_account:
        pod_spec["serviceAccountName"] = settings.service_account
    given = _environment(subject)
    for key in ("initContainers", "containers"):
        if key in pod_spec:
            pod_spec[key] = [{**one, "env": [*given, *(one.get("env") or [])]} for one in pod_spec[key]]
    spec["template"] = {**pod, "metadata": pod_meta, "spec": pod_spec}
    meta = template.get("metadata", {})
    metadata = {**meta, "name": ref.name, "namespace": ref.namespace, "labels": {**meta.get("labels", {}), **MANAGED}}
    return {**template, "kind": "Job", "metadata": metadata, "spec": spec}


def _template(settings: Settings, subject: Subject) -> Object:
    if settings.manifest:
        return _manifest(settings.manifest)
    if settings.load:
        one = container(settings.load, sides(subject))
    else:
        one = {"name": "gate", "image": settings.image}
        one.update({key: value for key, value in (("command", settings.command), ("args", settings.args)) if value})
    return {"spec": {"template": {"spec": {"containers": [one]}}}}


def _manifest(path: str) -> Object:
    import yaml

    try:
        documents = [one for one in yaml.safe_load_all(Path(path).read_text(encoding="utf-8")) if one]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"gates: job: manifest: {path} can't be read ({' '.join(str(error).split())})") from None
    kinds = [one.get("kind") if isinstance(one, dict) else type(one).__name__ for one in documents]
    if kinds != ["Job"]:
        raise ConfigError(f"gates: job: manifest: {path} must hold one Job; it holds: {', '.join(map(str, kinds))}")
    template: Object = documents[0]
    return template


def _environment(subject: Subject) -> list[dict[str, str]]:
    values = {"PREVIEW_WEIGHT": str(subject.weight)}
    for prefix, backend in (("PREVIEW", subject.preview), ("STABLE", subject.stable)):
        values[f"{prefix}_HOST"] = backend.host
        values[f"{prefix}_NAMESPACE"] = backend.namespace
        values[f"{prefix}_SERVICE"] = backend.service
    return [{"name": name, "value": value} for name, value in values.items()]


def _cluster(settings: Settings, sources: Sources) -> Cluster:
    if not settings.context:
        return next(iter(sources.clusters.values()))
    if settings.context not in sources.clusters:
        listed = ", ".join(sources.clusters)
        raise ConfigError(f"gates: job: context: {settings.context!r} is none of the rollout's: {listed}")
    return sources.clusters[settings.context]


def _create(cluster: Cluster, ref: Ref, wanted: Object) -> Object:
    try:
        return cluster.create(ref, wanted)
    except Conflict:
        return cluster.get(ref)


def _condition(found: Object, kind: str) -> Object | None:
    conditions = (found.get("status") or {}).get("conditions") or []
    return next((one for one in conditions if one["type"] == kind and one["status"] == "True"), None)


def _pods(cluster: Cluster, ref: Ref) -> list[Object]:
    return cluster.list_objects("", "pods", ref.namespace, f"job-name={ref.name}")


def _last_words(cluster: Cluster, pod: Object) -> str:
    """What the pod wrote last; nothing where that can't be read, since the verdict stands without it."""
    meta = pod["metadata"]
    try:
        text = cluster.logs(meta["namespace"], meta["name"], pod["spec"]["containers"][0]["name"], previous=False)
    except ClusterError:
        return ""
    return f"; it wrote last: {' '.join(text.split())[-200:]}" if text.strip() else ""
