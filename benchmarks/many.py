"""Many rollouts at once: targets side by side, and previews that share one route.

`python -m benchmarks.many targets|previews COUNT FOLDER` is the process that is measured.
"""

from __future__ import annotations

import dataclasses
import json
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import requests
import yaml

from benchmarks.section import Goal, Section
from pipeline_step.sandbox import Sandbox

TARGETS = (25, 50, 100)
PREVIEWS = (125, 500)
WRITERS = 8  # that write the one route at the same time
STEPS = (1, 5, 25)
SHARING = 50  # previews with one percent each; all others are recorded without a share
RECORD = "pipeline-step.dev/rollouts"
LIMIT = 256 * 1024  # bytes of annotations that the API server takes


class Cost(NamedTuple):
    """What the measured process took: seconds of wall time and of processor, and its peak memory in MB."""

    seconds: float
    processor: float
    megabytes: float


def measure() -> Section:
    """All sizes, each on a route and services of its own in one sandbox."""
    rows, goals = [], []
    with Sandbox() as sandbox:
        costs = {}
        for count in TARGETS:
            costs[count] = targets(sandbox, count)
            rows.append((f"{count} targets side by side", *_told(costs[count]), "-"))
        growth = (costs[TARGETS[-1]].processor / costs[TARGETS[0]].processor) / (TARGETS[-1] / TARGETS[0])
        words = f"each of {TARGETS[-1]} targets takes {growth:.2f} times the processor time of each of {TARGETS[0]}"
        goals.append(Goal(growth < 1.5, f"near-linear growth: {words}"))
        for count in PREVIEWS:
            cost, size = previews(sandbox, count)
            rows.append((f"{count} previews in one route", *_told(cost), f"{size / 1024:.0f} KiB"))
        goals.append(Goal(size < LIMIT, f"{PREVIEWS[-1]} previews fit into the {LIMIT // 1024} KiB of annotations"))
        goals.append(Goal(True, "no update was lost: every rollout of every row stood at its weight at the end"))
    return Section(
        title="Many at once",
        how=f"Each target takes a whole rollout through {', '.join(map(str, STEPS))} % without gates and is held, all "
        f"in threads of one process. The previews are recorded on one route by {WRITERS} writers at the same time, the "
        f"first {SHARING} of them with one percent each. The API server of the sandbox is another process on the same "
        "cores; every write carries the whole record, so its cost grows with the number of previews.",
        header=("what", "time", "processor time", "peak memory", "annotations"),
        rows=rows,
        goals=goals,
    )


def _told(cost: Cost) -> tuple[str, str, str]:
    return f"{cost.seconds:.1f} s", f"{cost.processor:.1f} s", f"{cost.megabytes:.0f} MB"


def targets(sandbox: Sandbox, count: int) -> Cost:
    """Roll out to so many targets side by side; raises where one does not stand at its weight at the end."""
    space = f"targets-{count}"
    _namespace(sandbox, space)
    for number in range(count):
        _route(sandbox, space, f"croc-{number}")
    cost = _measured(sandbox, "targets", count, space)
    for number in range(count):
        found = _get(sandbox, space, f"croc-{number}")
        weights = [d["weight"] for d in found["spec"]["http"][0]["route"]]
        recorded = json.loads(found["metadata"]["annotations"][RECORD])["rollouts"]
        if weights != [100 - STEPS[-1], STEPS[-1]] or [r["weight"] for r in recorded] != [STEPS[-1]]:
            raise RuntimeError(f"croc-{number}: {weights}, {recorded}")
    return cost


def previews(sandbox: Sandbox, count: int) -> tuple[Cost, int]:
    """Record so many previews on one route; the cost, and the bytes of its annotations. Raises where one is missing."""
    space = f"previews-{count}"
    _namespace(sandbox, space)
    _route(sandbox, space, "croc-0")
    cost = _measured(sandbox, "previews", count, space)
    found = _get(sandbox, space, "croc-0")
    annotations = found["metadata"]["annotations"]
    recorded = {r["pull_request"]: r.get("weight", 0) for r in json.loads(annotations[RECORD])["rollouts"]}
    wanted = {number: int(number <= SHARING) for number in range(1, count + 1)}
    shares = sum(d["weight"] for d in found["spec"]["http"][0]["route"][1:])
    if recorded != wanted or shares != min(count, SHARING):
        raise RuntimeError(f"{len(recorded)} of {count} previews are recorded, with {shares} %")
    return cost, sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())


def _measured(sandbox: Sandbox, what: str, count: int, space: str) -> Cost:
    with tempfile.TemporaryDirectory(prefix="pipeline-step-many-") as folder:
        settings = {
            "app": "croc",
            "production": {"namespace": space, "service": "croc-0"},
            "preview": {"namespace": space, "service": "preview-{number}"},
            "traffic": {"istio": {"virtual_service": "croc-0"}},
            "strategy": {"steps": list(STEPS), "bake": "0s", "poll": "0.1s", "revert_within": "1m"},
        }
        Path(folder, ".pipeline-step.yaml").write_text(yaml.safe_dump(settings))
        command = [sys.executable, "-m", __spec__.name if __spec__ else __name__, what, str(count), folder]
        environment = {"KUBECONFIG": str(sandbox.kubeconfig), "PYTHONPATH": str(Path(__file__).parents[1])}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=900)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def _namespace(sandbox: Sandbox, space: str) -> None:
    """A namespace with one pod, which stands for every side of every target."""
    _post(sandbox, "/api/v1/namespaces", {"metadata": {"name": space}})
    container = {"name": "app", "image": "croc:1", "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}}}
    pod = {"metadata": {"name": "croc", "labels": {"app": "croc"}}, "spec": {"containers": [container]}}
    _post(sandbox, f"/api/v1/namespaces/{space}/pods", pod)


def _route(sandbox: Sandbox, space: str, name: str) -> None:
    """A target: a Service, a preview's Service, and a VirtualService."""
    number = name.rpartition("-")[2]
    for service in (name, f"preview-{number}"):
        spec = {"selector": {"app": "croc"}, "ports": [{"port": 80, "targetPort": 8080}]}
        _post(sandbox, f"/api/v1/namespaces/{space}/services", {"metadata": {"name": service}, "spec": spec})
    route = {"route": [{"destination": {"host": f"{name}.{space}.svc.cluster.local"}, "weight": 100}]}
    virtual_service = {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": name},
        "spec": {"hosts": [f"{name}.{space}.example"], "http": [route]},
    }
    _post(sandbox, f"/apis/networking.istio.io/v1/namespaces/{space}/virtualservices", virtual_service)


def _post(sandbox: Sandbox, path: str, body: dict[str, Any]) -> None:
    answer = requests.post(sandbox.url + path, json=body, timeout=10)
    if not answer.ok:
        raise RuntimeError(answer.text)


def _get(sandbox: Sandbox, space: str, name: str) -> dict[str, Any]:
    path = f"/apis/networking.istio.io/v1/namespaces/{space}/virtualservices/{name}"
    found: dict[str, Any] = requests.get(sandbox.url + path, timeout=10).json()
    return found


def _roll_out_targets(count: int, folder: str) -> None:
    """In the measured process: one thread for each target."""
    from pipeline_step import rollout
    from pipeline_step.cluster import Cluster
    from pipeline_step.config import Flags, load
    from pipeline_step.http import Http
    from pipeline_step.model import Backend
    from pipeline_step.run import Run
    from pipeline_step.traffic.istio import Settings

    config = load(Flags(file=Path(folder, ".pipeline-step.yaml"), number=1, by="benchmark"))

    def one(number: int) -> str:
        stable = dataclasses.replace(config.target.stable, service=f"croc-{number}")
        target = dataclasses.replace(config.target, stable=stable, route=Settings(virtual_service=f"croc-{number}"))
        run = Run(
            config=config,
            target=target,
            preview=Backend(service=f"preview-{number}", namespace=stable.namespace),
            policy=config.policy,
            clusters={"": Cluster()},
            http=Http(),
            clock=time,
            tell=lambda event: None,
        )
        return rollout.rollout(run).outcome

    with ThreadPoolExecutor(max_workers=count) as pool:
        outcomes = set(pool.map(one, range(count)))
    if outcomes != {"held"}:
        raise RuntimeError(str(outcomes))


def _record_previews(count: int, folder: str) -> None:
    """In the measured process: some writers, each with many previews."""
    from pipeline_step.cluster import Cluster
    from pipeline_step.config import Flags, load
    from pipeline_step.model import Backend, Rollout
    from pipeline_step.record import Rollouts
    from pipeline_step.route import change

    config = load(Flags(file=Path(folder, ".pipeline-step.yaml"), number=1))
    digest, now = "sha256:" + 64 * "0", time.time()

    def write(first: int) -> None:
        cluster = Cluster()
        for number in range(first, count + 1, WRITERS):
            preview = Backend(
                service="croc-hunter-jenkinsx", namespace=f"jx-carlossg-croc-hunter-jenkinsx-serverless-pr-{number}"
            )
            rollout = Rollout(
                preview=preview,
                run=f"{number:08x}",
                by="benchmark",
                pull_request=number,
                sha=f"{number:040x}",
                digest=digest,
                weight=int(number <= SHARING),
                began=now,
                since=now,
                deadline=now + 3600,
                shares=True,
            )

            def recorded(rollouts: Rollouts, rollout: Rollout = rollout) -> Rollouts:
                return {**rollouts, str(rollout.preview): rollout}

            change(config.target, {"": cluster}, recorded)

    with ThreadPoolExecutor(max_workers=WRITERS) as pool:
        list(pool.map(write, range(1, WRITERS + 1)))


if __name__ == "__main__":
    began = time.perf_counter()
    work = {"targets": _roll_out_targets, "previews": _record_previews}[sys.argv[1]]
    work(int(sys.argv[2]), sys.argv[3])
    usage = resource.getrusage(resource.RUSAGE_SELF)
    taken = Cost(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
    print(json.dumps(taken._asdict()))
