"""The page of the docs on how often the judge is wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from multiprocessing import Pool

from benchmarks.judge.errors import Case, shares
from benchmarks.judge.runs import Summary
from benchmarks.judge.table import share_text
from pipeline_step.judge import Metric, Policy

POLLS = 360  # 30 minutes
MARGIN = 0.005
SERVICES = ((10.0, 0.01), (100.0, 0.001), (1000.0, 0.001))


CHANGING = (1.0, 5.0, 25.0, 50.0)
CASES = (
    Case(name="steady"),
    Case(name="daily rhythm", rhythm=0.6, drift=0.8),
    Case(name="common shocks", shocks=0.05),
    Case(name="changing weights", weights=CHANGING),
    Case(name="bursts, corrected", burst=3, pods=6, before=60),
    Case(name="all of these", rhythm=0.6, drift=0.8, shocks=0.05, weights=CHANGING, burst=3, pods=6, before=60),
    Case(name="bursts, corrected, no past", burst=3, pods=6),
    Case(name="bursts, not corrected", burst=3),
)

WORDS = """# How often the judge is wrong

Written by `python -m benchmarks.judge errors --runs {runs}`. {runs} rollouts a cell of 30 minutes, polls every 5 s,
alpha 1 %, beta 5 %, margin 0.5 pp, at 10 % unless the weights change. Every rollout is watched to the end: a share
counts all that would ever be reverted though the preview is exactly as good as stable, or ever be promoted though it
fails exactly the margin more. With its 95 % interval. numpy plays the rollouts side by side; the real judge repeats
some of each cell, and the run stops if they disagree.

Daily rhythm: requests swing by 60 % and both sides' failure rates by 80 %, in 15 minutes instead of a day. Common
shocks: in one poll of twenty both sides fail 5 %. Bursts: every failure comes three at a time on one pod, on both
sides. They are corrected by the spread between stable's six pods, learnt from five minutes of stable's past; this is an
approximation and no proof. The last row is outside of the promise: bursts where no counts by pod are given.
"""


def _task(job: tuple[Case, Policy, int, int]) -> tuple[int, int]:
    case, policy, runs, seed = job
    return shares(case, policy, runs, POLLS, seed)


def measure(runs: int, processes: int, done: Callable[[str], None]) -> list[tuple[str, list[Summary]]]:
    """Per row of the page: false reverts and false promotes of each service."""
    policy = Policy(metrics=(Metric(name="errors", max_increase=MARGIN),))
    labels, work = [], []
    for row, case in enumerate(CASES):
        for rps, rate in SERVICES:
            for excess in (0.0, MARGIN):
                labels.append((case.name, excess))
                work.append((replace(case, rps=rps, rate=rate, excess=excess), policy, runs, 1000 * row + round(rps)))
    found: dict[str, list[Summary]] = {case.name: [] for case in CASES}
    with Pool(processes) as pool:
        for (name, excess), (reverts, promotes) in zip(labels, pool.imap(_task, work), strict=True):
            counts = {"wrong": promotes if excess else reverts}
            found[name].append(Summary(runs, 0.0, 0.0, {}, counts))
            done(f"{name}, worse by {excess:g}: {counts['wrong']} of {runs}")
    return list(found.items())


def page(rows: list[tuple[str, list[Summary]]], runs: int) -> str:
    """The whole Markdown page."""
    names = [f"{rps:g} rps, {100 * rate:g} %: {what}" for rps, rate in SERVICES for what in ("reverts", "promotes")]
    lines = [WORDS.format(runs=runs), "| | " + " | ".join(names) + " |", "|" + "---|" * (len(names) + 1)]
    lines += [f"| {name} | " + " | ".join(share_text(each, "wrong") for each in found) + " |" for name, found in rows]
    return "\n".join(lines) + "\n"
