"""The page for newcomers, done as it says: its commands are run as they stand there."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline_step.sandbox import Sandbox

from .test_croc_hunter import users_own

ROOT = Path(__file__).parent.parent


def blocks(heading: str) -> list[str]:
    """The shell blocks below a heading of docs/start.md."""
    text = (ROOT / "docs/start.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^```sh\n(.*?)^```$", section, re.M | re.S)


@pytest.mark.sandbox
@pytest.mark.timeout(280)
def test_the_laptops_commands_work_as_they_stand_there() -> None:
    commands = blocks("On a laptop")[1]
    with Sandbox() as sandbox:
        where = f"export KUBECONFIG={sandbox.kubeconfig} GATEWAY={sandbox.gateway_url}"
        assert "export KUBECONFIG=... GATEWAY=http://..." in commands
        script = commands.replace("export KUBECONFIG=... GATEWAY=http://...", where)
        looked = "kubectl get virtualservice -n jx-production croc-hunter-jenkinsx -o json"
        script = script.replace("cd examples/croc-hunter\n", f"cd examples/croc-hunter\n{looked}; echo ---\n")
        environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": os.environ["HOME"]}
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", f"{script}\necho ---; {looked}"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            out, problems = process.communicate(timeout=250)
        finally:
            with contextlib.suppress(ProcessLookupError):  # nothing of it is left
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, problems
    before, said, after = out[out.index("{") :].split("---\n")
    assert users_own(json.loads(before)) == users_own(json.loads(after))
    assert "+" in said and "10 %" in said
