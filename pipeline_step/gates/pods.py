"""Texts that the pods behind a Service answer, read side by side through the API servers' pod proxy."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline_step.errors import ClusterError
from pipeline_step.model import Backend

if TYPE_CHECKING:
    from pipeline_step.cluster import Cluster

AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Answers:
    """Texts by CONTEXT/POD, how many ready pods there are, and one sentence for each that could not be read."""

    texts: Mapping[str, str]
    pods: int
    failures: tuple[str, ...]


def read(
    clusters: Mapping[str, Cluster], backend: Backend, port: int | None, path: str, patience: float = 6.0
) -> Answers:
    """GET `path` of every ready pod behind a Service, in all clusters; the Service's target port if none is given.

    Takes no longer than `patience` seconds: what did not answer by then is a failure.
    """
    texts: dict[str, str] = {}
    failures: list[str] = []
    pods = 0
    executor = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="scrape")
    try:
        listed = {executor.submit(cluster.endpoints, backend): context for context, cluster in clusters.items()}
        done, late = wait(listed, timeout=patience / 2)
        failures += [f"the cluster did not list the pods of {backend} within {patience / 2:g} s" for _ in late]
        asked: dict[Future[str], str] = {}
        for answer in done:
            context = listed[answer]
            try:
                endpoints = {endpoint.pod: endpoint for endpoint in answer.result()}
            except ClusterError as error:
                failures.append(str(error))
                continue
            pods += len(endpoints)
            for pod in endpoints.values():
                call = executor.submit(clusters[context].pod_get, pod.namespace, pod.pod, port or pod.port, path)
                asked[call] = f"{context}/{pod.pod}" if context else pod.pod
        read_now, too_late = wait(asked, timeout=patience / 2)
        failures += [f"pod {asked[call]} did not answer within {patience / 2:g} s" for call in too_late]
        for call in read_now:
            try:
                texts[asked[call]] = call.result()
            except ClusterError as error:
                failures.append(str(error))
    finally:
        executor.shutdown(wait=False, cancel_futures=True)
    return Answers(texts, pods, tuple(failures))
