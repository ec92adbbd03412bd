"""Going back after a promotion: Git and the cluster return to what was before, and the commit is marked as bad.

What is being taken back is remembered first, so that a run that repeats it, or the guard, ends what was begun.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from pipeline_step import promotions
from pipeline_step.errors import Exit, Refused, Unfinished
from pipeline_step.hold import holding
from pipeline_step.model import Phase, Rollout
from pipeline_step.preview import digest_of
from pipeline_step.promote import PROMOTERS
from pipeline_step.promotion import current, out_of_git, patience, promoter, roll_out
from pipeline_step.promotions import Entries, Entry, State
from pipeline_step.revert import take_back
from pipeline_step.run import Event, Result, Run

if TYPE_CHECKING:
    from pipeline_step.cluster import Cluster
    from pipeline_step.config import Config


def revert_to(run: Run, to: str, reason: str) -> Result:
    """The command: production as it was before, by digest or `previous`; raises `Refused` where that is not known."""
    with holding(run) as beat:
        take_back(run)
        return reverse(run, to, reason, beat)


def reverse(run: Run, to: str, reason: str, beat: Callable[[], None]) -> Result:
    """The same for a run that holds the target."""
    cluster = next(iter(run.clusters.values()))
    known = promotions.load(cluster, run.target)
    if known and known[0].state is State.REVERTED and known[0].run == run.config.run:
        return Result(outcome="reverted", reason=f"{known[0].why}; this run has done it before")
    chosen = promotions.to_take_back(known, to, current(run))
    keys = [entry.promotion.key for entry in chosen]
    begun = partial(promotions.marked, keys=keys, state=State.REVERTING, why=reason, run=run.config.run)
    promotions.amend(cluster, run.target, begun)
    image = chosen[-1].promotion.previous
    run.tell(Event(kind="returning", weight=0, reason=f"{reason}: production gets {image} again"))
    for entry in chosen:
        if why := out_of_git(run, _recorded(run, entry), beat, patience(run.config)):
            raise Unfinished(f"{why}; `guard` goes on, or run it again")
    trouble = roll_out(run, image, beat)
    if trouble:
        return Result(outcome="unfinished", reason=f"{image} did not get ready: {trouble}", exit=Exit.INCONCLUSIVE)
    promotions.amend(cluster, run.target, lambda entries: promotions.marked(entries, keys, State.REVERTED))
    reason = f"{reason}; production runs {image} again"
    sha = chosen[0].promotion.sha
    run.tell(Event(kind="returned", weight=0, reason=reason, sha=sha))
    return Result(outcome="reverted", reason=reason, sha=sha, digest=digest_of(image))


def refuse_bad(run: Run, sha: str) -> None:
    """Raise `Refused` for a commit that was promoted and reverted, unless that is overridden."""
    cluster = next(iter(run.clusters.values()))
    if why := promotions.bad(promotions.load(cluster, run.target), sha):
        if promotions.BAD_SHA in run.config.overrides:
            return
        raise Refused(
            f"commit {sha[:12]} was promoted before and reverted: {why}; --override {promotions.BAD_SHA} tries again"
        )


def go_on(config: Config, cluster: Cluster, begun: Entries) -> str:
    """For the guard: one look at reversals that nobody finishes, newest first; the image that production runs again.

    Raises `Unfinished` while they are not done.
    """
    name, settings = promoter(config)
    for entry in begun:
        written = PROMOTERS[name].withdraw(settings, config, entry.promotion)
        if not written.done:
            raise Unfinished(f"Git still says that it is production: {written.reason}")
    image = begun[-1].promotion.previous
    PROMOTERS[name].start(settings, config.workload, cluster, image)
    state = PROMOTERS[name].progress(settings, config.workload, cluster, image)
    if not state.ready:
        raise Unfinished(f"production does not run {image} yet: {state.reason}")
    keys = [entry.promotion.key for entry in begun]
    promotions.amend(cluster, config.target, lambda entries: promotions.marked(entries, keys, State.REVERTED))
    return image


def _recorded(run: Run, entry: Entry) -> Rollout:
    """What a rollout of this promotion would have as its record."""
    one = entry.promotion
    return Rollout(
        preview=run.preview,
        run=run.config.run,
        by=one.by,
        phase=Phase.UNDOING,
        pull_request=one.pull_request,
        sha=one.sha,
        digest=one.digest,
        began=one.began,
        previous=one.previous,
        change=one.change,
    )
