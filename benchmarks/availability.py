"""Errors that users see while weights change under load: there should be none but the preview's own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import requests

from benchmarks.scene import Scene
from benchmarks.section import Goal, Section
from pipeline_step.sandbox.load import NOBODY, Load
from pipeline_step.sandbox.tally import Tally

RATE = 2000.0
QUIET = 2.0
GATES = [{"scrape": {"min_success": 99, "min_requests": 50}}]


def measure() -> Section:
    """Each phase under load, and last a control: what is deleted without being drained first must show errors."""
    promoted, reverted = "rollout 1, 10, 50 %, promoted", "rollout at 50 %, reverted by its gate"
    deleted, control = "`preview --delete` at 50 %", "control: namespace deleted at 50 %, not drained"
    with Scene(gates=GATES) as scene:
        previews = {
            promoted: scene.preview(35),
            reverted: scene.preview(36, FAIL_RATE="0.3"),
            deleted: scene.preview(37),
            control: scene.preview(38),
        }
        with scene.load(RATE, connections=32) as load:
            with _during(load, promoted):
                scene.step("rollout", "--pr", "35", "--steps", "1,10,50", "--bake", "2s")
            with _during(load, reverted):
                scene.step("rollout", "--pr", "36", "--steps", "50", "--bake", "2s", code=3)
            scene.step("shift", "50", "--pr", "37", "--bake", "1s")
            with _during(load, deleted):
                scene.step("preview", "--delete", "--pr", "37")
            scene.step("shift", "50", "--pr", "38", "--bake", "1s")
            with _during(load, control):
                space = f"{scene.sandbox.url}/api/v1/namespaces/{previews[control]}"
                requests.delete(space, timeout=10).raise_for_status()
    tally = Tally(load.counts())
    rows, strange = [], {}
    for phase, namespace in previews.items():
        every, own = tally.part(phase), tally.part(phase, namespace)
        nobody = tally.part(phase, NOBODY)
        broken = sum(
            count for answer, count in load.counts().items() if answer[:2] == (phase, NOBODY) and not answer[2]
        )
        envoy, elsewhere = nobody.failed - broken, every.failed - own.failed - nobody.failed
        strange[phase] = every.failed - (own.failed if phase == reverted else 0)
        cells = (own.failed, elsewhere, envoy, broken)
        rows.append((phase, f"{every.requests:,}", *(f"{cell:,}" for cell in cells)))
    seen, errors = strange.pop(control), sum(strange.values())
    return Section(
        title="Errors while weights change",
        how=f"{RATE:,.0f} requests per second over 32 kept-alive connections; no request is repeated by the client. "
        "The preview of the second row fails 30 % of its requests.",
        header=("while", "requests", "failed at the preview", "failed elsewhere", "5xx of Envoy", "broken connections"),
        rows=rows,
        goals=[
            Goal(not errors, f"no error but the bad preview's own; there were {errors} others"),
            Goal(seen > 0, f"the control shows that errors would be seen; it had {seen:,}"),
        ],
    )


@contextmanager
def _during(load: Load, phase: str) -> Iterator[None]:
    load.phase = phase
    yield
    time.sleep(QUIET)
    load.phase = f"after {phase}"
