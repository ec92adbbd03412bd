"""The peak memory of a whole rollout."""

from __future__ import annotations

import json
import subprocess
import sys
import time

from benchmarks.scene import EXAMPLE, PROGRAM, Scene
from benchmarks.section import Goal, Section

LIMIT = 120  # MB
# A small process starts the program and asks the kernel for its peak: a fork of this one would count this one's memory.
MEASURED = """
import os, sys
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
print('{"code": %d, "kilobytes": %d, "seconds": %f}'
      % (os.waitstatus_to_exitcode(status), usage.ru_maxrss, usage.ru_utime + usage.ru_stime))
"""


def measure() -> Section:
    """`rollout` with a gate, to its promotion; `status` and bare Python beside it."""
    commands = {
        "bare Python": [sys.executable, "-c", "pass"],
        "`pipeline-step --help`": [PROGRAM, "--help"],
        "`pipeline-step status`": [PROGRAM, "status"],
        "`pipeline-step rollout`": [PROGRAM, "rollout", "--pr", "35", "--steps", "5,25,50", "--bake", "5s"],
    }
    rows, peak = [], 0.0
    with Scene() as scene:
        scene.preview(35)
        with scene.load(rate=500):
            time.sleep(0.5)
            for name, command in commands.items():
                done = subprocess.run(
                    [sys.executable, "-S", "-c", MEASURED, *command],
                    env=scene.environment, cwd=EXAMPLE, capture_output=True, text=True, check=True,
                )  # fmt: skip
                found = json.loads(done.stdout.splitlines()[-1])
                if found["code"]:
                    raise RuntimeError(f"{name} ended with {found['code']}: {done.stdout}{done.stderr}")
                peak = found["kilobytes"] / 1024
                rows.append((name, f"{peak:.0f} MB", f"{found['seconds']:.2f} s"))
    return Section(
        title="Memory",
        how="Peak resident memory and processor time of the process, as the kernel counts them; the rollout polls four "
        "times a second through three steps and a promotion.",
        header=("command", "peak", "processor time"),
        rows=rows,
        goals=[Goal(peak < LIMIT, f"`rollout` under {LIMIT} MB; its peak was {peak:.0f} MB")],
    )
