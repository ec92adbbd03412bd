"""The kubelet's part: every pod's containers as local processes of the sample app, with probes and restarts."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from pipeline_step.sandbox.containers import Container
from pipeline_step.sandbox.controller import condition
from pipeline_step.sandbox.images import Images
from pipeline_step.sandbox.kinds import POD
from pipeline_step.sandbox.refusals import ApiError
from pipeline_step.sandbox.registry import Registry, timestamp
from pipeline_step.sandbox.store import Event

Obj = dict[str, Any]
NODE = "sandbox"
MANAGER = "kubelet"


class Kubelet:
    """Runs the pods of a sandbox. `addresses` gives a new pod its own loopback address."""

    def __init__(self, registry: Registry, images: Images, addresses: Any, logs: Path) -> None:
        self.registry = registry
        self.images = images
        self._addresses = addresses
        self._logs = logs
        self._pods: dict[str, asyncio.Task[None]] = {}
        self._deleted: dict[str, asyncio.Event] = {}

    async def run(self) -> None:
        """Follow the pods until cancelled; then their processes are gone too."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[Event] = asyncio.Queue()

        def hear(event: Event) -> None:
            if event.kind is POD:
                loop.call_soon_threadsafe(queue.put_nowait, event)

        stop = self.registry.store.subscribe(hear, since=0)
        try:
            while True:
                self._follow(await queue.get())
        finally:
            stop()
            for task in self._pods.values():
                task.cancel()
            await asyncio.gather(*self._pods.values(), return_exceptions=True)

    def log(self, namespace: str, name: str, container: str) -> str:
        """What a pod's container has printed; of its first container when none is named."""
        pod = self.registry.store.get(POD, namespace, name)
        chosen = container or pod["spec"]["containers"][0]["name"]
        path = self._logs / pod["metadata"]["uid"] / f"{chosen}.log"
        return path.read_text() if path.exists() else ""

    def _follow(self, event: Event) -> None:
        meta = event.object["metadata"]
        uid = meta["uid"]
        if event.type == "DELETED":
            task = self._pods.pop(uid, None)
            self._deleted.pop(uid, None)
            if task:
                task.cancel()
            return
        if uid not in self._pods and not event.before:
            self._deleted[uid] = asyncio.Event()
            self._pods[uid] = asyncio.create_task(self._live(event.object))
        if meta.get("deletionTimestamp") and uid in self._deleted:
            self._deleted[uid].set()

    async def _live(self, pod: Obj) -> None:
        """A pod from its start to the end of its processes."""
        uid = pod["metadata"]["uid"]
        address = self._addresses()
        changed = asyncio.Event()
        containers = [
            Container(self.registry.store, self.images, pod, spec, address, self._logs / uid, changed)
            for spec in pod["spec"]["containers"]
        ]
        tasks = [asyncio.create_task(container.run()) for container in containers]
        publisher = asyncio.create_task(self._publish(pod, address, containers, changed))
        try:
            await self._deleted[uid].wait()
            changed.set()
            grace = self.registry.store.get(POD, *_key(pod))["metadata"]["deletionGracePeriodSeconds"]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*(container.stop(grace) for container in containers))
            publisher.cancel()
            self.registry.delete(POD, *_key(pod), {"gracePeriodSeconds": 0, "preconditions": {"uid": uid}})
        except ApiError:
            return
        finally:
            publisher.cancel()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*(container.end() for container in containers))

    async def _publish(self, pod: Obj, address: str, containers: list[Container], changed: asyncio.Event) -> None:
        bound = False
        started = timestamp()
        while True:
            changed.clear()
            try:
                if not bound:
                    self.registry.update(POD, *_key(pod), _bind, manager="kube-scheduler")
                    bound = True
                self.registry.update(
                    POD,
                    *_key(pod),
                    lambda live: {**live, "status": _status(live, address, containers, started)},
                    subresource="status",
                    manager=MANAGER,
                )
            except ApiError as error:
                if error.code == 404:
                    return
            await changed.wait()


def _key(pod: Obj) -> tuple[str, str]:
    return pod["metadata"]["namespace"], pod["metadata"]["name"]


def _bind(live: Obj) -> Obj:
    live["spec"]["nodeName"] = NODE
    return live


def _status(live: Obj, address: str, containers: list[Container], started: str) -> Obj:
    statuses = [container.status() for container in containers]
    ready = all(status["ready"] for status in statuses)
    up = any(status["state"].get("running") or status["restartCount"] for status in statuses)
    node = address.rpartition(".")[0].rpartition(".")[0] + ".0.1"
    unready = [status["name"] for status in statuses if not status["ready"]]
    why = {} if ready else {"reason": "ContainersNotReady", "message": f"containers with unready status: {unready}"}
    return {
        "phase": "Running" if up else "Pending",
        "conditions": [
            _condition(live, "PodReadyToStartContainers", True),
            _condition(live, "Initialized", True),
            _condition(live, "Ready", ready, **why),
            _condition(live, "ContainersReady", ready, **why),
            _condition(live, "PodScheduled", True),
        ],
        "hostIP": node,
        "hostIPs": [{"ip": node}],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": (live.get("status") or {}).get("startTime", started),
        "containerStatuses": statuses,
        "qosClass": "BestEffort",
    }


def _condition(live: Obj, kind: str, truth: bool, **why: str) -> Obj:
    held = condition(live, kind)
    value = "True" if truth else "False"
    same = held is not None and held["status"] == value
    since = held["lastTransitionTime"] if held and same else timestamp()
    return {"type": kind, "status": value, "lastProbeTime": None, "lastTransitionTime": since, **why}
