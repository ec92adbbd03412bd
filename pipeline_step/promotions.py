"""What was promoted to a target, newest first: what a reversal goes back by, and which commits turned out bad.

It stands on a Lease of its own beside the target, so that production's objects and the route stay as they were.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from enum import Enum
from typing import TYPE_CHECKING

import msgspec

from pipeline_step.errors import ConfigError, Conflict, Refused
from pipeline_step.model import Object, Ref, Target
from pipeline_step.preview import APP, MANAGED_BY, digest_of, fill
from pipeline_step.promote.interface import Promotion

if TYPE_CHECKING:
    from pipeline_step.cluster import Cluster

ANNOTATION = "pipeline-step.dev/promotions"
MOST = 30  # promotions remembered
PREVIOUS = "previous"
BAD_SHA = "bad-sha"
"""The name by which `--override` lets a commit be promoted again that was reverted."""


class State(Enum):
    """What became of a promotion."""

    STANDS = "stands"
    REVERTING = "reverting"
    REVERTED = "reverted"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A promotion that was completed at a time in seconds since 1970; why, and by which run, it was reverted."""

    promotion: Promotion
    at: float
    state: State = State.STANDS
    why: str = ""
    run: str = ""


Entries = Sequence[Entry]


def lease_ref(target: Target) -> Ref:
    """The Lease that remembers."""
    name = fill(f"pipeline-step-history-{target.stable.service}", {})
    return Ref(group="coordination.k8s.io", resource="leases", namespace=target.stable.namespace, name=name)


def load(cluster: Cluster, target: Target) -> Entries:
    """What is remembered, newest first."""
    return read(cluster.find(lease_ref(target)))


def amend(cluster: Cluster, target: Target, update: Callable[[Entries], Entries]) -> Entries:
    """Change what is remembered, from what it is now; nothing is written where it stays the same."""
    ref = lease_ref(target)
    while True:
        lease = cluster.find(ref)
        before = read(lease)
        after = update(before)
        if list(after) == list(before):
            return after
        try:
            if lease is None:
                cluster.create(ref, write(_lease(ref, target.app), after))
            else:
                cluster.replace(ref, write(lease, after))
            return after
        except Conflict:
            continue


def read(lease: Object | None) -> Entries:
    """Pure: the entries on a Lease; none on one that does not exist."""
    metadata = (lease or {}).get("metadata") or {}
    text = (metadata.get("annotations") or {}).get(ANNOTATION, "[]")
    try:
        return msgspec.json.decode(text, type=list[Entry])
    except msgspec.MsgspecError as error:
        where = f"Lease {metadata.get('namespace')}/{metadata.get('name')}"
        raise ConfigError(f"{where}: annotation {ANNOTATION} can't be read ({error}); delete the Lease") from error


def write(lease: Object, entries: Entries) -> Object:
    """Pure: a copy of the Lease with the newest of these entries."""
    changed = copy.deepcopy(lease)
    text = json.dumps(msgspec.to_builtins(list(entries[:MOST])), separators=(",", ":"))
    changed["metadata"].setdefault("annotations", {})[ANNOTATION] = text
    return changed


def remembered(entries: Entries, promotion: Promotion, at: float) -> Entries:
    """Pure: with one more promotion; one that is there already stays as it is."""
    if any(entry.promotion.key == promotion.key for entry in entries):
        return entries
    return [Entry(promotion=promotion, at=at), *entries]


def forgotten(entries: Entries, key: str) -> Entries:
    """Pure: without a promotion that was undone before it ended."""
    return [entry for entry in entries if entry.promotion.key != key]


def marked(entries: Entries, keys: Sequence[str], state: State, why: str = "", run: str = "") -> Entries:
    """Pure: these promotions in another state; why and by which run stay where they are not said."""
    return [
        msgspec.structs.replace(entry, state=state, why=why or entry.why, run=run or entry.run)
        if entry.promotion.key in keys
        else entry
        for entry in entries
    ]


def bad(entries: Entries, sha: str) -> str:
    """Pure: why this commit was reverted after it had been promoted; "" where it was not, or stands again."""
    of_it = (entry for entry in entries if sha and entry.promotion.sha[:7] == sha[:7])
    newest = next(of_it, None)
    return newest.why or "it was reverted" if newest and newest.state is not State.STANDS else ""


def to_take_back(entries: Entries, to: str, live: str) -> Entries:
    """Pure: the promotions whose reversal, newest first, brings back `previous` or a digest.

    `live` is production's image now. Raises `Refused` where that is not what was promoted last, or `to` is not known.
    """
    standing = [entry for entry in entries if entry.state is not State.REVERTED]
    if not standing:
        raise Refused("nothing that was promoted here stands, so there is nothing to go back from")
    last = standing[0]
    if last.state is State.STANDS and digest_of(live) and digest_of(live) != last.promotion.digest:
        raise Refused(
            f"production runs {live}, but pull request {last.promotion.pull_request} was promoted last, with "
            f"{last.promotion.digest}: somebody else has changed production since"
        )
    if to == PREVIOUS:
        return standing[:1]
    for number, entry in enumerate(standing, 1):
        if to and digest_of(to) == digest_of(entry.promotion.previous):
            return standing[:number]
    known = ", ".join(digest for entry in standing if (digest := digest_of(entry.promotion.previous)))
    raise Refused(f"{to!r} is nothing that production ran before; known are {PREVIOUS}{f', {known}' if known else ''}")


def _lease(ref: Ref, app: str) -> Object:
    labels = {MANAGED_BY: "pipeline-step", APP: app}
    return {"kind": "Lease", "metadata": {"name": ref.name, "namespace": ref.namespace, "labels": labels}, "spec": {}}
