"""The example on a sandbox, and the providers that its pull request lives at."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from pipeline_step.sandbox import Sandbox
from tests.scm.providers import gitea, github, gitlab
from tests.scm.server import FORMS, TOKEN, Provider
from tests.scm.world import World

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "croc-hunter"
STEPS = "1,5,10,25,50"


def enterprise(world: World) -> Provider:
    """GitHub as an Enterprise Server has it: below /api/v3."""
    provider = github.provider(world)
    provider.routes = [(method, re.compile("/api/v3" + path.pattern), f) for method, path, f in provider.routes]
    return provider


PROVIDERS: dict[str, Callable[[World], Provider]] = {
    "gitea": gitea.provider,
    "github": enterprise,
    "gitlab": gitlab.provider,
}


def environ(sandbox: Sandbox, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    return {**kept, "KUBECONFIG": str(sandbox.kubeconfig), **more}


def pull_request(name: str, url: str) -> dict[str, str]:
    return {
        "GIT_KIND": name,
        "GIT_SERVER": url,
        "GIT_TOKEN": TOKEN,
        "REPO_OWNER": "acme",
        "REPO_NAME": "shop",
        "PULL_NUMBER": "5",
    }


def step(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline_step", *arguments]
    done = subprocess.run(
        command, cwd=EXAMPLE, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert not any(form in done.stdout + done.stderr for form in FORMS)
    return done


def deploy(environment: dict[str, str], sha: str) -> None:
    """Deploy the commit, as an image that production can't be running already."""
    done = step(environment, "preview", "--image", f"croc-hunter:{secrets.token_hex(4)}", "--sha", sha)
    assert done.returncode == 0, done.stderr


def strategy(tmp_path: Path, steps: str = STEPS) -> str:
    """The example's configuration with short bakes and no gates: what is under test is what the pull request sees."""
    text = (EXAMPLE / ".pipeline-step.yaml").read_text()
    text = re.sub(r"steps: .*", f"steps: [{steps}]", text).replace("bake: 1m", "bake: 0.2s\n  poll: 0.1s")
    text = re.sub(r"gates:\n.*\n", "", text).replace("manifests: preview", f"manifests: {EXAMPLE / 'preview'}")
    path = tmp_path / "step.yaml"
    path.write_text(text)
    return str(path)


def weights(environment: dict[str, str]) -> dict[str, int]:
    """What the VirtualService says, read by kubectl."""
    path = "{range .spec.http[0].route[*]}{.destination.host}={.weight} {end}"
    command = [
        "kubectl",
        "get",
        "virtualservice",
        "-n",
        "jx-production",
        "croc-hunter-jenkinsx",
        "-o",
        f"jsonpath={path}",
    ]
    text = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=30).stdout
    found = {}
    for part in text.split():
        host, weight = part.split("=")
        namespace = host.split(".")[1].removeprefix("jx-")
        found[namespace if namespace in ("production", "staging") else "preview"] = int(weight)
    return found
