"""Istio: the weights of one route of a VirtualService, whoever else owns the rest of it.

https://istio.io/latest/docs/reference/config/networking/virtual-service/
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Sequence
from typing import Annotated, NamedTuple

from pipeline_step.errors import ConfigError
from pipeline_step.model import Backend, Change, Object, Permission, Put, Ref, Target
from pipeline_step.settings import Label, Port, Strict, says
from pipeline_step.traffic import audience, interface, istio_audience, weighted
from pipeline_step.traffic import istio_hosts as hosts
from pipeline_step.traffic.audience import Match
from pipeline_step.traffic.choosing import choose, leads_to
from pipeline_step.traffic.interface import Need, Objects, Shares

ORIGINAL = "pipeline-step.dev/istio-original"
PROTOCOLS = ("http", "tls", "tcp")


class Settings(Strict, frozen=True):
    """Which route: the VirtualService, and where several lead to stable also the route's name, port or SNI host.

    With `match` only requests that match can reach a preview, and its weight is a percentage of those; with `mirror`
    previews get copies of that many percent of the requests, and answer none.
    """

    virtual_service: Annotated[str, says("the VirtualService")]
    namespace: Annotated[Label | None, says("its namespace, where it is not production's")] = None
    route: Annotated[str, says("the http route's name, where several lead to production")] = ""
    port: Annotated[Port | None, says("the port that the tls or tcp route matches, likewise")] = None
    sni: Annotated[str, says("the SNI host that the tls route matches, likewise")] = ""
    match: Annotated[Match | None, says("which requests may reach a preview (A/B); without it all")] = None
    mirror: Annotated[bool, says("whether previews get copies of requests instead of requests")] = False

    def __post_init__(self) -> None:
        audience.exclusive(self.match, self.mirror)


class _Route(NamedTuple):
    """A route that leads to stable: the object it is in, and where in it."""

    ref: Ref
    protocol: str
    position: int
    label: str


def resources(target: Target, objects: Objects, previews: Collection[Backend] = ()) -> list[Ref]:
    """The VirtualService, and the delegates that it hands routes to where none of its own leads to stable."""
    root = _root(target)
    if root not in objects or any(_leading(target, root, objects[root])):
        return [root]
    return [root, *_delegates(target, root, objects[root])]


def routed(target: Target, objects: Objects) -> Ref:
    """The VirtualService, root or delegate, that holds the chosen route."""
    return _find(target, objects).ref


def weights(target: Target, objects: Objects) -> dict[str, int]:
    """The percentage of each destination; hosts that are no Service of the cluster are left out."""
    route = _find(target, objects)
    routes = objects[route.ref]["spec"][route.protocol]
    destinations = (audience.ours_in(routes) or routes[route.position])["route"]
    backends = [hosts.backend(d["destination"], route.ref.namespace) for d in destinations]
    return weighted.by_backend(list(zip(backends, weighted.percentages(NOTATION, destinations), strict=True)))


def plan(target: Target, objects: Objects, shares: Shares) -> list[Change]:
    """Give each preview its percentage; what is left goes to the user's destinations in their proportion."""
    ref, protocol, index, _ = _find(target, objects)
    settings: Settings = target.route
    if protocol != "http" and (settings.match or settings.mirror):
        raise ConfigError(f"{ref}: match and mirror are for http routes, and stable is led to by {protocol}")
    changed = copy.deepcopy(objects[ref])
    routes = changed["spec"][protocol]
    route = routes[index]
    keys = [hosts.key(destination["destination"], ref.namespace) for destination in route["route"]]
    wanted = {weighted.preview_key(backend, target.stable, keys): share for backend, share in shares.items()}
    plain = {} if settings.match or settings.mirror else wanted
    route["route"] = weighted.share_out(NOTATION, changed, route["route"], keys, plain)
    istio_audience.mirror(ref, changed, route, wanted if settings.mirror else {})
    ours = None
    if settings.match and any(wanted.values()):
        ours = istio_audience.narrowed(ref, route, settings.match)
        keys = [hosts.key(destination["destination"], ref.namespace) for destination in route["route"]]
        ours["route"] = weighted.share_out(NOTATION, {"metadata": {}}, ours["route"], keys, wanted)
    changed["spec"][protocol] = audience.with_ours(routes, index, ours)
    return [Put(ref, changed)]


def needs(target: Target, objects: Objects, previews: Collection[Backend]) -> list[Need]:
    """The Gateways that the root VirtualService names (`mesh` is none): without them it routes nothing."""
    root = _root(target)
    names = objects[root]["spec"].get("gateways") or []
    why, remedy = f"{root} names it, and its requests go nowhere without it", "create it, or name one that exists"
    return [Need(ref=hosts.gateway(name, root.namespace), why=why, remedy=remedy) for name in names if name != "mesh"]


def permissions(target: Target, objects: Objects, previews: Collection[Backend]) -> list[Permission]:
    """The VirtualServices by their names, and a look at their Gateways."""
    found = resources(target, objects)
    changed = routed(target, objects) if all(ref in objects for ref in found) else found[0]
    needed = needs(target, objects, previews) if found[0] in objects else []
    return [
        *(Permission("get", ref, "read the route") for ref in found),
        Permission("update", changed, "change its weights"),
        *(Permission("get", need.ref, "see that it exists") for need in needed),
    ]


unreachable = interface.any_percentage
room = interface.no_room_needed
settled = interface.says_nothing


def _root(target: Target) -> Ref:
    settings: Settings = target.route
    namespace = settings.namespace or target.stable.namespace
    return Ref(group=hosts.GROUP, resource="virtualservices", namespace=namespace, name=settings.virtual_service)


def _delegates(target: Target, root: Ref, virtual_service: Object) -> list[Ref]:
    settings: Settings = target.route
    return [
        Ref(
            group=hosts.GROUP,
            resource="virtualservices",
            namespace=route["delegate"].get("namespace") or root.namespace,
            name=route["delegate"]["name"],
        )
        for route in virtual_service["spec"].get("http") or []
        if "delegate" in route and settings.route in ("", route.get("name", ""))
    ]


def _destinations(virtual_service: Object) -> Iterator[tuple[str, int, Object, Object]]:
    """Protocol, position and body of every route, with each destination that it has; ours is none of them."""
    for protocol in PROTOCOLS:
        for index, route in enumerate(virtual_service.get("spec", {}).get(protocol) or []):
            for destination in route.get("route") or []:
                if route.get("name") != audience.OURS:
                    yield protocol, index, route, destination["destination"]


def _leading(target: Target, ref: Ref, virtual_service: Object) -> list[_Route]:
    """Every route of the object that has stable among its destinations."""
    found = {
        (protocol, index): _Route(ref, protocol, index, route.get("name") or f"{protocol}[{index}]")
        for protocol, index, route, destination in _destinations(virtual_service)
        if leads_to(target.stable, hosts.backend(destination, ref.namespace))
    }
    return list(found.values())


def _find(target: Target, objects: Objects) -> _Route:
    root = _root(target)
    settings: Settings = target.route
    refs = [ref for ref in resources(target, objects) if ref in objects]
    return choose(
        f"VirtualService {root.namespace}/{root.name}",
        target.stable,
        [route for ref in refs for route in _leading(target, ref, objects[ref])],
        lambda route: _is_chosen(settings, route, root, objects),
        hosts={destination["host"] for ref in refs for *_, destination in _destinations(objects[ref])},
        asked={"route": settings.route, "port": settings.port, "sni": settings.sni},
        hint="choose one with traffic.istio.route (http), .port or .sni (tls, tcp)",
    )


def _is_chosen(settings: Settings, route: _Route, root: Ref, objects: Objects) -> bool:
    """A delegate was chosen with the root's route, so its own routes need no name."""
    spec_route = objects[route.ref]["spec"][route.protocol][route.position]
    matches = spec_route.get("match") or []
    if settings.port and not any(match.get("port") == settings.port for match in matches):
        return False
    if settings.sni and not any(settings.sni in (match.get("sniHosts") or []) for match in matches):
        return False
    return not settings.route or route.ref != root or spec_route.get("name") == settings.route


def _numbers(declared: Sequence[float | None]) -> list[int]:
    """A lone destination needs no weight; among several, one without a weight gets nothing."""
    return [100] if list(declared) == [None] else [int(weight or 0) for weight in declared]


NOTATION = weighted.Notation(annotation=ORIGINAL, numbers=_numbers, entry=hosts.entry)
