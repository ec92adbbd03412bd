"""Gateway API: the weights of one rule's backendRefs in an HTTPRoute or a GRPCRoute.

Weights are relative there; while a preview has a share they sum to 100. A preview in another namespace needs a
ReferenceGrant there, and the gateway's controller says in `status.parents` whether it follows the route.
https://gateway-api.sigs.k8s.io/reference/api-spec/main/spec/
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from typing import Annotated, NamedTuple

from pipeline_step.errors import Refused
from pipeline_step.model import Backend, Change, Permission, Put, Ref, Target
from pipeline_step.settings import Label, Strict, says
from pipeline_step.traffic import audience, gateway_audience, gateway_status, interface, weighted
from pipeline_step.traffic import gateway_references as references
from pipeline_step.traffic.audience import Match
from pipeline_step.traffic.choosing import choose, leads_to
from pipeline_step.traffic.interface import Need, Objects, Shares

ORIGINAL = "pipeline-step.dev/gateway-api-original"
MOST_BACKENDS = 16
"""As many backendRefs as the API allows in one rule."""


class Settings(Strict, frozen=True):
    """Which rule: the HTTPRoute or the GRPCRoute, and where several rules lead to stable also the rule's name.

    With `match` only requests that match can reach a preview, and its weight is a percentage of those; with `mirror`
    previews get copies of that many percent of the requests, and answer none.
    """

    http_route: Annotated[str, says("the HTTPRoute")] = ""
    grpc_route: Annotated[str, says("the GRPCRoute, instead")] = ""
    namespace: Annotated[Label | None, says("the route's namespace, where it is not production's")] = None
    rule: Annotated[str, says("the rule's name, where several lead to production")] = ""
    match: Annotated[Match | None, says("which requests may reach a preview (A/B); without it all")] = None
    mirror: Annotated[bool, says("whether previews get copies of requests instead of requests")] = False

    def __post_init__(self) -> None:
        if bool(self.http_route) == bool(self.grpc_route):
            raise ValueError("one of http_route and grpc_route is needed")
        if self.grpc_route and self.match and self.match.query:
            raise ValueError("match.query is for an http_route: gRPC has no query parameters")
        audience.exclusive(self.match, self.mirror)


class _Rule(NamedTuple):
    """A rule that leads to stable, and where it is."""

    position: int
    label: str


def resources(target: Target, objects: Objects, previews: Collection[Backend] = ()) -> list[Ref]:
    """The route."""
    return [_route(target)]


def routed(target: Target, objects: Objects) -> Ref:
    """The route, once it is told which of its rules is meant."""
    _find(target, objects)
    return _route(target)


def weights(target: Target, objects: Objects) -> dict[str, int]:
    """The percentage of each backend; those that are no Service are left out."""
    ref = _route(target)
    position = _find(target, objects)
    rules = objects[ref]["spec"]["rules"]
    entries = (audience.ours_in(rules) or rules[position])["backendRefs"]
    backends = [references.backend(entry, ref.namespace) for entry in entries]
    percent = weighted.percentages(_notation(ref.namespace), entries)
    return weighted.by_backend(list(zip(backends, percent, strict=True)))


def plan(target: Target, objects: Objects, shares: Shares) -> list[Change]:
    """Give each preview its percentage; what is left goes to the user's backends in their proportion.

    Raises `Refused` where the rule would have more backends than the API allows.
    """
    ref = _route(target)
    settings: Settings = target.route
    changed = copy.deepcopy(objects[ref])
    rules, position = changed["spec"]["rules"], _find(target, objects)
    rule, notation = rules[position], _notation(ref.namespace)
    keys = [references.key(entry, ref.namespace) for entry in rule["backendRefs"]]
    wanted = {weighted.preview_key(backend, target.stable, keys): share for backend, share in shares.items()}
    plain = {} if settings.match or settings.mirror else wanted
    rule["backendRefs"] = weighted.share_out(notation, changed, rule["backendRefs"], keys, plain)
    gateway_audience.mirror(ref, changed, rule, wanted if settings.mirror else {})
    ours = None
    if settings.match and any(wanted.values()):
        ours = gateway_audience.narrowed(ref, rule, settings.match)
        keys = [references.key(entry, ref.namespace) for entry in rule["backendRefs"]]
        entries = weighted.share_out(notation, {"metadata": {}}, ours["backendRefs"], keys, wanted)
        ours["backendRefs"] = [
            {"group": "", "kind": "Service", **entry} for entry in entries
        ]  # as the API completes it
    changed["spec"]["rules"] = audience.with_ours(rules, position, ours)
    if (count := max(len(one.get("backendRefs") or []) for one in changed["spec"]["rules"])) > MOST_BACKENDS:
        raise Refused(
            f"{ref} would have {count} backends in one rule, and the Gateway API allows {MOST_BACKENDS}; "
            "promote or revert some previews first"
        )
    return [Put(ref, changed)]


def needs(target: Target, objects: Objects, previews: Collection[Backend]) -> list[Need]:
    """The Gateways that the route names, and a ReferenceGrant in the namespace of each preview outside its own."""
    ref = _route(target)
    gateways = [references.gateway(ref, parent) for parent in objects[ref]["spec"].get("parentRefs") or []]
    grants = [references.grant(ref, preview) for preview in previews if preview.namespace != ref.namespace]
    return [need for need in gateways if need] + grants


def permissions(target: Target, objects: Objects, previews: Collection[Backend]) -> list[Permission]:
    """The route by its name, and a look at its Gateways and at the grants of the previews."""
    ref = _route(target)
    needed = needs(target, objects, previews) if ref in objects else []
    return [
        Permission("get", ref, "read the route"),
        Permission("update", ref, "change its weights"),
        *(Permission("get" if need.ref.name else "list", need.ref, "see that it exists") for need in needed),
    ]


def settled(target: Target, objects: Objects) -> str:
    """Whether every parent's controller has accepted this generation of the route and resolved its backends."""
    return gateway_status.settled(_route(target), objects[_route(target)])


unreachable = interface.any_percentage
room = interface.no_room_needed


def _route(target: Target) -> Ref:
    settings: Settings = target.route
    resource, name = ("httproutes", settings.http_route) if settings.http_route else ("grpcroutes", settings.grpc_route)
    namespace = settings.namespace or target.stable.namespace
    return Ref(group=references.GROUP, resource=resource, namespace=namespace, name=name)


def _find(target: Target, objects: Objects) -> int:
    """The position of the rule that is meant."""
    settings: Settings = target.route
    ref = _route(target)
    rules = objects[ref]["spec"].get("rules") or []
    found = [[references.backend(entry, ref.namespace) for entry in rule.get("backendRefs") or []] for rule in rules]
    leading = [
        _Rule(index, rules[index].get("name") or f"rules[{index}]")
        for index, backends in enumerate(found)
        if any(leads_to(target.stable, backend) for backend in backends) and rules[index].get("name") != audience.OURS
    ]
    return choose(
        f"{references.KINDS[ref.resource]} {ref.namespace}/{ref.name}",
        target.stable,
        leading,
        lambda rule: settings.rule in ("", rules[rule.position].get("name")),
        hosts={str(backend) for backends in found for backend in backends if backend},
        asked={"rule": settings.rule},
        hint="choose one by its name with traffic.gateway_api.rule, and give it one (rules[].name) where it has none",
    ).position


def _notation(namespace: str) -> weighted.Notation:
    return weighted.Notation(
        annotation=ORIGINAL,
        numbers=_numbers,
        entry=lambda key, weight: references.entry(key, weight, namespace),
    )


def _numbers(declared: Sequence[float | None]) -> list[int]:
    """A backend without a weight has 1."""
    return [1 if weight is None else int(weight) for weight in declared]
