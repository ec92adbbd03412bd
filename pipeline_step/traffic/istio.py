"""Istio: the weights of one route of a VirtualService, whoever else owns the rest of it.

What the route was before the first preview stands in an annotation of this router, so that taking the last preview
out gives the user's route back as it was. If the user changes the route in mid-rollout, their change becomes the
state to go back to. https://istio.io/latest/docs/reference/config/networking/virtual-service/
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from pipeline_step.errors import ConfigError
from pipeline_step.model import Backend, Change, Object, Put, Ref, Target
from pipeline_step.settings import Label, Port, Strict
from pipeline_step.traffic.shares import apportion, rest

GROUP = "networking.istio.io"
ORIGINAL = "pipeline-step.dev/istio-original"
PROTOCOLS = ("http", "tls", "tcp")


class Settings(Strict, frozen=True):
    """Which route: the VirtualService, and where several lead to stable also the route's name, port or SNI host."""

    virtual_service: str
    namespace: Label | None = None
    route: str = ""
    port: Port | None = None
    sni: str = ""


class _Key(NamedTuple):
    """What tells one destination of a route from another; the host is the full name where it is a Service."""

    host: str
    port: int
    subset: str


class _Memory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The user's destinations with their weights before the first preview, what we set them to, what we added."""

    before: list[tuple[_Key, int | None]]
    set: list[int | None]
    added: list[_Key]


class _Route(NamedTuple):
    """A route that leads to stable: the object it is in, and where in it."""

    ref: Ref
    protocol: str
    position: int
    label: str


def resources(target: Target, objects: Mapping[Ref, Object]) -> list[Ref]:
    """The VirtualService, and the delegates that it hands routes to where none of its own leads to stable."""
    root = _root(target)
    if root not in objects or any(_leading(target, root, objects[root])):
        return [root]
    return [root, *_delegates(target, root, objects[root])]


def routed(target: Target, objects: Mapping[Ref, Object]) -> Ref:
    """The VirtualService, root or delegate, that holds the chosen route."""
    return _find(target, objects).ref


def weights(target: Target, objects: Mapping[Ref, Object]) -> dict[str, int]:
    """The percentage of each destination; hosts that are no Service of the cluster are left out."""
    route = _find(target, objects)
    destinations = objects[route.ref]["spec"][route.protocol][route.position]["route"]
    percent = apportion(_numbers([d.get("weight") for d in destinations]), 100)
    found: dict[str, int] = {}
    for destination, weight in zip(destinations, percent, strict=True):
        if backend := _backend(destination["destination"], route.ref.namespace):
            found[str(backend)] = found.get(str(backend), 0) + weight
    return found


def plan(target: Target, objects: Mapping[Ref, Object], shares: Mapping[Backend, int]) -> list[Change]:
    """Give each preview its percentage; what is left goes to the user's destinations in their proportion."""
    ref, protocol, index, _ = _find(target, objects)
    changed = copy.deepcopy(objects[ref])
    route = changed["spec"][protocol][index]
    memory = _recall(changed)
    added = set(memory.added) if memory else set()
    keys = {id(d): _key(d["destination"], ref.namespace) for d in route["route"]}
    theirs = [d for d in route["route"] if keys[id(d)] not in added]
    before = _before(theirs, [keys[id(d)] for d in theirs], memory, intact=len(theirs) == len(route["route"]))
    wanted = {_preview_key(target, backend, theirs): share for backend, share in shares.items() if share}

    if wanted:
        scaled = [d for d in theirs if keys[id(d)] not in wanted]
        base = dict(zip(map(id, theirs), _numbers(before), strict=True))
        left = apportion([base[id(d)] for d in scaled], rest(list(wanted.values())))
        set_to = dict(zip(map(id, scaled), left, strict=True))
        for destination in theirs:
            destination["weight"] = set_to.get(id(destination), wanted.get(keys[id(destination)], 0))
    else:
        for destination, weight in zip(theirs, before, strict=True):
            _set_weight(destination, weight)

    new = [key for key in wanted if key not in keys.values() or key in added]
    route["route"] = theirs + [{"destination": _destination(key), "weight": wanted[key]} for key in new]
    _remember(
        changed,
        _Memory(
            before=[(keys[id(d)], w) for d, w in zip(theirs, before, strict=True)],
            set=[d.get("weight") for d in theirs],
            added=new,
        )
        if wanted
        else None,
    )
    return [Put(ref, changed)]


def needs(target: Target, objects: Mapping[Ref, Object]) -> list[Ref]:
    """The Gateways that the root VirtualService names (`mesh` is none): without them it routes nothing."""
    root = _root(target)
    names = objects[root]["spec"].get("gateways") or []
    return [_gateway(name, root.namespace) for name in names if name != "mesh"]


def _gateway(name: str, namespace: str) -> Ref:
    """Gateways are named as `NAME`, `NAMESPACE/NAME`, or in old objects as `NAME.NAMESPACE.svc.cluster.local`."""
    if "/" in name:
        namespace, name = name.split("/", 1)
        return Ref(group=GROUP, resource="gateways", namespace=namespace, name=name)
    labels = name.split(".")
    if len(labels) > 1:
        namespace = labels[1]
    return Ref(group=GROUP, resource="gateways", namespace=namespace, name=labels[0])


def _root(target: Target) -> Ref:
    settings: Settings = target.route
    namespace = settings.namespace or target.stable.namespace
    return Ref(group=GROUP, resource="virtualservices", namespace=namespace, name=settings.virtual_service)


def _delegates(target: Target, root: Ref, virtual_service: Object) -> list[Ref]:
    settings: Settings = target.route
    return [
        Ref(
            group=GROUP,
            resource="virtualservices",
            namespace=route["delegate"].get("namespace") or root.namespace,
            name=route["delegate"]["name"],
        )
        for route in virtual_service["spec"].get("http") or []
        if "delegate" in route and settings.route in ("", route.get("name", ""))
    ]


def _leading(target: Target, ref: Ref, virtual_service: Object) -> Iterator[_Route]:
    """Every route of the object that has stable among its destinations."""
    for protocol in PROTOCOLS:
        for index, route in enumerate(virtual_service.get("spec", {}).get(protocol) or []):
            for destination in route.get("route") or []:
                if _is_stable(target, destination["destination"], ref.namespace):
                    label = route.get("name") or f"{protocol}[{index}]"
                    yield _Route(ref, protocol, index, label)
                    break


def _find(target: Target, objects: Mapping[Ref, Object]) -> _Route:
    root = _root(target)
    refs = [ref for ref in resources(target, objects) if ref in objects]
    routes = [route for ref in refs for route in _leading(target, ref, objects[ref])]
    where = f"VirtualService {root.namespace}/{root.name}"
    if not routes:
        hosts = sorted(_all_hosts(objects[ref] for ref in refs))
        raise ConfigError(
            f"{where}: no route leads to {target.stable.host}; its destinations are: {', '.join(hosts) or 'none'}"
        )
    chosen = [route for route in routes if _is_chosen(target.route, route, root, objects)]
    labels = ", ".join(route.label for route in routes)
    if not chosen:
        raise ConfigError(
            f"{where}: no route that leads to {target.stable.host} matches {_asked(target.route)}; there are: {labels}"
        )
    if len(chosen) > 1:
        raise ConfigError(
            f"{where}: {len(chosen)} routes lead to {target.stable.host}: {labels}; "
            "choose one with traffic.istio.route (http), .port or .sni (tls, tcp)"
        )
    return chosen[0]


def _asked(settings: Settings) -> str:
    asked = {"route": settings.route, "port": settings.port, "sni": settings.sni}
    return ", ".join(f"{key} {value!r}" for key, value in asked.items() if value)


def _is_chosen(settings: Settings, route: _Route, root: Ref, objects: Mapping[Ref, Object]) -> bool:
    """A delegate was chosen with the root's route, so its own routes need no name."""
    spec_route = objects[route.ref]["spec"][route.protocol][route.position]
    matches = spec_route.get("match") or []
    if settings.port and not any(match.get("port") == settings.port for match in matches):
        return False
    if settings.sni and not any(settings.sni in (match.get("sniHosts") or []) for match in matches):
        return False
    return not settings.route or route.ref != root or spec_route.get("name") == settings.route


def _all_hosts(virtual_services: Iterator[Object]) -> set[str]:
    return {
        destination["destination"]["host"]
        for virtual_service in virtual_services
        for protocol in PROTOCOLS
        for route in virtual_service.get("spec", {}).get(protocol) or []
        for destination in route.get("route") or []
    }


def _service(host: str, namespace: str) -> tuple[str, str] | None:
    """Service and namespace of `svc`, `svc.ns`, `svc.ns.svc` or `svc.ns.svc.DOMAIN`; None for any other host."""
    labels = host.split(".")
    if len(labels) > 2 and labels[2] != "svc":
        return None
    return labels[0], labels[1] if len(labels) > 1 else namespace


def _backend(destination: Object, namespace: str) -> Backend | None:
    service = _service(destination["host"], namespace)
    if service is None:
        return None
    port = (destination.get("port") or {}).get("number")
    return Backend(service=service[0], namespace=service[1], port=port, subset=destination.get("subset"))


def _is_stable(target: Target, destination: Object, namespace: str) -> bool:
    backend, stable = _backend(destination, namespace), target.stable
    return (
        backend is not None
        and (backend.service, backend.namespace) == (stable.service, stable.namespace)
        and stable.port in (None, backend.port)
        and stable.subset in (None, backend.subset)
    )


def _key(destination: Object, namespace: str) -> _Key:
    backend = _backend(destination, namespace)
    host = backend.host if backend else destination["host"]
    return _Key(host, (destination.get("port") or {}).get("number") or 0, destination.get("subset") or "")


def _preview_key(target: Target, preview: Backend, theirs: list[Object]) -> _Key:
    """The preview listens where stable does unless it says otherwise."""
    port = preview.port or next(
        (d["destination"]["port"]["number"] for d in theirs if (d["destination"].get("port") or {}).get("number")), 0
    )
    return _Key(preview.host, port, preview.subset or "")


def _destination(key: _Key) -> Object:
    destination: dict[str, Any] = {"host": key.host}
    if key.port:
        destination["port"] = {"number": key.port}
    if key.subset:
        destination["subset"] = key.subset
    return destination


def _numbers(declared: list[int | None]) -> list[int]:
    """A lone destination needs no weight; among several, one without a weight gets nothing."""
    return [100] if declared == [None] else [weight or 0 for weight in declared]


def _before(theirs: list[Object], keys: list[_Key], memory: _Memory | None, *, intact: bool) -> list[int | None]:
    """What the user's destinations weigh without previews: as remembered, unless the user changed them since.

    `intact` says that none of the destinations we added is there (any more).
    """
    now = [destination.get("weight") for destination in theirs]
    if memory is None:
        return now
    if keys == [key for key, _ in memory.before] and now == memory.set:
        return [weight for _, weight in memory.before]
    return now if intact else list(apportion(_numbers(now), 100))


def _set_weight(destination: Object, weight: int | None) -> None:
    if weight is None:
        destination.pop("weight", None)
    else:
        destination["weight"] = weight


def _recall(virtual_service: Object) -> _Memory | None:
    text = (virtual_service["metadata"].get("annotations") or {}).get(ORIGINAL)
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=_Memory)
    except msgspec.MsgspecError as error:
        meta = virtual_service["metadata"]
        raise ConfigError(
            f"VirtualService {meta.get('namespace')}/{meta['name']}: annotation {ORIGINAL} can't be read ({error}); "
            "restore the route's own weights from Git and delete the annotation"
        ) from error


def _remember(virtual_service: Object, memory: _Memory | None) -> None:
    metadata = virtual_service["metadata"]
    annotations = metadata.get("annotations") or {}
    annotations.pop(ORIGINAL, None)
    if memory:
        annotations[ORIGINAL] = json.dumps(msgspec.to_builtins(memory), separators=(",", ":"))
    if annotations:
        metadata["annotations"] = annotations
    else:
        metadata.pop("annotations", None)
