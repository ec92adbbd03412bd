"""A namespace where pipelines run: the Tasks and Pipelines as they are, and accounts with exactly the printed roles."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..scenarios.bed import Bed, eventually
from ..scenarios.world import World

Obj = dict[str, Any]
CATALOG = Path(__file__).parents[2] / "tekton"
GRACE = 120.0
"""Seconds that a run may take on a busy machine."""


@dataclass
class Lane:
    """Runs of our Tasks and Pipelines on a world's production, in a namespace of their own."""

    world: World
    namespace: str

    @property
    def bed(self) -> Bed:
        """The cluster."""
        return self.world.bed

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """kubectl in the lane's namespace."""
        return self.bed.kubectl("--namespace", self.namespace, *arguments, text=text)

    def apply(self, *documents: Obj) -> None:
        """Apply objects in the lane's namespace."""
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", text=yaml.safe_dump_all(documents))

    def get(self, kind: str, name: str) -> Obj:
        """One object of the lane."""
        found: Obj = json.loads(self.kubectl("get", kind, name, "-o", "json"))
        return found

    def install(self) -> None:
        """Everything of the catalog, the configuration as a ConfigMap, and the accounts."""
        self.bed.kubectl("create", "namespace", self.namespace)
        files = sorted(CATALOG.glob("*/*/0.1/*.yaml"))
        self.apply(*(yaml.safe_load(path.read_text()) for path in files))
        self.configure()

    def configure(self) -> None:
        """Bring ConfigMap and roles up to date with the world's configuration file."""
        file = self.world.directory / ".pipeline-step.yaml"
        self.apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": "pipeline-step"},
                "data": {".pipeline-step.yaml": file.read_text()},
            }
        )
        printed = subprocess.run(
            [sys.executable, "-m", "pipeline_step", "roles", "--namespace", self.namespace],
            cwd=self.world.directory,
            env=self.world.environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout
        self.bed.kubectl("apply", "-f", "-", text=printed)

    def parameters(self, **more: str) -> list[Obj]:
        """The parameters that every Task wants, and more."""
        given = {"repo-owner": "carlossg", "repo-name": "croc-hunter", "pull-request": "7"}
        given |= {name.replace("_", "-"): value for name, value in more.items()}
        return [{"name": name, "value": value} for name, value in given.items()]

    def start_task(self, task: str, account: str = "shift", spec: Obj | None = None, **parameters: str) -> str:
        """Start a TaskRun of one of our Tasks; its name."""
        name = f"{task}-{os.urandom(3).hex()}"
        body = {
            "serviceAccountName": f"pipeline-step-{account}",
            "taskRef": {"name": f"pipeline-step-{task}"},
            "params": self.parameters(**parameters),
            "workspaces": [{"name": "source", "configMap": {"name": "pipeline-step"}}],
            **(spec or {}),
        }
        if task == "comment":
            del body["workspaces"]
        self.create({"apiVersion": "tekton.dev/v1", "kind": "TaskRun", "metadata": {"name": name}, "spec": body})
        return name

    def create(self, obj: Obj) -> None:
        """Create a run."""
        self.kubectl("create", "-f", "-", text=yaml.safe_dump(obj))

    def start_pipeline(self, change: Callable[[Obj], None] = lambda spec: None, **parameters: str) -> str:
        """Start the pull request's Pipeline as its sample does, with its spec changed; the PipelineRun's name."""
        sample = yaml.safe_load((CATALOG / "pipeline/pipeline-step-pull-request/0.1/samples/run.yaml").read_text())
        name = f"pull-request-{os.urandom(3).hex()}"
        run = copy.deepcopy(sample) | {"metadata": {"name": name}}
        run["spec"]["params"] = self.parameters(**{"image": "localhost/sample:2", "sha": "abcdef1", **parameters})
        change(run["spec"])
        self.create(run)
        return name

    def cancel(self, name: str, how: str) -> None:
        """Set spec.status of a PipelineRun."""
        change = json.dumps({"spec": {"status": how}})
        self.kubectl("patch", "pipelinerun", name, "--type=merge", "-p", change)

    def wait(self, kind: str, name: str, seconds: float = GRACE) -> Obj:
        """The run when it is over."""

        def over() -> Obj | None:
            run = self.get(kind, name)
            (condition,) = run.get("status", {}).get("conditions") or [{}]
            return run if condition.get("status") in ("True", "False") else None

        try:
            found = eventually(over, f"{kind} {name} is over", seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.told()}") from error
        assert found is not None
        return found

    def told(self) -> str:
        """What all pods of the lane have said, for failures."""
        pods = self.kubectl("get", "pods", "-o", "name").split()
        logs = [f"--- {pod}\n" + self._log(pod) for pod in pods]
        events = self.kubectl("get", "events", "--field-selector=type=Warning")
        return "\n".join([*logs, events])

    def _log(self, pod: str) -> str:
        try:
            return self.kubectl("logs", pod, "--all-containers", "--tail=50")
        except AssertionError as error:
            return str(error)

    def task_runs(self, pipeline_run: str) -> dict[str, Obj]:
        """The TaskRuns of a PipelineRun, by the name of their task."""
        listed = json.loads(
            self.kubectl("get", "taskruns", f"--selector=tekton.dev/pipelineRun={pipeline_run}", "-o", "json")
        )
        return {run["metadata"]["labels"]["tekton.dev/pipelineTask"]: run for run in listed["items"]}

    def await_weight(self, weight: int, run: str = "") -> None:
        """Until the preview has this percentage."""
        try:
            eventually(lambda: self.world.weight() == weight, f"{weight} % for the preview", GRACE)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.told()}") from error

    def remove(self) -> None:
        """Delete all of it without waiting."""
        for kinds, where in (("clusterroles,clusterrolebindings", []), ("roles,rolebindings", ["-n", "istio-system"])):
            roles = self.bed.kubectl("get", kinds, *where, "-o", "name").split()
            ours = [name for name in roles if name.endswith(f"-{self.world.config['app']}")]
            if ours:
                self.bed.kubectl("delete", "--wait=false", *where, *ours)
        self.bed.kubectl("delete", "namespace", self.namespace, "--wait=false")


def results(run: Obj) -> dict[str, str]:
    """The results of a TaskRun or PipelineRun."""
    status = run["status"]
    return {result["name"]: result["value"] for result in status.get("results") or []}


def reason(run: Obj) -> str:
    """Why a run ended, in Tekton's word."""
    return str(run["status"]["conditions"][0]["reason"])


def exit_code(run: Obj) -> int:
    """The exit code of a TaskRun's last step."""
    return int(run["status"]["steps"][-1]["terminated"]["exitCode"])


def seconds_between(earlier: str, later: str) -> float:
    """Between two of the API's timestamps."""
    form = "%Y-%m-%dT%H:%M:%SZ"
    return time.mktime(time.strptime(later, form)) - time.mktime(time.strptime(earlier, form))
