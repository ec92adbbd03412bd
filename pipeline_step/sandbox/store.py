"""Objects, versions and watches: what etcd and the watch cache are to a real API server.

Pure Python and safe between threads. An object that is stored is never changed again: a write stores a new
one. So what `get` and `list` return is shared, and a caller who wants to change it copies it first.
"""

from __future__ import annotations

import bisect
import copy
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from pipeline_step.sandbox import refusals
from pipeline_step.sandbox.kinds import Kind

Obj = dict[str, Any]
Objects = list[Obj]
HISTORY = 50_000


@dataclass(frozen=True)
class Event:
    """One change. `type` is ADDED, MODIFIED or DELETED; `before` is None when the object is new."""

    version: int
    type: str
    kind: Kind
    object: Obj
    before: Obj | None


class Store:
    """A versioned map from (kind, namespace, name) to an object, with an ordered history of changes."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.version = 1
        self._objects: dict[Kind, dict[tuple[str, str], Obj]] = {}
        self._history: deque[Event] = deque(maxlen=HISTORY)
        self._listeners: list[Callable[[Event], None]] = []

    def find(self, kind: Kind, namespace: str, name: str) -> Obj | None:
        """The object, or None."""
        with self.lock:
            return self._objects.get(kind, {}).get((namespace, name))

    def get(self, kind: Kind, namespace: str, name: str) -> Obj:
        """The object; a NotFound refusal when there is none."""
        found = self.find(kind, namespace, name)
        if found is None:
            raise refusals.not_found(kind, name)
        return found

    def list(self, kind: Kind, namespace: str = "") -> Objects:
        """All objects of a kind, of one namespace when given, ordered by namespace and name."""
        with self.lock:
            held = self._objects.get(kind, {})
            return [held[key] for key in sorted(held) if namespace in ("", key[0])]

    def snapshot(self, kind: Kind, namespace: str = "") -> tuple[Objects, int]:
        """`list`, with the version that it shows."""
        with self.lock:
            return self.list(kind, namespace), self.version

    def put(self, kind: Kind, obj: Obj, expected: str | None = None) -> Obj:
        """Store a new state and return it, with its new resourceVersion.

        `expected` is the resourceVersion that must be stored now ("" means: nothing may be stored); None
        writes whatever is there. A mismatch is a Conflict (or AlreadyExists) refusal.
        """
        meta = obj["metadata"]
        key = (meta.get("namespace", ""), meta["name"])
        with self.lock:
            held = self._objects.setdefault(kind, {})
            before = held.get(key)
            self._check(kind, key[1], before, expected)
            stored = copy.deepcopy(obj)
            self.version += 1
            stored["metadata"]["resourceVersion"] = str(self.version)
            held[key] = stored
            self._tell(Event(self.version, "MODIFIED" if before else "ADDED", kind, stored, before))
            return stored

    def remove(self, kind: Kind, namespace: str, name: str) -> Obj:
        """Take an object out and return its last state; a NotFound refusal when there is none."""
        with self.lock:
            before = self.get(kind, namespace, name)
            del self._objects[kind][(namespace, name)]
            self.version += 1
            gone = {**before, "metadata": {**before["metadata"], "resourceVersion": str(self.version)}}
            self._tell(Event(self.version, "DELETED", kind, gone, before))
            return gone

    def subscribe(self, listener: Callable[[Event], None], since: int | None = None) -> Callable[[], None]:
        """Call `listener` for every change after version `since` (None: from now), in order, none twice.

        It is called under the store's lock: hand the event over and return. Returns the way to stop.
        A version older than the history is refused with 410.
        """
        with self.lock:
            if since is not None:
                for event in self._after(since):
                    listener(event)
            self._listeners.append(listener)

        def stop() -> None:
            with self.lock:
                if listener in self._listeners:
                    self._listeners.remove(listener)

        return stop

    def _after(self, since: int) -> Iterable[Event]:
        history = list(self._history)
        if len(history) == HISTORY and history[0].version > since + 1:
            message = f"too old resource version: {since} ({history[0].version})"
            raise refusals.ApiError(410, "Expired", message)
        return history[bisect.bisect_right(history, since, key=lambda event: event.version) :]

    def _tell(self, event: Event) -> None:
        self._history.append(event)
        for listener in tuple(self._listeners):
            listener(event)

    @staticmethod
    def _check(kind: Kind, name: str, before: Obj | None, expected: str | None) -> None:
        if expected is None:
            return
        if expected == "" and before is not None:
            raise refusals.already_exists(kind, name)
        if expected and before is None:
            raise refusals.not_found(kind, name)
        if expected and before and before["metadata"]["resourceVersion"] != expected:
            raise refusals.conflict(kind, name)
