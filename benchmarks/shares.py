"""The share that a preview really gets through Envoy, beside the weight that was asked for."""

from __future__ import annotations

import math
import time

from benchmarks.scene import Scene
from benchmarks.section import Goal, Section
from pipeline_step.sandbox.tally import SIGMAS, Tally

WEIGHTS = (1, 5, 25)
REQUESTS = 30_000


def measure() -> Section:
    """At least `REQUESTS` requests at every weight, sent as fast as they are answered."""
    rows, off = [], []
    with Scene(gates=[]) as scene:
        namespace = scene.preview(35)
        for weight in WEIGHTS:
            scene.step("shift", str(weight), "--pr", "35")
            scene.sandbox.settle()
            phase = str(weight)
            load = scene.load(rate=0)
            load.phase = phase
            began = time.perf_counter()
            with load:
                while sum(load.counts().values()) < REQUESTS:
                    time.sleep(0.05)
            seconds = time.perf_counter() - began
            tally = Tally(load.counts())
            part, total = tally.part(phase, namespace).requests, tally.part(phase).requests
            low, high = interval(part, total)
            rows.append(
                (f"{weight} %", f"{total:,}", f"{part:,}", f"{100 * part / total:.2f} %",
                 f"{100 * low:.2f} to {100 * high:.2f} %", f"{total / seconds:,.0f}")
            )  # fmt: skip
            if not tally.follows(phase, namespace, weight):
                off.append(f"{weight} %")
    return Section(
        title="Shares",
        how="A preview in another namespace, one route, one gateway; who answered is read from every body.",
        header=("weight", "requests", "of them the preview's", "share", "95 % interval (Wilson)", "requests/s"),
        rows=rows,
        goals=[
            Goal(
                not off,
                f"every share is its weight within {SIGMAS} standard errors"
                + (f"; not so at {', '.join(off)}" if off else ""),
            )
        ],
    )


def interval(part: int, total: int, z: float = 1.959964) -> tuple[float, float]:
    """The Wilson score interval of a share."""
    share, square = part / total, z * z / total
    middle = (share + square / 2) / (1 + square)
    half = z * math.sqrt(share * (1 - share) / total + square / total / 4) / (1 + square)
    return middle - half, middle + half
