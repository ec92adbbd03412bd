"""Pure: whether pods and workloads are well, and in words why not."""

from __future__ import annotations

from pipeline_step.errors import NotReady
from pipeline_step.model import Object
from pipeline_step.preview import SHA, digest_of

STUCK = {
    "ErrImagePull": "the image can't be pulled",
    "ImagePullBackOff": "the image can't be pulled",
    "InvalidImageName": "the image's name is not valid",
    "CrashLoopBackOff": "the container starts and dies",
    "CreateContainerConfigError": "a ConfigMap or Secret that it names is missing",
    "CreateContainerError": "the container can't be created",
    "RunContainerError": "the container can't be started",
}


def rolled_out(workload: Object) -> tuple[bool, str]:
    """Whether all replicas run the newest template and are available; the second part says how many."""
    status = workload.get("status") or {}
    if status.get("observedGeneration", 0) < workload["metadata"].get("generation", 0):
        return False, "the change has not been seen by its controller yet"
    if "desiredNumberScheduled" in status:
        wanted = status["desiredNumberScheduled"]
        updated, available, total = status.get("updatedNumberScheduled", 0), status.get("numberAvailable", 0), wanted
    else:
        wanted = workload["spec"].get("replicas", 1)
        updated, total = status.get("updatedReplicas", 0), status.get("replicas", 0)
        available = status.get("availableReplicas", 0)
    text = f"{updated} of {wanted} replicas updated, {available} available"
    return updated >= wanted and total <= updated and available >= wanted, text


def pod_trouble(pod: Object) -> str:
    """In words why a pod can't get ready by itself, or "" where it may still."""
    status = pod.get("status") or {}
    name = pod["metadata"]["name"]
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in STUCK:
            detail = f" ({waiting['message']})" if waiting.get("message") else ""
            return f"pod {name}, container {container['name']}: {STUCK[waiting['reason']]}{detail}"
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return f"pod {name} can't be scheduled: {condition.get('message', 'no node fits')}"
    return ""


def is_ready(pod: Object) -> bool:
    """Whether the pod counts for traffic: ready, and not on its way out."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    ready = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
    return ready and not pod["metadata"].get("deletionTimestamp")


def running_image(pods: list[Object], container: str) -> tuple[str, str, str]:
    """Image, digest and reviewed SHA that these ready pods run.

    The digest is the one asked for where the pod names it, else the one the node pulled. Raises `NotReady` where the
    pods do not agree, since then a roll-out is under way.
    """
    found = {_running(pod, container) for pod in pods}
    if len(found) > 1:
        raise NotReady(f"its {len(pods)} pods run {len(found)} different versions: a roll-out is under way")
    return found.pop()


def _running(pod: Object, container: str) -> tuple[str, str, str]:
    specs = pod["spec"]["containers"]
    spec = next((c for c in specs if c["name"] == container), specs[0])
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    image_id = next((status.get("imageID", "") for status in statuses if status["name"] == spec["name"]), "")
    sha = (pod["metadata"].get("annotations") or {}).get(SHA, "")
    return spec["image"], digest_of(spec["image"]) or digest_of(image_id), sha
