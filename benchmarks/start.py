"""How long commands take to start, beside bare Python and kubectl in the same run."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time

from benchmarks.scene import PROGRAM, Scene
from benchmarks.section import Goal, Section

ROUNDS = 15
HELP_LIMIT = 150  # milliseconds


def measure() -> Section:
    """Medians over rounds in which every command runs once, so that a busy moment meets them all."""
    with Scene() as scene:
        query = ("get", "virtualservices.networking.istio.io", "-n", "jx-production", "-o", "json")
        commands = {
            "bare Python": [sys.executable, "-c", "pass"],
            "pipeline-step --help": [PROGRAM, "--help"],
            "pipeline-step rollout --help": [PROGRAM, "rollout", "--help"],
            "pipeline-step status": [PROGRAM, "status"],
        }
        if kubectl := shutil.which("kubectl"):
            commands["kubectl version --client"] = [kubectl, "version", "--client"]
            commands["kubectl get of the same route"] = [kubectl, *query]
        times: dict[str, list[float]] = {name: [] for name in commands}
        worked: dict[str, list[float]] = {name: [] for name in commands}
        for round_number in range(ROUNDS + 1):
            for name, command in commands.items():
                before, began = os.times(), time.perf_counter()
                subprocess.run(command, env=scene.environment, stdout=subprocess.DEVNULL, check=True)
                if round_number:  # the first one fills caches
                    times[name].append(1000 * (time.perf_counter() - began))
                    after = os.times()
                    spent = after.children_user + after.children_system
                    worked[name].append(1000 * (spent - before.children_user - before.children_system))
    medians = {name: statistics.median(values) for name, values in times.items()}
    bare = medians["bare Python"]
    rows = [
        (f"`{name}`" if name != "bare Python" else name, f"{median:.0f} ms", f"{min(times[name]):.0f} ms",
         f"{statistics.mean(worked[name]):.0f} ms",
         f"{median / bare:.1f}")
        for name, median in medians.items()
    ]  # fmt: skip
    slowest = max(medians[name] for name in medians if name.endswith("--help"))
    return Section(
        title="Start",
        how=f"Wall-clock time of whole processes, {ROUNDS} rounds; `status` and `kubectl get` ask the sandbox's API.",
        header=("command", "median", "fastest", "processor time (mean)", "times bare Python"),
        rows=rows,
        goals=[Goal(slowest < HELP_LIMIT, f"every `--help` under {HELP_LIMIT} ms; the slowest took {slowest:.0f} ms")],
    )
