"""Taking traffic back: always allowed, safe to repeat, and not done before it has been read back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline_step.errors import ClusterError, ConfigError, NotFound, NotReady, TrafficUnknown, Unfinished
from pipeline_step.model import Phase, Rollout
from pipeline_step.promotion import ended, out_of_git, undo, without
from pipeline_step.route import Seen, change, change_one, each, observe, plan
from pipeline_step.run import Event, Result, Run
from pipeline_step.settings import seconds
from pipeline_step.traffic import ROUTERS

if TYPE_CHECKING:
    from pipeline_step.cluster import Cluster

PAUSE = 1.0  # seconds between two tries
FORBIDDEN_PATIENCE = 10  # seconds that it is tried again where the account may not; a Role may just be replaced


def revert(run: Run, reason: str) -> Result:
    """The command: all requests to production, and its previous image where a promotion was under way."""
    had = take_back(run)
    said = reason if had else f"{reason}; the preview had no share of the requests"
    sha = had.sha if had else ""
    run.tell(Event(kind="reverted", weight=0, reason=said, sha=sha))
    return Result(outcome="reverted", reason=said, sha=sha)


def take_back(run: Run, *, only_own: bool = False) -> Rollout | None:
    """Take the preview out of the route of every cluster and read it back; what was recorded of it, if anything.

    Raises `TrafficUnknown` where that can't be confirmed within `strategy.revert_within`, and `Unfinished` where Git
    can't be made to take back in that time what a promotion has told it. A route that is gone has
    nothing to take back; with `only_own` neither has one where another run has taken over.
    """
    found = each(run.clusters, lambda cluster: _take_back(run, cluster, only_own))
    had = next((rollout for rollout in found.values() if rollout), None)
    if had:
        _settle_with_git(run)
    return had


def _settle_with_git(run: Run) -> None:
    """Where a promotion was under way, Git has to take it back before its record goes; raises `Unfinished`."""
    seen = each(run.clusters, lambda cluster: observe(run.target, cluster))
    owing = [one.rollouts[run.key] for one in seen.values() if run.key in one.rollouts]
    undone = next((rollout for rollout in owing if rollout.phase is Phase.UNDOING), None)
    if undone is None:
        return
    patience = seconds(run.config.file.strategy.revert_within)
    if why := out_of_git(run, undone, lambda: None, patience):
        raise Unfinished(f"production has all requests, but {why}; `guard` goes on, or run `pipeline-step revert`")
    change(run.target, run.clusters, lambda rollouts: without(rollouts, run.key))


def _take_back(run: Run, cluster: Cluster, only_own: bool) -> Rollout | None:
    patience = seconds(run.config.file.strategy.revert_within)
    until = run.clock.time() + patience
    cluster = cluster.hurried(min(patience, cluster.patience))
    had: Rollout | None = None
    while True:
        try:
            seen = observe(run.target, cluster, [run.preview])
            rollout = seen.rollouts.get(run.key)
            if only_own and rollout is not None and rollout.run != run.config.run:
                return had
            had = had or rollout
            if rollout is not None and rollout.phase is Phase.PROMOTING and rollout.previous:
                undo(run.config, run.clusters, rollout)
            change_one(run.target, cluster, lambda rollouts: ended(run.config, rollouts, run.key), seen)
            waiting = _unconfirmed(run, observe(run.target, cluster, [run.preview]), had is not None)
            if not waiting:
                return had
            if run.clock.time() >= until:
                raise TrafficUnknown(f"it can't be confirmed that production has all requests again ({waiting})")
        except NotFound:
            return had
        except ConfigError as error:
            raise TrafficUnknown(
                f"the route was changed so that it can't be told what it does ({error}); look at it, and take "
                f"{run.preview.host} out of it by hand if it is still there"
            ) from error
        except ClusterError as error:
            forbidden = error.status in (401, 403) and run.clock.time() >= until - patience + FORBIDDEN_PATIENCE
            if forbidden or run.clock.time() >= until:
                raise TrafficUnknown(
                    f"it can't be confirmed that production has all requests again ({error}); "
                    "run `pipeline-step revert` or `guard` when the API answers"
                ) from error
        run.clock.sleep(PAUSE)


def _unconfirmed(run: Run, seen: Seen, had: bool) -> str:
    """Why the preview may still get requests, in words; "" where it gets none, or never had any."""
    left = seen.rollouts.get(run.key)
    if (left is not None and left.phase is not Phase.UNDOING) or plan(run.target, seen, seen.rollouts):
        return "the route is not what it was, although it was set so: something else changes it"
    try:
        return ROUTERS[run.target.router].settled(run.target, seen.objects) if had else ""
    except NotReady:  # the data plane has seen the route, and refuses what is not ours
        return ""
