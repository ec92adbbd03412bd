"""Making the judged image production.

Git is told first where that is how production is changed, then production. The preview keeps serving its share until
production runs the image and has been read back; only then does traffic go home. If production does not get there,
Git and its previous image come back first. docs/promotion.md has the table of states.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pipeline_step import promotions
from pipeline_step.errors import ConfigError, Exit, NotReady, Unfinished
from pipeline_step.health import is_ready, running_image
from pipeline_step.hold import record_on
from pipeline_step.model import Backend, Phase, Rollout
from pipeline_step.preview import digest_of, pinned
from pipeline_step.promote import PROMOTERS
from pipeline_step.promote.interface import Promotion
from pipeline_step.record import Rollouts
from pipeline_step.route import change, each, observe
from pipeline_step.run import Event, Result, Run
from pipeline_step.settings import seconds

if TYPE_CHECKING:
    from pipeline_step.cluster import Cluster
    from pipeline_step.config import Config
    from pipeline_step.promote.workload import Progress

POLL = 1.0  # seconds between two looks at production's roll-out
GIT_POLL = 3.0  # seconds between two looks at what Git was told


def bring_over(run: Run, rollout: Rollout, beat: Callable[[], None]) -> Result:
    """Promote the digest in the record. Production's image before stands in the record before anything changes."""
    if not rollout.digest:
        raise NotReady(f"the digest that {run.preview} runs is not known; give the image by digest")
    named = _preview_image(run, rollout)
    image = pinned(named, rollout.digest)
    previous = rollout.previous or current(run)
    rollout = record_on(run, lambda recorded: dataclasses.replace(recorded, phase=Phase.PROMOTING, previous=previous))
    run.tell(Event(kind="promoting", weight=rollout.weight, reason=f"production gets {image}", sha=rollout.sha))

    trouble, rollout = _tell_git(run, rollout, named, beat)
    trouble = trouble or roll_out(run, image, beat)
    if trouble:
        run.tell(Event(kind="undoing", weight=rollout.weight, reason=trouble, sha=rollout.sha))
        if why := out_of_git(run, rollout, beat, patience(run.config)):
            raise Unfinished(f"production did not get ready with {image}: {trouble}; {why}")
        back = roll_out(run, previous, beat)
        reason = f"production did not get ready with {image}: {trouble}"
        reason += f"; its previous image did not get ready either: {back}" if back else f"; {previous} runs again"
    else:
        done = promotion(run.config, rollout, named)
        first = next(iter(run.clusters.values()))
        promotions.amend(first, run.target, lambda entries: promotions.remembered(entries, done, run.clock.time()))
    on = change(run.target, run.clusters, lambda rollouts: without(rollouts, run.key))
    if trouble:
        run.tell(Event(kind="reverted", weight=0, reason=reason, sha=rollout.sha, on=on))
        return Result(outcome="reverted", reason=reason, exit=Exit.REVERTED, sha=rollout.sha, digest=rollout.digest)
    reason = f"production runs {image}, and all requests go to it"
    run.tell(Event(kind="promoted", weight=0, reason=reason, sha=rollout.sha, on=on))
    return Result(outcome="promoted", reason=reason, sha=rollout.sha, digest=rollout.digest)


def _tell_git(run: Run, rollout: Rollout, named: str, beat: Callable[[], None]) -> tuple[str, Rollout]:
    """Have Git say it, and record what it was told; "" once it does, else why it does not, and the record then."""
    name, settings = promoter(run.config)
    until = run.clock.time() + patience(run.config)
    told = ""
    while True:
        written = PROMOTERS[name].write(settings, run.config, promotion(run.config, rollout, named))
        if written.change != rollout.change:
            rollout = record_on(run, lambda recorded: dataclasses.replace(recorded, change=written.change))  # noqa: B023
        if written.done:
            return "", rollout
        if written.stuck or run.clock.time() >= until:
            return written.reason, rollout
        if written.reason != told:
            run.tell(Event(kind="waiting", weight=rollout.weight, reason=written.reason, sha=rollout.sha))
            told = written.reason
        beat()
        run.clock.sleep(GIT_POLL)


def out_of_git(run: Run, rollout: Rollout, beat: Callable[[], None], patience: float) -> str:
    """Have Git say it no more, within so many seconds; "" once it does not, else why it still may."""
    name, settings = promoter(run.config)
    until = run.clock.time() + patience
    while True:
        written = PROMOTERS[name].withdraw(settings, run.config, promotion(run.config, rollout))
        if written.done:
            return ""
        if run.clock.time() >= until:
            return f"Git still says that it is production: {written.reason}"
        beat()
        run.clock.sleep(GIT_POLL)


def promotion(config: Config, rollout: Rollout, named: str = "") -> Promotion:
    """Pure: what is promoted; `named` is the preview's image as it is written there, where that is known."""
    name = named.partition("@")[0]
    return Promotion(
        app=config.file.app,
        image=pinned(named, rollout.digest) if named else rollout.digest,
        digest=rollout.digest,
        tag=name.rpartition("/")[2].partition(":")[2],
        previous=rollout.previous,
        sha=rollout.sha,
        pull_request=rollout.pull_request,
        began=rollout.began,
        by=rollout.by,
        change=rollout.change,
    )


def owes_git(config: Config, rollout: Rollout) -> bool:
    """Pure: whether Git may say that this is production, and has to be asked before its record ends."""
    if config.promoter is None or not PROMOTERS[config.promoter[0]].WRITES_GIT:
        return False
    return rollout.phase in (Phase.PROMOTING, Phase.UNDOING) and bool(rollout.previous)


def ended(config: Config, rollouts: Rollouts, key: str) -> Rollouts:
    """Pure: the record with one rollout ended: gone, or without a share for as long as Git may speak of it."""
    rollout = rollouts.get(key)
    if rollout is None or not owes_git(config, rollout):
        return without(rollouts, key)
    return {**rollouts, key: dataclasses.replace(rollout, phase=Phase.UNDOING, weight=0, counters={})}


def already_running(run: Run) -> str:
    """Production's image where it is what the preview runs and no rollout of it is recorded; "" otherwise."""
    if run.config.promoter is None:
        return ""
    if any(run.key in observe(run.target, cluster).rollouts for cluster in run.clusters.values()):
        return ""
    container = run.config.file.production.container
    reviewed = {running(cluster, run.preview, container)[1] for cluster in run.clusters.values()}
    image = current(run)
    return image if digest_of(image) and reviewed == {digest_of(image)} else ""


def undo(config: Config, clusters: Mapping[str, Cluster], rollout: Rollout) -> None:
    """Tell production to run its previous image again, without waiting for it; it was never promoted."""
    key = promotion(config, rollout).key
    each(clusters, lambda c: promotions.amend(c, config.target, lambda entries: promotions.forgotten(entries, key)))
    name, settings = promoter(config)
    each(clusters, lambda cluster: PROMOTERS[name].start(settings, config.workload, cluster, rollout.previous))


def without(rollouts: Rollouts, key: str) -> Rollouts:
    """The record with one rollout ended."""
    return {other: rollout for other, rollout in rollouts.items() if other != key}


def promoter(config: Config) -> tuple[str, object]:
    """The promoter's name and settings; raises `ConfigError` where none is configured."""
    if config.promoter is None:
        raise ConfigError("promote: this key is needed to promote; write `promote: {workload: {}}`")
    return config.promoter


def current(run: Run) -> str:
    """Production's image; every cluster has to run the same, since one record has to bring it back."""
    name, settings = promoter(run.config)
    images = each(run.clusters, lambda c: PROMOTERS[name].current(settings, run.config.workload, c))
    if len(set(images.values())) > 1:
        raise NotReady(f"the clusters run different images in production: {images}")
    return next(iter(images.values()))


def _preview_image(run: Run, rollout: Rollout) -> str:
    """The name of the image that the preview runs; the digest must still be the judged one in every cluster."""
    container = run.config.file.production.container
    images = each(run.clusters, lambda cluster: running(cluster, run.preview, container))
    for context, (image, digest, _) in images.items():
        if digest != rollout.digest:
            where = f" in {context}" if context else ""
            raise NotReady(f"the preview{where} runs {digest or image} now, but {rollout.digest} was judged")
    return next(iter(images.values()))[0]


def running(cluster: Cluster, backend: Backend, container: str) -> tuple[str, str, str]:
    """Image, digest and reviewed SHA of the ready pods behind a Service; raises `NotReady` where there is none."""
    endpoints = cluster.endpoints(backend)
    names = {endpoint.pod for endpoint in endpoints}
    pods = [pod for pod in cluster.list_objects("", "pods", backend.namespace) if pod["metadata"]["name"] in names]
    ready = [pod for pod in pods if is_ready(pod)]
    if not ready:
        raise NotReady(f"no ready pod stands behind the Service {backend.service} in {backend.namespace}")
    try:
        return running_image(ready, container)
    except NotReady as error:
        raise NotReady(f"{backend}: {error}") from error


def patience(config: Config) -> float:
    """How many seconds Git may take to say it."""
    return seconds(getattr(promoter(config)[1], "merge_within", "2m"))


def roll_out(run: Run, image: str, beat: Callable[[], None]) -> str:
    """Bring production to an image in every cluster and wait; "" when it runs, else why it does not."""
    name, settings = promoter(run.config)
    chosen, production = PROMOTERS[name], run.config.workload
    each(run.clusters, lambda cluster: chosen.start(settings, production, cluster, image))
    until = run.clock.time() + seconds(getattr(settings, "ready_within", "10m"))
    while True:
        states: dict[str, Progress] = each(run.clusters, lambda c: chosen.progress(settings, production, c, image))
        if all(state.ready for state in states.values()):
            return ""
        pending = next(state for state in states.values() if not state.ready)
        if stuck := next((state for state in states.values() if state.stuck), None):
            return stuck.reason
        if run.clock.time() >= until:
            return f"not ready in time: {pending.reason}"
        beat()
        run.clock.sleep(POLL)
