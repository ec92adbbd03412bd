"""What a pull request has still to be told: written down before it is tried, crossed out when it was told.

A run that dies, or whose provider is down at its end, would leave a status pending for ever; `guard` tells what is
owed. It stands on the Lease that remembers comments, so that nothing is left on the route.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import msgspec

from pipeline_step import handled
from pipeline_step.errors import ConfigError, Conflict
from pipeline_step.model import Object, Target
from pipeline_step.run import Event

if TYPE_CHECKING:
    from pipeline_step.cluster import Cluster

ANNOTATION = "pipeline-step.dev/owed"
MOST = 60  # pull requests
LINES = 5  # of a history, kept for each


class Debt(msgspec.Struct, frozen=True, kw_only=True):
    """The last event of a run that the pull request was, or was to be, told; `lines` of its history were not told.

    Where the event ends nothing, the debt is that of an end: the run that owes it has said no more.
    """

    number: int
    run: str
    kind: str
    weight: int
    reason: str
    at: float
    sha: str = ""
    url: str = ""
    lines: tuple[str, ...] = ()

    @property
    def event(self) -> Event:
        """The event again."""
        return Event(kind=self.kind, weight=self.weight, reason=self.reason, sha=self.sha, url=self.url, at=self.at)


Debts = Mapping[str, Debt]
"""Debts by pull request, as OWNER/NAME#NUMBER."""


def debts(cluster: Cluster, target: Target) -> Debts:
    """All that is owed for a target."""
    lease = cluster.find(handled.lease_ref(target))
    return read(lease) if lease else {}


def owe(cluster: Cluster, target: Target, pull_request: str, debt: Debt) -> Debt | None:
    """Write it down, in place of an older one; give that back, whose lines are to be told as well."""
    older: list[Debt | None] = []

    def added(known: Debts) -> Debts:
        older[:] = [known.get(pull_request)]
        newest = sorted({**known, pull_request: debt}.items(), key=lambda item: item[1].at)[-MOST:]
        return dict(newest)

    _change(cluster, target, added)
    return older[0] if older else None


def settle(cluster: Cluster, target: Target, pull_request: str, at: float) -> None:
    """Cross out what is owed, unless something newer than `at` is."""

    def without(known: Debts) -> Debts:
        return {key: debt for key, debt in known.items() if key != pull_request or debt.at > at}

    _change(cluster, target, without)


def read(lease: Object) -> Debts:
    """Pure: what stands on the Lease."""
    metadata = lease["metadata"]
    text = (metadata.get("annotations") or {}).get(ANNOTATION, "{}")
    try:
        return msgspec.json.decode(text, type=dict[str, Debt])
    except msgspec.MsgspecError as error:
        where = f"Lease {metadata.get('namespace')}/{metadata['name']}"
        raise ConfigError(f"{where}: annotation {ANNOTATION} can't be read ({error}); delete the annotation") from error


def write(lease: Object, known: Debts) -> Object:
    """Pure: a copy of the Lease with exactly these."""
    changed = copy.deepcopy(lease)
    annotations = changed["metadata"].setdefault("annotations", {})
    annotations.pop(ANNOTATION, None)
    if known:
        annotations[ANNOTATION] = json.dumps(msgspec.to_builtins(dict(known)), separators=(",", ":"))
    return changed


def _change(cluster: Cluster, target: Target, update: Callable[[Debts], Debts]) -> None:
    ref = handled.lease_ref(target)
    while True:
        lease = cluster.find(ref)
        known = read(lease) if lease else {}
        wanted = update(known)
        if wanted == known:
            return
        try:
            if lease is None:
                cluster.create(ref, write(handled.new_lease(ref, target.app), wanted))
            else:
                cluster.replace(ref, write(lease, wanted))
            return
        except Conflict:
            continue
