"""What a command would write, without writing it."""

from __future__ import annotations

from pipeline_step import report
from pipeline_step.begin import fresh
from pipeline_step.decide import crowded
from pipeline_step.errors import Refused
from pipeline_step.requirements import require
from pipeline_step.route import check, each, observe, plan, shares
from pipeline_step.run import Run
from pipeline_step.traffic import ROUTERS


def differences(run: Run, weight: int) -> dict[str, str]:
    """By context the diff that gives the preview this percentage; raises what a shift would raise."""
    rollout = fresh(run, weight, sha=run.config.pull.sha)
    texts: dict[str, str] = {}
    for context, seen in each(run.clusters, lambda cluster: observe(run.target, cluster, [run.preview])).items():
        if trouble := crowded(run.key, weight, seen.rollouts, run.config.file.strategy.budget):
            raise Refused(trouble)
        wanted = {**seen.rollouts, run.key: rollout}
        if not weight:
            wanted.pop(run.key)
        check(run.target, seen, wanted)
        require(run.target, run.clusters[context], seen, [run.preview] if weight else [])
        room = ROUTERS[run.target.router].room(run.target, seen.objects, shares(wanted))
        texts[context] = report.diff(seen, [*room.changes, *plan(run.target, seen, wanted)])
    return texts
