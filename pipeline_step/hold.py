"""Holding a target: the lease while a run lives, and writing one's own record wherever it is still one's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress

from pipeline_step import lock
from pipeline_step.decide import crowded
from pipeline_step.errors import Refused, StepError, Superseded
from pipeline_step.model import Rollout
from pipeline_step.record import Rollouts
from pipeline_step.route import Seen, change, each
from pipeline_step.run import Run

HEARTBEAT = lock.DURATION / 4  # seconds between two renewals of the lease
FAREWELL = 2.0  # seconds that giving the lease back may take while the API does not answer
Beat = Callable[[], None]


@contextmanager
def holding(run: Run) -> Iterator[Beat]:
    """Hold the target's lease in every cluster for as long as the block runs; call the beat to renew it."""
    shared = run.config.file.strategy.budget is not None
    ref = lock.lease_ref(run.target, run.preview, shared=shared)
    renewed = 0.0

    def acquire() -> None:
        nonlocal renewed
        now = run.clock.time()
        each(run.clusters, lambda cluster: lock.acquire(cluster, ref, run.holder, run.target.app, now))
        renewed = now

    def beat() -> None:
        if run.clock.time() - renewed < HEARTBEAT:
            return
        try:
            acquire()
        except Refused as error:
            raise Superseded(f"this run's lease ran out and was taken: {error}") from error

    acquire()
    try:
        yield beat
    finally:
        with suppress(StepError):  # a lease that can't be given back runs out by itself
            each(run.clusters, lambda cluster: lock.release(cluster.hurried(FAREWELL), ref, run.holder))


def record_on(run: Run, move: Callable[[Rollout], Rollout]) -> Rollout:
    """Change this run's rollout, record and weight together, from what is recorded now; the new one."""
    return rewrite(run, move)[0]


def rewrite(
    run: Run, move: Callable[[Rollout], Rollout], seen: Mapping[str, Seen] | None = None
) -> tuple[Rollout, Mapping[str, Seen]]:
    """The same, with the route as it is then.

    `seen` is what was read before, to save the reads: where it is no longer so, it is read again.
    Raises `Superseded` where it is no longer this run's, and `Refused` where its weight would pass the budget.
    """
    moved: list[Rollout] = []

    def updated(rollouts: Rollouts) -> Rollouts:
        recorded = rollouts.get(run.key)
        if recorded is None or recorded.run != run.config.run:
            raise Superseded("the rollout was ended by someone else in this moment")
        rollout = move(recorded)
        if trouble := crowded(run.key, rollout.weight, rollouts, run.config.file.strategy.budget):
            raise Refused(trouble)
        moved.append(rollout)
        return {**rollouts, run.key: rollout}

    on = change(run.target, run.clusters, updated, seen)
    return moved[-1], on
