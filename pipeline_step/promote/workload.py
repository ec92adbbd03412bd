"""Promote by giving production's own workload the judged image, by digest."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pipeline_step.errors import ClusterError, Conflict
from pipeline_step.health import pod_trouble, rolled_out
from pipeline_step.model import Object, Workload
from pipeline_step.preview import container_of, set_image
from pipeline_step.promote.interface import written_nowhere
from pipeline_step.settings import Duration, Strict, says

if TYPE_CHECKING:
    from pipeline_step.cluster import Cluster


class Settings(Strict, frozen=True):
    """How long production may take to run the new image before the old one comes back."""

    ready_within: Annotated[
        Duration, says("how long production may take to run the new image before the old one comes back")
    ] = "10m"


WRITES_GIT = False
write = withdraw = written_nowhere


@dataclass(frozen=True, slots=True)
class Progress:
    """`ready` when every replica runs what it was told; `stuck` when it won't get there by itself."""

    ready: bool
    stuck: bool
    reason: str


def current(settings: Settings, production: Workload, cluster: Cluster) -> str:
    """The image in the workload's template."""
    image: str = container_of(cluster.get(production.ref), production.container)["image"]
    return image


def start(settings: Settings, production: Workload, cluster: Cluster, image: str) -> None:
    """Write the image into the workload's template; everything else in it stays."""
    for _ in range(5):
        workload = cluster.get(production.ref)
        if container_of(workload, production.container)["image"] == image:
            return
        changed = copy.deepcopy(workload)
        set_image(changed, production.container, image)
        try:
            cluster.replace(production.ref, changed)
        except Conflict:
            continue
        return
    raise Conflict(f"{production.ref} is changed by someone else all the time; nothing was promoted", 409)


def progress(settings: Settings, production: Workload, cluster: Cluster, image: str) -> Progress:
    """Whether the roll-out of the workload is complete, or why not."""
    workload = cluster.get(production.ref)
    done, reason = rolled_out(workload)
    if done:
        return Progress(True, False, reason)
    selector = workload["spec"]["selector"].get("matchLabels") or {}
    labels = ",".join(f"{key}={value}" for key, value in selector.items())
    pods = cluster.list_objects("", "pods", production.namespace, labels)
    trouble = next((words for pod in pods if (words := pod_trouble(pod))), "")
    if trouble:
        return Progress(False, True, f"{trouble}{last_words(cluster, pods)}")
    late = any(
        condition.get("reason") == "ProgressDeadlineExceeded"
        for condition in workload.get("status", {}).get("conditions") or []
    )
    return Progress(False, late, f"{reason} (its progress deadline has passed)" if late else reason)


def last_words(cluster: Cluster, pods: list[Object]) -> str:
    """The last lines of the first container that keeps dying, as ": ..."; "" where none does or none can be read."""
    for pod in pods:
        for container in (pod.get("status") or {}).get("containerStatuses") or []:
            if (container.get("state") or {}).get("waiting", {}).get("reason") == "CrashLoopBackOff":
                metadata = pod["metadata"]
                try:
                    text = cluster.logs(metadata["namespace"], metadata["name"], container["name"], previous=True)
                except ClusterError:
                    return ""
                return f"; its last lines: {text.strip()}" if text.strip() else ""
    return ""
