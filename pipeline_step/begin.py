"""The beginning of a rollout: what has to be true before a request may reach the preview."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pipeline_step.decide import crowded
from pipeline_step.errors import HttpError, NotReady, Refused
from pipeline_step.freezes import frozen
from pipeline_step.hold import Beat
from pipeline_step.model import Phase, Rollout
from pipeline_step.preflight import watched
from pipeline_step.preview import pinned
from pipeline_step.promotion import running
from pipeline_step.propagation import prepare
from pipeline_step.record import Rollouts
from pipeline_step.requirements import require
from pipeline_step.reversal import refuse_bad
from pipeline_step.revert import take_back
from pipeline_step.route import Seen, change, each, observe, shares
from pipeline_step.run import Event, Run
from pipeline_step.traffic import ROUTERS

if TYPE_CHECKING:
    from pipeline_step.scm import PullRequest


def begin(run: Run, resumed: Callable[[Rollout], Rollout], weight: int, beat: Beat) -> Rollout:
    """Check what has to be true before a request may reach the preview, and record the rollout in every cluster.

    What an earlier run of the same image left goes on as `resumed` says; of another image, its traffic goes home
    first. A fresh rollout starts with `weight` percent.
    """
    container = run.config.file.production.container
    found = set(each(run.clusters, lambda cluster: running(cluster, run.preview, container)).values())
    if len(found) > 1:
        raise NotReady(f"the clusters run different versions of {run.preview}: {sorted(found)}")
    image, digest, deployed = found.pop()
    sha = _pinned_sha(run, deployed)
    refuse_bad(run, sha)
    url = next(iter(run.clusters.values())).address(run.preview)
    seen = each(run.clusters, lambda cluster: observe(run.target, cluster, [run.preview]))
    left = [one.rollouts[run.key] for one in seen.values() if run.key in one.rollouts]
    undone = [rollout for rollout in left if rollout.phase is Phase.UNDOING]
    if undone or any((rollout.digest, rollout.sha) != (digest, sha) for rollout in left):
        take_back(run)
        run.tell(Event(kind="superseded", weight=0, reason=f"the preview runs {digest or image} now", sha=sha))
        seen = each(run.clusters, lambda cluster: observe(run.target, cluster, [run.preview]))
        left = []

    pull = run.config.pull
    mine = fresh(run, weight, sha=sha, digest=digest, url=url)
    if left:
        furthest_behind = min(left, key=lambda rollout: rollout.step)
        mine = dataclasses.replace(
            resumed(furthest_behind), run=run.config.run, by=pull.by, role=pull.role, asked=pull.asked
        )

    def admitted(rollouts: Rollouts) -> Rollouts:
        if trouble := crowded(run.key, mine.weight, rollouts, run.config.file.strategy.budget):
            raise Refused(trouble)
        return {**rollouts, run.key: mine}

    for one in seen.values():  # refuse before the first write, not between two
        admitted(one.rollouts)
        lowered = run.key in one.rollouts and mine.weight < one.rollouts[run.key].weight
        if not lowered and (why := freeze_in_force(run, one)):
            raise Refused(f"{run.target.stable} is {why}; pass it with --override NAME if you may")
    begins_without = not left and run.policy.weights[:1] == (0,)
    if begins_without or mine.weight > min((rollout.weight for rollout in left), default=0):
        _require(run, seen, mine.weight)
        if not left and (counters := watched(run, beat)):
            now = run.clock.time()
            ends = now + run.policy.deadline
            mine = dataclasses.replace(mine, began=now, since=now, deadline=ends, counters=counters)
        seen = prepare(run, seen, mine, beat)
    on = change(run.target, run.clusters, admitted, seen)
    kind = "resumed" if left else "shifted"
    image = pinned(image, digest) if digest else image
    reason = f"{url} runs {digest or image}"
    run.tell(Event(kind=kind, weight=mine.weight, reason=reason, sha=sha, url=url, image=image, on=on))
    return mine


def fresh(run: Run, weight: int, *, sha: str, digest: str = "", url: str = "") -> Rollout:
    """The record of a rollout that begins now with this percentage."""
    now = run.clock.time()
    return Rollout(
        preview=run.preview,
        run=run.config.run,
        by=run.config.pull.by,
        role=run.config.pull.role,
        asked=run.config.pull.asked,
        pull_request=run.config.pull.number,
        sha=sha,
        digest=digest,
        url=url,
        weight=weight,
        began=now,
        since=now,
        deadline=now + run.policy.deadline,
        shares=run.config.file.strategy.budget is not None,
        overrides=run.config.overrides,
    )


def _require(run: Run, seen: Mapping[str, Seen], weight: int) -> None:
    """What the route needs is there, and it can give every weight that this rollout may come to.

    Raises `Refused` before the first write.
    """
    each(run.clusters, lambda cluster: require(run.target, cluster, seen[cluster.context], [run.preview]))
    weights = [weight, *(later for later in run.policy.weights if later > weight)]
    for one in seen.values():
        others = {preview: share for preview, share in shares(one.rollouts).items() if preview != run.preview}
        for asked in weights:
            if trouble := ROUTERS[run.target.router].unreachable(
                run.target, one.objects, {**others, run.preview: asked}
            ):
                raise Refused(trouble)


def freeze_in_force(run: Run, seen: Seen) -> str:
    """The freeze that holds back increases and promotions now, in words; "" where there is none."""
    return frozen(seen.routed, run.config.file.strategy.freezes, run.config.overrides, run.clock.time())


def _pinned_sha(run: Run, deployed: str) -> str:
    """The commit that this rollout is bound to: what is deployed, which must be what was asked for."""
    asked = run.config.pull.sha
    if asked and deployed and not same_commit(asked, deployed):
        raise Refused(f"commit {asked} was asked for, but the preview runs {deployed}; deploy it with `preview` first")
    sha = deployed or asked
    try:
        pull = run.pull()
    except HttpError as error:
        raise Refused(f"the pull request's head can't be read, so nothing is shifted: {error}") from error
    if pull and (why := moved_on(pull, sha)):
        raise Refused(f"{why}; deploy what is to be judged first")
    return sha


def moved_on(pull: PullRequest, sha: str) -> str:
    """Why the pull request is not any more what this commit stands for, in words; "" where it is."""
    if not pull.open and not pull.merged:
        return f"pull request {pull.number} is closed"
    if sha and not same_commit(pull.head, sha):
        return f"pull request {pull.number} is at {pull.head[:7]}, and the preview runs {sha[:7]}"
    return ""


def same_commit(one: str, other: str) -> bool:
    """Whether two commits are the same, where either may be short."""
    return one.startswith(other) or other.startswith(one)
