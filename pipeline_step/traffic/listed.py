"""Routes that are one object with lists of weighted destinations: all of a router but how its kind is written. Pure.

A router says with a `Kind` where the lists are and how a destination names a Service, and takes its functions from a
`Listed` of its kinds. What the settings choose by is the same everywhere: the object's name under the kind's own key,
its `namespace`, and where several of its parts lead to stable the `route`.
"""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pipeline_step.errors import ConfigError
from pipeline_step.model import Backend, Change, Object, Permission, Put, Ref, Target
from pipeline_step.traffic import weighted
from pipeline_step.traffic.choosing import choose, leads_to
from pipeline_step.traffic.interface import Need, Objects, Shares
from pipeline_step.traffic.weighted import Key

Write = Callable[[list[Object]], object]


class Part(NamedTuple):
    """One list of destinations in an object, by the name that people know it by; `write` puts another in its place."""

    label: str
    destinations: list[Object]
    write: Write


def part_of(holder: Object, key: str, label: str) -> Part:
    """The list under a key of some mapping of the object."""
    return Part(label, holder.get(key) or [], lambda entries: holder.__setitem__(key, entries))


def part_among(holder: Object, key: str, label: str, shares: Callable[[Object], bool]) -> Part:
    """Those of the list that share the requests; the others, such as mirrors, keep their places."""
    listed = holder.get(key) or []

    def write(entries: list[Object]) -> None:
        rest = iter(entries)
        kept = [next(rest, None) if shares(entry) else entry for entry in listed]
        holder[key] = [entry for entry in kept if entry is not None] + list(rest)

    return Part(label, [entry for entry in listed if shares(entry)], write)


def one_for_all(declared: Sequence[float | None]) -> list[int]:
    """Weights where a destination without one has 1."""
    return weighted.hundredths([1 if weight is None else weight for weight in declared])


def even_or_none(declared: Sequence[float | None]) -> list[int]:
    """Weights where destinations share evenly if none has one, and otherwise one without gets nothing."""
    if all(weight is None for weight in declared):
        return [1] * len(declared)
    return weighted.hundredths([weight or 0 for weight in declared])


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """How one kind of object lists weighted destinations.

    `backend` gives the Service that a destination in an object of this namespace names, None for anything else, and
    `entry` a destination for the preview beside stable's own. `elsewhere` says why a preview of another namespace
    can't be named and what is possible instead ("" where it can), and `most` how many destinations a list may have.
    """

    kind: str
    group: str
    resource: str
    parts: Callable[[Object], Iterable[Part]]
    backend: Callable[[Object, str], Backend | None]
    entry: Callable[[Key, Object, str], Object]
    numbers: Callable[[Sequence[float | None]], list[int]] = one_for_all
    elsewhere: Callable[[Any], str] = lambda settings: ""
    most: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Listed:
    """The functions of a router, for the kinds of its objects by the key that names one in the settings."""

    router: str
    kinds: Mapping[str, Kind]

    def resources(self, target: Target, objects: Objects, previews: Collection[Backend] = ()) -> list[Ref]:
        """The one object."""
        return [self._ref(target)]

    def routed(self, target: Target, objects: Objects) -> Ref:
        """The object, once it is told which of its parts is meant."""
        self._find(target, objects[self._ref(target)])
        return self._ref(target)

    def weights(self, target: Target, objects: Objects) -> dict[str, int]:
        """The percentage of each destination; those that are no Service are left out."""
        ref, kind = self._ref(target), self._kind(target)
        entries = self._find(target, objects[ref]).destinations
        percent = weighted.percentages(self._notation(kind, {}, ref.namespace), entries)
        backends = [kind.backend(entry, ref.namespace) for entry in entries]
        return weighted.by_backend(list(zip(backends, percent, strict=True)))

    def plan(self, target: Target, objects: Objects, shares: Shares) -> list[Change]:
        """Give each preview its percentage; what is left goes to the user's destinations in their proportion."""
        ref, kind = self._ref(target), self._kind(target)
        changed = copy.deepcopy(objects[ref])
        part = self._find(target, changed)
        keys = [_key(kind, entry, ref.namespace) for entry in part.destinations]
        beside = next(e for e in part.destinations if leads_to(target.stable, kind.backend(e, ref.namespace)))
        wanted = {weighted.preview_key(preview, target.stable, keys): share for preview, share in shares.items()}
        notation = self._notation(kind, beside, ref.namespace)
        part.write(weighted.share_out(notation, changed, part.destinations, keys, wanted))
        return [Put(ref, changed)]

    def needs(self, target: Target, objects: Objects, previews: Collection[Backend]) -> list[Need]:
        """Nothing besides."""
        return []

    def permissions(self, target: Target, objects: Objects, previews: Collection[Backend]) -> list[Permission]:
        """The object by its name."""
        ref = self._ref(target)
        return [Permission("get", ref, "read the route"), Permission("update", ref, "change its weights")]

    def unreachable(self, target: Target, objects: Objects, shares: Shares) -> str:
        """Why a preview can't be named in the object, or one more of them."""
        ref, kind = self._ref(target), self._kind(target)
        wanted = {preview: share for preview, share in shares.items() if share}
        for preview in wanted:
            if preview.namespace != ref.namespace and (why := kind.elsewhere(target.route)):
                return f"the preview {preview} is not in {ref.namespace}, the namespace of {ref}: {why}"
        if kind.most and wanted:
            changed = {change.ref: change.object for change in self.plan(target, objects, wanted)}  # type: ignore[union-attr]
            if (count := len(self._find(target, changed[ref]).destinations)) > kind.most:
                return f"{ref} would have {count} destinations, and {self.router} takes {kind.most}"
        return ""

    def _key_in_settings(self, target: Target) -> str:
        return next(key for key in self.kinds if getattr(target.route, key))

    def _kind(self, target: Target) -> Kind:
        return self.kinds[self._key_in_settings(target)]

    def _ref(self, target: Target) -> Ref:
        kind, name = self._kind(target), getattr(target.route, self._key_in_settings(target))
        namespace = target.route.namespace or target.stable.namespace
        return Ref(group=kind.group, resource=kind.resource, namespace=namespace, name=name)

    def _notation(self, kind: Kind, beside: Object, namespace: str) -> weighted.Notation:
        return weighted.Notation(
            annotation=f"pipeline-step.dev/{self.router.replace('_', '-')}-original",
            numbers=kind.numbers,
            entry=lambda key, weight: {**kind.entry(key, copy.deepcopy(beside), namespace), "weight": weight},
        )

    def _find(self, target: Target, obj: Object) -> Part:
        """The part that is meant."""
        ref, kind = self._ref(target), self._kind(target)
        parts = _told_apart(kind.parts(obj))
        leading = [
            part
            for part in parts
            if any(leads_to(target.stable, kind.backend(entry, ref.namespace)) for entry in part.destinations)
        ]
        wanted = getattr(target.route, "route", "")
        return choose(
            f"{kind.kind} {ref.namespace}/{ref.name}",
            target.stable,
            leading,
            lambda part: wanted in ("", part.label),
            hosts={_shown(kind, entry, ref.namespace) for part in parts for entry in part.destinations},
            asked={"route": wanted},
            hint=f"choose one of these with traffic.{self.router}.route",
        )


def exactly_one(settings: Any, *keys: str) -> None:
    """Raises ValueError unless one of these keys of the settings is given."""
    if sum(bool(getattr(settings, key)) for key in keys) != 1:
        raise ValueError(f"one of {' and '.join(keys)} is needed")


def read_json(text: str, where: str) -> Any:
    """What JSON in an annotation says; raises `ConfigError` with the place."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{where} is not JSON: {error}") from error


def _key(kind: Kind, entry: Object, namespace: str) -> Key:
    """What tells a destination from the others of its list; one that is no Service is told by all it says."""
    if found := kind.backend(entry, namespace):
        return Key(found.host, found.port or 0, found.subset or "")
    return Key(json.dumps({key: value for key, value in entry.items() if key != "weight"}, sort_keys=True))


def _shown(kind: Kind, entry: Object, namespace: str) -> str:
    found = kind.backend(entry, namespace)
    return str(found) if found else str(entry.get("name") or entry)


def _told_apart(parts: Iterable[Part]) -> list[Part]:
    """The parts with labels that differ: where two have the same one, the place of each is added."""
    found = list(parts)
    often = Counter(part.label for part in found)
    return [
        part if often[part.label] == 1 else part._replace(label=f"{part.label} [{index}]")
        for index, part in enumerate(found)
    ]
