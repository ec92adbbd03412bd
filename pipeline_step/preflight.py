"""Before the first request: how much traffic there is, the weight to begin with, and how long a proof will take."""

from __future__ import annotations

from pipeline_step.decide import first_weight
from pipeline_step.errors import NotReady
from pipeline_step.gates import Sources, Subject, compare
from pipeline_step.gates.compare import Pace
from pipeline_step.measure import PATIENCE
from pipeline_step.run import Run


def pace(run: Run) -> Pace | str:
    """The traffic as the first compare gate's own source counts it, or in words why it can't be told."""
    settings = next((settings for kind, settings in run.config.gates.values() if kind == "compare"), None)
    if settings is None:
        return "there is no compare gate"
    now = run.clock.time()
    subject = Subject(stable=run.target.stable, preview=run.preview, weight=0, began=now, now=now)
    hurried = {context: cluster.hurried(PATIENCE) for context, cluster in run.clusters.items()}
    try:
        return compare.pace(settings, subject, Sources(clusters=hurried, http=run.http), run.clock)
    except NotReady as error:
        return str(error)


def opening(run: Run) -> int:
    """The percentage that a fresh rollout begins with; a ramp asks for the traffic first."""
    if run.policy.ramp is None:
        return first_weight(run.policy, None, 0.0)
    found = pace(run)
    return (
        first_weight(run.policy, None, 0.0)
        if isinstance(found, str)
        else first_weight(run.policy, found.rate, found.staleness)
    )
