"""Errors that users see while weights change under load: there should be none but the preview's own."""

from __future__ import annotations

import time

from benchmarks.scene import Scene
from benchmarks.section import Goal, Section
from pipeline_step.sandbox.load import NOBODY, Load
from pipeline_step.sandbox.tally import Part, Tally

RATE = 2000.0
QUIET = 2.0
GATES = [{"scrape": {"min_success": 99, "min_requests": 50}}]


def measure() -> Section:
    """A rollout 1 -> 50 -> promoted, a revert by the gate, a preview deleted while it has traffic; each under load."""
    with Scene(gates=GATES) as scene:
        good, bad, gone = scene.preview(35), scene.preview(36, FAIL_RATE="0.3"), scene.preview(37)
        with scene.load(RATE, connections=32) as load:
            _during(load, "rollout 1, 10, 50 %, promoted",
                    lambda: scene.step("rollout", "--pr", "35", "--steps", "1,10,50", "--bake", "2s"))  # fmt: skip
            _during(load, "rollout at 50 %, reverted by its gate",
                    lambda: scene.step("rollout", "--pr", "36", "--steps", "50", "--bake", "2s", code=3))  # fmt: skip
            scene.step("shift", "50", "--pr", "37", "--bake", "1s")
            _during(load, "preview deleted at 50 %", lambda: scene.step("preview", "--delete", "--pr", "37"))
        tally = Tally(load.counts())
    previews = {"rollout 1, 10, 50 %, promoted": good, "rollout at 50 %, reverted by its gate": bad,
                "preview deleted at 50 %": gone}  # fmt: skip
    rows, others = [], 0
    for phase, namespace in previews.items():
        part, own = tally.part(phase), tally.part(phase, namespace)
        broken = sum(count for answer, count in load.counts().items() if answer.phase == phase and not answer.status)
        envoy = tally.part(phase, NOBODY).failed - broken
        served = part.failed - own.failed - broken - envoy
        others += part.failed - own.failed + (0 if namespace == bad else own.failed)
        rows.append((phase, f"{part.requests:,}", _own(own), str(served), str(envoy), str(broken)))
    return Section(
        title="Errors while weights change",
        how=f"{RATE:,.0f} requests per second over 32 kept-alive connections; no request is repeated by the client. "
        "The bad preview fails 30 % of its requests.",
        header=(
            "while",
            "requests",
            "failed at the preview",
            "failed elsewhere (5xx)",
            "5xx of Envoy",
            "connections broken",
        ),
        rows=rows,
        goals=[Goal(not others, f"no error but the bad preview's own; there were {others} others")],
    )


def _own(part: Part) -> str:
    return f"{part.failed:,} of {part.requests:,}"


def _during(load: Load, phase: str, work: object) -> None:
    load.phase = phase
    assert callable(work)
    work()
    time.sleep(QUIET)
    load.phase = f"after {phase}"
