"""Making the judged image production.

The preview keeps serving its share until production runs the image and has been read back; only then does traffic
go home. If production does not get there, its previous image comes back first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pipeline_step.errors import ConfigError, Exit, NotReady
from pipeline_step.health import is_ready, running_image
from pipeline_step.hold import record_on
from pipeline_step.model import Backend, Phase, Rollout
from pipeline_step.preview import digest_of, pinned
from pipeline_step.promote import PROMOTERS
from pipeline_step.record import Rollouts
from pipeline_step.route import change, each, observe
from pipeline_step.run import Event, Result, Run
from pipeline_step.settings import seconds

if TYPE_CHECKING:
    from pipeline_step.cluster import Cluster
    from pipeline_step.config import Config
    from pipeline_step.promote.workload import Progress

POLL = 1.0  # seconds between two looks at production's roll-out


def bring_over(run: Run, rollout: Rollout, beat: Callable[[], None]) -> Result:
    """Promote the digest in the record. Production's image before stands in the record before anything changes."""
    if not rollout.digest:
        raise NotReady(f"the digest that {run.preview} runs is not known; give the image by digest")
    image = pinned(_preview_image(run, rollout), rollout.digest)
    previous = rollout.previous or _current(run)
    record_on(run, lambda recorded: dataclasses.replace(recorded, phase=Phase.PROMOTING, previous=previous))
    run.tell(Event(kind="promoting", weight=rollout.weight, reason=f"production gets {image}", sha=rollout.sha))

    trouble = _roll_out(run, image, beat)
    if trouble:
        run.tell(Event(kind="undoing", weight=rollout.weight, reason=trouble, sha=rollout.sha))
        back = _roll_out(run, previous, beat)
        reason = f"production did not get ready with {image}: {trouble}"
        reason += f"; its previous image did not get ready either: {back}" if back else f"; {previous} runs again"
    on = change(run.target, run.clusters, lambda rollouts: without(rollouts, run.key))
    if trouble:
        run.tell(Event(kind="reverted", weight=0, reason=reason, sha=rollout.sha, on=on))
        return Result(outcome="reverted", reason=reason, exit=Exit.REVERTED, sha=rollout.sha, digest=rollout.digest)
    reason = f"production runs {image}, and all requests go to it"
    run.tell(Event(kind="promoted", weight=0, reason=reason, sha=rollout.sha, on=on))
    return Result(outcome="promoted", reason=reason, sha=rollout.sha, digest=rollout.digest)


def already_running(run: Run) -> str:
    """Production's image where it is what the preview runs and no rollout of it is recorded; "" otherwise."""
    if run.config.promoter is None:
        return ""
    if any(run.key in observe(run.target, cluster).rollouts for cluster in run.clusters.values()):
        return ""
    container = run.config.file.production.container
    reviewed = {running(cluster, run.preview, container)[1] for cluster in run.clusters.values()}
    image = _current(run)
    return image if digest_of(image) and reviewed == {digest_of(image)} else ""


def undo(config: Config, clusters: Mapping[str, Cluster], previous: str) -> None:
    """Tell production to run its previous image again, without waiting for it."""
    name, settings = _promoter(config)
    each(clusters, lambda cluster: PROMOTERS[name].start(settings, config.workload, cluster, previous))


def without(rollouts: Rollouts, key: str) -> Rollouts:
    """The record with one rollout ended."""
    return {other: rollout for other, rollout in rollouts.items() if other != key}


def _promoter(config: Config) -> tuple[str, object]:
    if config.promoter is None:
        raise ConfigError("promote: this key is needed to promote; write `promote: {workload: {}}`")
    return config.promoter


def _current(run: Run) -> str:
    """Production's image; every cluster has to run the same, since one record has to bring it back."""
    promoter, settings = _promoter(run.config)
    images = each(run.clusters, lambda c: PROMOTERS[promoter].current(settings, run.config.workload, c))
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


def _roll_out(run: Run, image: str, beat: Callable[[], None]) -> str:
    """Bring production to an image in every cluster and wait; "" when it runs, else why it does not."""
    name, settings = _promoter(run.config)
    promoter, production = PROMOTERS[name], run.config.workload
    each(run.clusters, lambda cluster: promoter.start(settings, production, cluster, image))
    until = run.clock.time() + seconds(getattr(settings, "ready_within", "10m"))
    while True:
        states: dict[str, Progress] = each(run.clusters, lambda c: promoter.progress(settings, production, c))
        if all(state.ready for state in states.values()):
            return ""
        pending = next(state for state in states.values() if not state.ready)
        if stuck := next((state for state in states.values() if state.stuck), None):
            return stuck.reason
        if run.clock.time() >= until:
            return f"not ready in time: {pending.reason}"
        beat()
        run.clock.sleep(POLL)
