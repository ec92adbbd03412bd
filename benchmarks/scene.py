"""croc-hunter in a sandbox, and the program as a process against it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
import yaml

from pipeline_step.sandbox import Sandbox
from pipeline_step.sandbox.load import Load

EXAMPLE = Path(__file__).parents[1] / "examples" / "croc-hunter"
HOST = "croc-hunter.istio.us.g.csanchez.org"
PROGRAM = str(Path(sys.executable).with_name("pipeline-step"))
PREVIEW = "jx-carlossg-croc-hunter-jenkinsx-serverless-pr-{number}"
COMMIT = "2f6e1c9a7b3d4850a1c2e3f4051627384950a6b7"


class Scene:
    """A context manager: production and staging are up, and `step` runs the program as a pipeline would.

    The example's configuration is used with `poll` set to a quarter of a second and the given gates.
    """

    def __init__(self, gates: list[dict[str, Any]] | None = None) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="pipeline-step-benchmark-")
        self.config = Path(self._folder.name) / ".pipeline-step.yaml"
        settings = yaml.safe_load((EXAMPLE / ".pipeline-step.yaml").read_text())
        settings["strategy"]["poll"] = "0.25s"
        if gates is not None:
            settings["gates"] = gates
        self.config.write_text(yaml.safe_dump(settings))
        self.sandbox = Sandbox()
        self.environment = {
            **os.environ,
            "KUBECONFIG": str(self.sandbox.kubeconfig),
            "REPO_OWNER": "carlossg",
            "REPO_NAME": "croc-hunter-jenkinsx-serverless",
            "PULL_PULL_SHA": COMMIT,
            "PIPELINE_STEP_CONFIG": str(self.config),
        }

    def __enter__(self) -> Self:
        try:
            self._apply()
        except BaseException:
            self.sandbox.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.sandbox.close()
        self._folder.cleanup()

    def step(self, *arguments: str, code: int = 0) -> str:
        """Run the program; its standard output. Any other exit code than `code` is an error."""
        done = subprocess.run(
            [PROGRAM, *arguments], env=self.environment, cwd=EXAMPLE, capture_output=True, text=True, check=False
        )
        if done.returncode != code:
            raise RuntimeError(f"{arguments} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def preview(self, number: int, **environment: str) -> str:
        """Deploy a preview whose image brings this environment; its namespace."""
        image = f"croc-hunter:pr-{number}"
        self.sandbox.images.build(image, environment)
        self.step("preview", "--pr", str(number), "--image", image)
        return PREVIEW.format(number=number)

    def load(self, rate: float, connections: int = 16) -> Load:
        """Requests through the gateway; 0 is as often as possible."""
        return Load(self.sandbox.gateway_url, HOST, rate, connections)

    def _apply(self) -> None:
        url = self.sandbox.url
        for obj in yaml.safe_load_all((EXAMPLE / "cluster.yaml").read_text()):
            group = obj["apiVersion"]
            root = f"{url}/apis/{group}" if "/" in group else f"{url}/api/{group}"
            space = obj["metadata"].get("namespace")
            where = f"{root}/namespaces/{space}" if space else root
            plural = f"{obj['kind'].lower()}s"
            requests.post(f"{where}/{plural}", json=obj, timeout=10).raise_for_status()
        until = time.monotonic() + 30
        while requests.get(self.sandbox.gateway_url, headers={"Host": HOST}, timeout=10).status_code != 200:
            if time.monotonic() > until:
                raise TimeoutError("production does not answer in the sandbox")
            time.sleep(0.1)
        self.sandbox.settle()
