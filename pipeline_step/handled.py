"""Which comments have been done already: a webhook may come twice, and a job that reads the latest comment may run
again for another reason, but what brings a preview forward is done once.

It is remembered on a Lease of its own beside the target, so that two runs can't both take the same comment and the
route stays as it was. Only the newest comment of each pull request is kept, and of the newest pull requests.
"""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING

import msgspec

from pipeline_step.errors import ConfigError, Conflict, Refused
from pipeline_step.model import Object, Ref, Target
from pipeline_step.preview import APP, MANAGED_BY, fill

if TYPE_CHECKING:
    from pipeline_step.cluster import Cluster

ANNOTATION = "pipeline-step.dev/comments"
MOST = 100  # pull requests remembered


class Handled(msgspec.Struct, frozen=True, kw_only=True):
    """A comment that was taken: its id, when it was written in seconds since 1970, and the run that took it."""

    id: str
    created: float
    run: str


def lease_ref(target: Target) -> Ref:
    """The Lease that remembers."""
    name = fill(f"pipeline-step-comments-{target.stable.service}", {})
    return Ref(group="coordination.k8s.io", resource="leases", namespace=target.stable.namespace, name=name)


def take(cluster: Cluster, target: Target, pull_request: str, handled: Handled) -> None:
    """Remember that this run does the comment; raises `Refused` where it or a newer one was taken by another run."""
    ref = lease_ref(target)
    while True:
        lease = cluster.find(ref)
        if lease is not None and (why := repeated(lease, pull_request, handled)):
            raise Refused(why)
        try:
            if lease is None:
                cluster.create(ref, add(new_lease(ref, target.app), pull_request, handled))
            else:
                cluster.replace(ref, add(lease, pull_request, handled))
            return
        except Conflict:
            continue


def repeated(lease: Object, pull_request: str, handled: Handled) -> str:
    """Pure: why this comment must not be done, in words; "" where it may. A run that is retried may do it again."""
    last = _read(lease).get(pull_request)
    if last is None or (handled.created, handled.id) > (last.created, last.id):
        return ""
    if handled.id != last.id:
        return f"comment {handled.id} is older than comment {last.id}, which was done already"
    return "" if handled.run == last.run else f"comment {last.id} was done already, by run {last.run}; ask anew"


def add(lease: Object, pull_request: str, handled: Handled) -> Object:
    """Pure: a copy of the Lease that remembers one more."""
    changed = copy.deepcopy(lease)
    known = _read(lease) | {pull_request: handled}
    newest = dict(sorted(known.items(), key=lambda item: item[1].created)[-MOST:])
    changed["metadata"].setdefault("annotations", {})[ANNOTATION] = json.dumps(msgspec.to_builtins(newest))
    return changed


def _read(lease: Object) -> dict[str, Handled]:
    metadata = lease["metadata"]
    text = (metadata.get("annotations") or {}).get(ANNOTATION, "{}")
    try:
        return msgspec.json.decode(text, type=dict[str, Handled])
    except msgspec.MsgspecError as error:
        where = f"Lease {metadata.get('namespace')}/{metadata['name']}"
        raise ConfigError(f"{where}: annotation {ANNOTATION} can't be read ({error}); delete the Lease") from error


def new_lease(ref: Ref, app: str) -> Object:
    """The Lease before anything stands on it."""
    labels = {MANAGED_BY: "pipeline-step", APP: app}
    return {"kind": "Lease", "metadata": {"name": ref.name, "namespace": ref.namespace, "labels": labels}, "spec": {}}
