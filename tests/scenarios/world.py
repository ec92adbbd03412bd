"""One scenario's part of the cluster: production with its route, previews, and the step's real command line."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .bed import Bed, Obj, eventually
from .watching import RECORD, Change, History, agrees, bare, recorded, weights

APP = "croc"
LIMIT = 180  # seconds after which a run of the step counts as hanging
STABLE_IMAGE, PREVIEW_IMAGE, OTHER_IMAGE = (f"localhost/sample:{number}" for number in (1, 2, 3))
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Done:
    """How a run of the step ended, and how long it took in seconds."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def result(self) -> Obj:
        """The machine-readable result of a run with `-o json`."""
        found: Obj = json.loads(self.out)
        return found


@dataclass
class Running:
    """A run of the step in the background."""

    process: subprocess.Popen[str]
    log: Path
    began: float = field(default_factory=time.monotonic)

    def send(self, signum: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(signum)

    def err(self) -> str:
        """What it has said so far on standard error."""
        return self.log.read_text()

    def end(self, within: float = LIMIT) -> Done:
        """Wait for it."""
        out, _ = self.process.communicate(timeout=within)
        return Done(self.process.returncode, out, self.err(), time.monotonic() - self.began)


@dataclass
class World:
    """Production `croc` in a namespace of its own, with one ready pod, and a VirtualService that leads to it."""

    bed: Bed
    directory: Path
    namespace: str
    config: Obj
    environment: dict[str, str]
    running: list[Running] = field(default_factory=list)

    @property
    def host(self) -> str:
        """The host under which the gateway serves production."""
        return f"{self.namespace}.example"

    @property
    def stable(self) -> str:
        """Production's host in the cluster."""
        return f"{APP}.{self.namespace}.svc.cluster.local"

    def preview_namespace(self, number: int = 7) -> str:
        """Where the preview of a pull request lives."""
        return f"{self.namespace}-pr-{number}"

    def preview(self, number: int = 7) -> str:
        """The preview's host in the cluster."""
        return f"{APP}.{self.preview_namespace(number)}.svc.cluster.local"

    def configure(self, **changes: Any) -> None:
        """Write the configuration file with these keys replaced, or for a mapping its keys."""
        for key, value in changes.items():
            held = self.config.get(key)
            self.config[key] = {**held, **value} if isinstance(held, dict) and isinstance(value, dict) else value
        (self.directory / ".pipeline-step.yaml").write_text(yaml.safe_dump(self.config))

    def begin(self, *arguments: str, **environment: str) -> Running:
        """Start the step; variables that are given empty are unset."""
        log = self.directory / f"stderr-{next(_numbers)}"
        variables = {**self.environment, **environment}
        with log.open("w") as errors:
            process = subprocess.Popen(
                [sys.executable, "-m", "pipeline_step", *arguments],
                cwd=self.directory,
                env={key: value for key, value in variables.items() if value},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.running.append(Running(process, log))
        return self.running[-1]

    def step(self, *arguments: str, **environment: str) -> Done:
        """Run the step to its end. It must never show a traceback, whatever happens."""
        done = self.begin(*arguments, **environment).end()
        assert "Traceback" not in done.err, done.err
        return done

    def deploy(self, number: int = 7, image: str = PREVIEW_IMAGE, sha: str = "", replicas: int = 1, **env: str) -> None:
        """A preview as an earlier step of a pipeline left it: namespace, Deployment, Service, one ready pod."""
        namespace = self.preview_namespace(number)
        labels = {
            "app.kubernetes.io/managed-by": "pipeline-step",
            "pipeline-step.dev/app": APP,
            "pipeline-step.dev/pull-request": str(number),
        }
        if self.bed.api.find("Namespace", "", namespace) is None:
            self.bed.api.create({"kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})
        if self.bed.api.find("Deployment", namespace, APP) is None:
            annotations = {"pipeline-step.dev/sha": sha} if sha else {}
            self.bed.api.create(deployment(image, replicas, env, annotations), namespace)
            self.bed.api.create(service(), namespace)
        self.await_ready(namespace, replicas)

    def manifest(self, **env: str) -> None:
        """Have previews made from a manifest, with this environment, instead of cloned from production."""
        objects = [deployment("${IMAGE}", 1, env, {}), service()]
        (self.directory / "preview.yaml").write_text(yaml.safe_dump_all(objects))
        self.configure(preview={"clone": False, "manifests": "preview.yaml"})

    def await_ready(self, namespace: str, replicas: int = 1) -> None:
        """Wait until so many pods stand ready behind the Service."""
        eventually(lambda: len(self.ready_pods(namespace)) == replicas, f"{replicas} ready pods in {namespace}")

    def await_gone(self, number: int = 7) -> None:
        """Wait until the preview's namespace is gone."""
        space = self.preview_namespace(number)
        eventually(lambda: self.bed.api.find("Namespace", "", space) is None, f"{space} is gone")

    def ready_pods(self, namespace: str) -> set[str]:
        """The addresses that the EndpointSlices call ready."""
        return ready(self.bed.api.list("EndpointSlice", namespace))

    def virtual_service(self) -> Obj:
        """The route as it is stored now."""
        return self.bed.api.get("VirtualService", self.namespace, APP)

    def weight(self, number: int = 7) -> int:
        """The preview's percentage as it is stored now."""
        return weights(self.virtual_service()).get(self.preview(number), 0)

    def recorded(self, number: int = 7) -> Obj | None:
        """The preview's rollout as it is stored now."""
        return recorded(self.virtual_service()).get(self.preview(number))

    def answers(self, count: int = 40, **headers: str) -> Counter[str]:
        """Who answers at the gateway."""
        return self.bed.answers(self.host, count, **headers)

    def await_answers(self, releases: set[str]) -> None:
        """Wait until exactly these answer at the gateway: the mesh has followed."""
        eventually(lambda: set(self.answers()) == releases, f"{releases} answer")

    def await_weight(self, weight: int, number: int = 7) -> None:
        """Wait until the preview has this percentage, for as long as the step that was started last runs."""

        def reached() -> bool:
            alive = not self.running or self.running[-1].process.poll() is None
            found = self.weight(number)
            assert found == weight or alive, f"the step ended at {found} %: {self.running[-1].err()}"
            return found == weight

        eventually(reached, f"{weight} % for the preview")

    def production_image(self) -> str:
        """What production's template names."""
        found = self.bed.api.get("Deployment", self.namespace, APP)
        return str(found["spec"]["template"]["spec"]["containers"][0]["image"])

    def age_lease(self, seconds: float = 3600) -> None:
        """Make every lease of production's namespace look as if its holder had died so long ago."""
        past = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime(time.time() - seconds))
        for lease in self.bed.api.list("Lease", self.namespace):
            change = {"spec": {"renewTime": past}}
            self.bed.api.patch("Lease", self.namespace, lease["metadata"]["name"], change)

    def history(self, *numbers: int) -> History:
        """Remember what happens from now on to the route and to the endpoints of these previews."""
        previews = [("EndpointSlice", self.preview_namespace(number)) for number in numbers or (7,)]
        return History(self.bed.api, ("VirtualService", self.namespace), *previews)

    def routes(self, history: History) -> list[Obj]:
        """Every stored state of the route since then."""
        changes = history.changes("VirtualService", self.namespace)
        return [change.object for change in changes if change.type != "DELETED"]

    def assert_consistent(self, history: History, *numbers: int) -> None:
        """In every stored state record and weights agree, and no preview without a ready pod is given a share."""
        routes = history.changes("VirtualService", self.namespace)
        for change in routes:
            assert change.type == "DELETED" or agrees(change.object, self.stable), change.object
        for number in numbers or (7,):
            slices = history.changes("EndpointSlice", self.preview_namespace(number))
            given = 0
            for change in routes:
                weight = weights(change.object).get(self.preview(number), 0)
                if weight > given:
                    there = _at(slices, change.version)
                    assert ready(there), f"{weight} % at version {change.version}, but no ready pod: {there}"
                given = weight

    def close(self) -> None:
        """End what still runs, and delete everything of this scenario without waiting for it."""
        for run in self.running:
            if run.process.poll() is None:
                run.process.kill()
            if run.process.stdout and not run.process.stdout.closed:
                run.process.communicate()
        for space in self.bed.api.list("Namespace"):
            name = space["metadata"]["name"]
            if name == self.namespace or name.startswith(f"{self.namespace}-pr-"):
                self.bed.api.delete("Namespace", "", name)


def make(bed: Bed, directory: Path, *, route: Obj | None = None, **env: str) -> World:
    """Bring production up; `route` is the VirtualService's spec where it is not the plain one."""
    namespace = f"prod-{os.getpid() % 1000}-{os.urandom(3).hex()}"
    config = {
        "app": APP,
        "production": {"namespace": namespace, "service": APP, "workload": f"deployment/{APP}"},
        "preview": {"namespace": f"{namespace}-pr-{{number}}", "clone": True, "ready_within": "90s"},
        "traffic": {"istio": {"virtual_service": APP}},
        "strategy": {"steps": [10, 50], "bake": "0.5s", "poll": "0.2s", "deadline": "2m"},
        "promote": {"workload": {"ready_within": "90s"}},
    }
    home = directory / "home"
    home.mkdir()
    variables = {
        "HOME": str(home),
        "KUBECONFIG": str(bed.kubeconfig),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "PULL_NUMBER": "7",
        "REPO_OWNER": "carlossg",
        "REPO_NAME": "croc-hunter",
        "PIPELINE_STEP_BY": "reviewer",
        "NO_PROXY": "*",
    }
    world = World(bed, directory, namespace, config, variables)
    world.configure()
    bed.api.create({"kind": "Namespace", "metadata": {"name": namespace}})
    bed.api.create(deployment(STABLE_IMAGE, 1, env, {}), namespace)
    bed.api.create(service(), namespace)
    bed.api.create(virtual_service(world.host, route or {"http": [{"route": [to(world.stable)]}]}), namespace)
    world.await_ready(namespace)
    return world


def to(host: str, weight: int | None = None, port: int | None = 80) -> Obj:
    """A destination of a route."""
    destination: Obj = {"host": host} | ({"port": {"number": port}} if port else {})
    return {"destination": destination} | ({} if weight is None else {"weight": weight})


def virtual_service(host: str, spec: Obj) -> Obj:
    """The route `croc` for a host at the gateway."""
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"name": APP, "labels": {"team": "reptiles"}, "annotations": {"note": "the user's"}},
        "spec": {"hosts": [host], "gateways": ["istio-system/testbed"], **spec},
    }


def deployment(image: str, replicas: int, env: dict[str, str], annotations: dict[str, str]) -> Obj:
    """The sample application."""
    container = {
        "name": APP,
        "image": image,
        "ports": [{"containerPort": 8080}],
        "env": [{"name": key, "value": value} for key, value in env.items()],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1},
    }
    pods = {"terminationGracePeriodSeconds": 5, "containers": [container]}
    template = {"metadata": {"labels": {"app": APP}, "annotations": annotations}, "spec": pods}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": APP},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": APP}}, "template": template},
    }


def service() -> Obj:
    """The Service in front of the sample application."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": APP},
        "spec": {"selector": {"app": APP}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
    }


def ready(slices: list[Obj]) -> set[str]:
    """The addresses of ready endpoints."""
    return {
        endpoint["addresses"][0]
        for piece in slices
        for endpoint in piece.get("endpoints") or []
        if endpoint.get("conditions", {}).get("ready")
    }


def _at(changes: list[Change], version: int) -> list[Obj]:
    """The objects as they were stored when the server was at that version."""
    objects: dict[str, Obj] = {}
    for change in changes:
        if change.version > version:
            break
        if change.type == "DELETED":
            objects.pop(change.object["metadata"]["uid"], None)
        else:
            objects[change.object["metadata"]["uid"]] = change.object
    return list(objects.values())


def assert_untouched(before: Obj, after: Obj) -> None:
    """The user's object is as it was: only versions and statistics that the server keeps may differ."""
    assert bare(after) == bare(before)
    assert RECORD not in json.dumps(after["metadata"].get("annotations") or {})
