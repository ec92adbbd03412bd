"""Texts that the pods behind Services answer, read side by side through the API servers' pod proxy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from pipeline_step.errors import ClusterError
from pipeline_step.model import Backend

if TYPE_CHECKING:
    from pipeline_step.cluster import Cluster, Endpoint

AT_ONCE = 32
T = TypeVar("T")


@dataclass(slots=True)
class Answers:
    """Texts by CONTEXT/POD, how many ready pods there are, and one sentence for each that could not be read."""

    texts: dict[str, str] = field(default_factory=dict)
    pods: int = 0
    failures: list[str] = field(default_factory=list)


def read(
    clusters: Mapping[str, Cluster],
    backends: Mapping[str, Backend],
    port: int | None,
    path: str,
    patience: float = 6.0,
) -> dict[str, Answers]:
    """GET `path` of every ready pod behind each Service, in all clusters; the target port if no port is given.

    A pod behind several of them (the `pods` router brings a preview's behind production's) counts for the first.
    Takes no longer than `patience` seconds: what did not answer by then is a failure.
    """
    answers = {key: Answers() for key in backends}
    executor = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="read-pods")
    try:
        listed: dict[Future[list[Endpoint]], tuple[str, str]] = {
            executor.submit(cluster.endpoints, backend): (key, context)
            for key, backend in backends.items()
            for context, cluster in clusters.items()
        }
        found = _collect(listed, patience / 2, answers, lambda key, _: f"the pods of {backends[key]} were not listed")
        asked: dict[Future[str], tuple[str, str]] = {}
        taken: set[tuple[str, str, str]] = set()
        for key, context in sorted(found, key=lambda one: list(backends).index(one[0])):
            own = {endpoint.pod: (context, endpoint.namespace, endpoint.pod) for endpoint in found[key, context]}
            pods = {endpoint.pod: endpoint for endpoint in found[key, context] if own[endpoint.pod] not in taken}
            taken.update(own.values())
            answers[key].pods += len(pods)
            for pod in pods.values():
                call = executor.submit(clusters[context].pod_get, pod.namespace, pod.pod, port or pod.port, path)
                asked[call] = (key, f"{context}/{pod.pod}" if context else pod.pod)
        texts = _collect(asked, patience / 2, answers, lambda _, pod: f"pod {pod} did not answer")
        for (key, pod_name), text in texts.items():
            answers[key].texts[pod_name] = text
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
    return answers


def _collect(
    calls: Mapping[Future[T], tuple[str, str]],
    patience: float,
    answers: Mapping[str, Answers],
    late: Callable[[str, str], str],
) -> dict[tuple[str, str], T]:
    """What the calls gave in time; the others become failures of their side, which is the first of their names."""
    done, too_late = wait(calls, timeout=patience)
    for call in too_late:
        answers[calls[call][0]].failures.append(f"{late(*calls[call])} within {patience:g} s")
    results: dict[tuple[str, str], T] = {}
    for call in done:
        try:
            results[calls[call]] = call.result()
        except ClusterError as error:
            answers[calls[call][0]].failures.append(str(error))
    return results
