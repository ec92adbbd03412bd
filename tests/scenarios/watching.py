"""Every version of the objects that matter, as the API server stored them: the judge of what happened when."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .bed import Api, Obj, path

RECORD = "pipeline-step.dev/rollouts"
MEMORY = "pipeline-step.dev/istio-original"


@dataclass(frozen=True)
class Change:
    """One stored state: its version (ordered over all kinds), what happened, and the object."""

    version: int
    type: str
    object: Obj


class History:
    """Every change of some (kind, namespace) pairs since this was made, as the server kept it."""

    def __init__(self, api: Api, *places: tuple[str, str]) -> None:
        self._api = api
        self._before: dict[tuple[str, str], tuple[int, list[Obj]]] = {}
        self._found: dict[tuple[str, str], list[Change]] = {}
        for place in places:
            listed = api.send("GET", path(*place)).json()
            items = [{"kind": place[0], **item} for item in listed["items"]]
            self._before[place] = int(listed["metadata"]["resourceVersion"]), items

    def changes(self, kind: str, namespace: str) -> list[Change]:
        """What was there at first, and every change until the first call, in the order of the server."""
        place = (kind, namespace)
        if place not in self._found:
            start, items = self._before[place]
            before = [Change(start, "EXISTING", item) for item in items]
            self._found[place] = before + list(self._since(kind, namespace, start))
        return self._found[place]

    def _since(self, kind: str, namespace: str, start: int) -> Iterator[Change]:
        """Replay from the server's own history until the newest state of everything that is listed now.

        That something was deleted is in no list, so for endpoints a marker is written, which ends the replay; where
        the namespace takes nothing any more, it ends after a second without one.
        """
        awaited = {o["metadata"]["uid"]: int(o["metadata"]["resourceVersion"]) for o in self._api.list(kind, namespace)}
        awaited = {uid: version for uid, version in awaited.items() if version > start}
        endless = kind == "EndpointSlice"
        marker = self._mark(namespace) if endless else None
        if not (awaited or endless):
            return
        url = f"{self._api.url}{path(kind, namespace)}?watch=1&resourceVersion={start}&timeoutSeconds=1"
        if marker:
            url = url.replace("timeoutSeconds=1", "timeoutSeconds=30")
        with self._api.session.get(url, stream=True, timeout=(10, 60)) as stream:
            for line in stream.iter_lines(chunk_size=None):
                event = json.loads(line)
                if event["type"] == "BOOKMARK":
                    continue
                assert event["type"] != "ERROR", event
                metadata = event["object"]["metadata"]
                if marker and metadata["uid"] == marker["metadata"]["uid"]:
                    break
                version = int(metadata["resourceVersion"])
                yield Change(version, event["type"], event["object"])
                if version >= awaited.get(metadata["uid"], version + 1):
                    del awaited[metadata["uid"]]
                if not (awaited or endless):
                    break
        if marker:
            self._api.delete(kind, namespace, marker["metadata"]["name"])
        assert not awaited, f"the watch of {kind} in {namespace} did not show the newest state"

    def _mark(self, namespace: str) -> Obj | None:
        """Write an EndpointSlice of no Service; None where the namespace is gone or going."""
        marker = {"metadata": {"generateName": "end-of-history-"}, "addressType": "IPv4", "endpoints": []}
        body = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", **marker}
        answer = self._api.send("POST", path("EndpointSlice", namespace), body)
        found: Obj | None = answer.json() if answer.status_code == 201 else None
        return found


def weights(virtual_service: Obj, route: int = 0, protocol: str = "http") -> dict[str, int]:
    """Percentages by host as they stand in the route; a lone destination without a weight has all."""
    destinations = virtual_service["spec"][protocol][route]["route"]
    return {d["destination"]["host"]: d.get("weight", 100 if len(destinations) == 1 else 0) for d in destinations}


def recorded(virtual_service: Obj) -> dict[str, dict[str, Any]]:
    """The record's rollouts by host of the preview, as JSON, read without the step's own code."""
    text = (virtual_service["metadata"].get("annotations") or {}).get(RECORD)
    if text is None:
        return {}
    return {
        f"{r['preview']['service']}.{r['preview']['namespace']}.svc.cluster.local": r
        for r in json.loads(text)["rollouts"]
    }


def agrees(virtual_service: Obj, stable: str, route: int = 0, protocol: str = "http") -> bool:
    """Whether record and weights are the same: each preview has what is recorded, nobody else but stable has any."""
    shares = weights(virtual_service, route, protocol)
    record = {host: rollout.get("weight", 0) for host, rollout in recorded(virtual_service).items()}
    others = {host: weight for host, weight in shares.items() if weight and host != stable}
    return others == {host: weight for host, weight in record.items() if weight} and sum(shares.values()) == 100


def bare(obj: Obj) -> Obj:
    """What is the user's of an object: without what the server counts for itself."""
    metadata = {
        key: value
        for key, value in obj["metadata"].items()
        if key not in ("resourceVersion", "generation", "managedFields")
    }
    return {**{key: value for key, value in obj.items() if key != "status"}, "metadata": metadata}
