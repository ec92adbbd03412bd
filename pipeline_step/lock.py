"""The lock and heartbeat of a rollout: a Lease beside the target.

Whoever holds it may raise weights; it is renewed while the run lives, and what was left behind by a run whose lease
ran out is for the next run to resume or for `guard` to heal. Taking traffic back needs no lock.
https://kubernetes.io/docs/concepts/architecture/leases/
"""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pipeline_step.errors import Conflict, NotFound, Refused
from pipeline_step.model import Backend, Object, Ref, Target
from pipeline_step.preview import APP, MANAGED_BY, fill

if TYPE_CHECKING:
    from pipeline_step.cluster import Cluster

DURATION = 60  # seconds without a heartbeat after which a run counts as dead
ATTEMPTS = 100  # at taking a lease while others write it
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


def lease_ref(target: Target, preview: Backend, *, shared: bool) -> Ref:
    """One Lease for the target, or one for each preview where several share it within a budget."""
    name = f"pipeline-step-{target.stable.service}" + (f"-{preview}" if shared else "")
    return Ref(group="coordination.k8s.io", resource="leases", namespace=target.stable.namespace, name=fill(name, {}))


def acquire(cluster: Cluster, ref: Ref, holder: str, app: str, now: float) -> None:
    """Take the lease or renew one's own; raises `Refused` with the holder's name while another's is alive."""
    for _ in range(ATTEMPTS):
        lease = cluster.find(ref)
        if lease is not None and (other := alive(lease, now)) and other != holder:
            raise Refused(f"{ref.name} is held by {other}, which was alive {now - _renewed(lease):.0f} s ago")
        try:
            if lease is None:
                cluster.create(ref, _lease(ref, holder, app, now))
            else:
                cluster.replace(ref, _renew(lease, holder, now))
            return
        except Conflict:
            time.sleep(random.uniform(0, 0.1))  # noqa: S311 - spreads writers out, guards nothing
        except NotFound:
            if lease is None:  # not the lease is missing, but its namespace
                raise
    raise Conflict(f"{ref} is changed by others all the time", 409)


def release(cluster: Cluster, ref: Ref, holder: str) -> None:
    """Give the lease back if it is still one's own."""
    lease = cluster.find(ref)
    if lease is not None and lease["spec"].get("holderIdentity") == holder:
        cluster.delete(ref)


def alive(lease: Object, now: float) -> str:
    """The holder whose heartbeat is young enough; "" where there is none."""
    spec = lease.get("spec") or {}
    fresh = now < _renewed(lease) + (spec.get("leaseDurationSeconds") or DURATION)
    return str(spec.get("holderIdentity") or "") if fresh else ""


def _renewed(lease: Object) -> float:
    text = (lease.get("spec") or {}).get("renewTime")
    return datetime.fromisoformat(text).timestamp() if text else 0.0


def _lease(ref: Ref, holder: str, app: str, now: float) -> Object:
    return {
        "kind": "Lease",
        "metadata": {
            "name": ref.name,
            "namespace": ref.namespace,
            "labels": {MANAGED_BY: "pipeline-step", APP: app},
        },
        "spec": {
            "holderIdentity": holder,
            "leaseDurationSeconds": DURATION,
            "acquireTime": _text(now),
            "renewTime": _text(now),
        },
    }


def _renew(lease: Object, holder: str, now: float) -> Object:
    spec = lease.get("spec") or {}
    mine = spec.get("holderIdentity") == holder
    acquired = spec.get("acquireTime") if mine else _text(now)
    fresh = {"holderIdentity": holder, "acquireTime": acquired, "renewTime": _text(now)}
    return {**lease, "spec": {**spec, "leaseDurationSeconds": DURATION, **fresh}}


def _text(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime(_TIME)
