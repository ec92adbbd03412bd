"""What one weight change asks of the Kubernetes API."""

from __future__ import annotations

import statistics
import time
from collections import Counter

from benchmarks.scene import Scene
from benchmarks.section import Goal, Section

ROUTED = "virtualservices"
ROUNDS = 5


def measure() -> Section:
    """One `shift` without gates on a fresh preview, then the later steps of a rollout; all that the API served."""
    durations = []
    with Scene(gates=[]) as scene:
        scene.preview(35)
        for _ in range(ROUNDS):
            scene.sandbox.requests.clear()
            began = time.perf_counter()
            scene.step("shift", "5", "--pr", "35")
            durations.append(1000 * (time.perf_counter() - began))
            counted = Counter((request.verb, request.resource or request.path) for request in scene.sandbox.requests)
            until_shifted = _until_first_write(scene)
            scene.step("revert", "--pr", "35")
        scene.sandbox.requests.clear()
        scene.step("rollout", "--pr", "35", "--steps", "5,25,50", "--bake", "0s")
        routed = [request.verb for request in scene.sandbox.requests if request.resource == ROUTED]
    later = " ".join(routed).split("update")[1:3]
    first = {verb: count for (verb, resource), count in until_shifted.items() if resource == ROUTED}
    rows = [
        (f"`{verb} {resource}`", str(count), str(until_shifted[verb, resource]))
        for (verb, resource), count in sorted(counted.items(), key=lambda item: (item[0][1] != ROUTED, item[0]))
    ]
    rows.append(("all", str(counted.total()), str(until_shifted.total())))
    return Section(
        title="API calls of one shift",
        how="`pipeline-step shift 5` on a preview that had no weight, one cluster, no gates; the process takes "
        f"{statistics.median(durations):.0f} ms from its start to its end (median of {ROUNDS}). The second column is "
        "what was asked up to the write that changes the weight.",
        header=("call", "whole command", "until the weight is changed"),
        rows=rows,
        goals=[
            Goal(
                first == {"get": 1, "update": 1},
                "of the routed object exactly one GET and one PUT for the weight change; there were "
                f"{first.get('get', 0)} GET and {first.get('update', 0)} PUT",
            ),
            Goal(
                [words.split() for words in later] == [["get"], ["get"]],
                "the same for each later step of a rollout without gates",
            ),
        ],
    )


def _until_first_write(scene: Scene) -> Counter[tuple[str, str]]:
    """Calls up to and with the first write of the routed object."""
    counted: Counter[tuple[str, str]] = Counter()
    for request in scene.sandbox.requests:
        counted[request.verb, request.resource or request.path] += 1
        if request.resource == ROUTED and request.verb == "update":
            break
    return counted
