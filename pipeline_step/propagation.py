"""Between the write and the requests: the capacity that a weight takes, and whether the data plane follows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from pipeline_step.errors import Conflict, NotReady
from pipeline_step.model import Put, Rollout
from pipeline_step.route import Seen, change_one, each, observe, shares
from pipeline_step.run import Run
from pipeline_step.settings import seconds
from pipeline_step.traffic import ROUTERS

if TYPE_CHECKING:
    from pipeline_step.cluster import Cluster

WITHIN = 60.0  # seconds that the data plane has to follow a change
REFUSED_WITHIN = 5.0  # the same where it says no, since what it misses may have been made in this moment
PAUSE = 0.5  # seconds between two looks at something that is waited for


class Waiting(NamedTuple):
    """Why the data plane does not follow the route yet ("" where it does), and for how many seconds that is fine."""

    reason: str
    limit: float = WITHIN


def unsettled(run: Run, seen: Mapping[str, Seen]) -> Waiting:
    """Why the data plane of some cluster does not follow its route."""
    router = ROUTERS[run.target.router]
    try:
        return Waiting(next((why for one in seen.values() if (why := router.settled(run.target, one.objects))), ""))
    except NotReady as error:
        return Waiting(str(error), REFUSED_WITHIN)


def make_room(run: Run, seen: Mapping[str, Seen], rollout: Rollout) -> str:
    """Ask for the capacity that this rollout's weight takes; why it is not there yet, or "" where it is."""
    router = ROUTERS[run.target.router]

    def made(cluster: Cluster) -> str:
        one = seen[cluster.context]
        changes, missing = router.room(run.target, one.objects, shares({**one.rollouts, run.key: rollout}))
        for change in changes:
            if isinstance(change, Put):
                try:
                    cluster.replace(change.ref, change.object)
                except Conflict:  # it is asked for again at the next look
                    continue
        return missing

    return next(filter(None, each(run.clusters, made).values()), "")


def prepare(run: Run, seen: dict[str, Seen], rollout: Rollout, beat: Callable[[], None]) -> dict[str, Seen]:
    """Before the first write: the route as it is is followed, and there is room for the rollout's weight.

    What an earlier run of this preview left undone is for this one to do, and not waited for. Raises `NotReady`
    where it takes too long, for pods longer than the preview may take to get ready; the capacity that was asked for
    in vain is given back.
    """
    began = run.clock.time()
    fresh = {context: one for context, one in seen.items() if run.key not in one.rollouts}
    while True:
        waiting = unsettled(run, fresh)
        if not waiting.reason:
            patience = seconds(run.config.file.preview.ready_within)
            waiting = Waiting(make_room(run, seen, rollout), patience)
        if not waiting.reason:
            return seen
        if run.clock.time() - began >= waiting.limit:
            each(run.clusters, lambda cluster: _given_back(run, cluster))
            raise NotReady(waiting.reason)
        beat()
        run.clock.sleep(PAUSE)
        seen = each(run.clusters, lambda cluster: observe(run.target, cluster, [run.preview]))
        fresh = {context: seen[context] for context in fresh}


def _given_back(run: Run, cluster: Cluster) -> None:
    """What the recorded shares do not take: the route's plan says it of a preview that has no record."""
    change_one(run.target, cluster, lambda rollouts: rollouts, previews=[run.preview])


class Watch:
    """How long the data plane has not followed; `late` raises `NotReady` once that is too long."""

    def __init__(self, now: float) -> None:
        self._followed = now

    def written(self, now: float) -> None:
        """A write was made: from now on it is waited for."""
        self._followed = now

    def late(self, waiting: Waiting, now: float) -> None:
        """Look at the clock."""
        if not waiting.reason:
            self._followed = now
        elif now - self._followed >= waiting.limit:
            raise NotReady(f"the data plane did not follow within {waiting.limit:.0f} s: {waiting.reason}")
