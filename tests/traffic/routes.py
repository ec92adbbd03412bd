"""What the shared router tests draw: each router's objects as users write them, and how to look at the result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from pipeline_step.model import Backend, Object, Put, Ref, Target
from pipeline_step.traffic import ROUTERS, gateway_api, istio
from pipeline_step.traffic.gateway_references import GROUP
from pipeline_step.traffic.istio_hosts import GROUP as ISTIO

STABLE = Backend(service="shop", namespace="prod")
Objects = dict[Ref, Object]
UNKNOWN = st.dictionaries(
    st.sampled_from(["timeout", "retries", "x-future", "headers"]), st.text(max_size=5), max_size=3
)
OTHERS = st.lists(
    st.sampled_from([("a", "prod"), ("b", "other"), ("shop", "staging"), ("api", "")]), unique=True, max_size=3
)


def preview(number: int) -> Backend:
    return Backend(service="shop", namespace=f"pr-{number}")


def planned(target: Target, objects: Objects, shares: Mapping[Backend, int]) -> Objects:
    """The objects once the plan has been acted upon."""
    changes = ROUTERS[target.router].plan(target, objects, shares)
    return {**objects, **{change.ref: change.object for change in changes if isinstance(change, Put)}}


@dataclass(frozen=True)
class World:
    """One router with its target. `given` draws the user's objects, `shares` what previews may be given of them."""

    target: Target
    given: st.SearchStrategy[Objects]
    shares: Callable[[Objects], st.SearchStrategy[dict[Backend, int]]]
    listed: Callable[[Objects], list[int]]
    untouched: Callable[[Objects], Any]


def any_shares(_: Objects) -> st.SearchStrategy[dict[Backend, int]]:
    return st.dictionaries(st.integers(1, 4).map(preview), st.integers(0, 25), max_size=4)


@st.composite
def metadata(draw: st.DrawFn) -> Object:
    annotations = draw(st.dictionaries(st.sampled_from(["team", "note"]), st.text(max_size=5), min_size=1))
    more = draw(st.sampled_from([{}, {"annotations": annotations, "labels": {"a": "b"}}]))
    return {"name": "shop", "namespace": "prod", "resourceVersion": "7", "generation": 3, **more}


@st.composite
def declared_weights(draw: st.DrawFn, count: int) -> list[int]:
    declared = draw(st.lists(st.integers(0, 200), min_size=count, max_size=count))
    return declared if any(declared) else [100, *declared[1:]]


# --- Istio ------------------------------------------------------------------------------------------------------------

VIRTUAL_SERVICE = Ref(group=ISTIO, resource="virtualservices", namespace="prod", name="shop")
HOSTS = st.sampled_from(["shop", "shop.prod", "shop.prod.svc", "shop.prod.svc.cluster.local"])


@st.composite
def virtual_services(draw: st.DrawFn) -> Objects:
    """Stable among others in a route of any protocol, relative weights or none, unknown fields everywhere."""
    others = [f"{name}.{namespace}" if namespace else "api.example.com" for name, namespace in draw(OTHERS)]
    declared = draw(declared_weights(len(others) + 1))
    lone = not others and draw(st.booleans())
    port = draw(st.sampled_from([{}, {"port": {"number": 8080}}]))
    destinations = [
        {"destination": {"host": host, **port}, **draw(UNKNOWN), **({} if lone else {"weight": weight})}
        for host, weight in zip([draw(HOSTS), *others], declared, strict=True)
    ]
    draw(st.randoms()).shuffle(destinations)
    other = {"match": [{"uri": {"prefix": "/other"}}], "route": [{"destination": {"host": "o.prod"}}], **draw(UNKNOWN)}
    spec = {"hosts": ["shop.example.com"], draw(st.sampled_from(istio.PROTOCOLS)): [{"route": destinations}, other]}
    kind = {"apiVersion": f"{ISTIO}/v1", "kind": "VirtualService"}
    return {VIRTUAL_SERVICE: {**kind, "metadata": draw(metadata()), "spec": spec}}


def _istio_routes(objects: Objects) -> list[Object]:
    spec = objects[VIRTUAL_SERVICE]["spec"]
    routes: list[Object] = spec[next(protocol for protocol in istio.PROTOCOLS if protocol in spec)]
    return routes


# --- Gateway API ------------------------------------------------------------------------------------------------------

HTTP_ROUTE = Ref(group=GROUP, resource="httproutes", namespace="prod", name="shop")
BY_HEADER = {"headers": [{"name": "x-preview", "value": "always"}]}


@st.composite
def http_routes(draw: st.DrawFn) -> Objects:
    """Stable among other backends in one rule, weights or none, beside a rule that matches a header."""
    backends = []
    others = [(name or "api", namespace or "prod") for name, namespace in draw(OTHERS)]
    for (name, namespace), weight in zip(
        [("shop", "prod"), *others], draw(declared_weights(len(others) + 1)), strict=True
    ):
        backend: Object = {"name": name, "port": 80, **draw(UNKNOWN)}
        if namespace != "prod" or draw(st.booleans()):
            backend["namespace"] = namespace
        if draw(st.booleans()):
            backend |= {"group": "", "kind": "Service"}
        if draw(st.integers(0, 3)):
            backend["weight"] = weight
        backends.append(backend)
    backends.append({"group": "example.com", "kind": "Bucket", "name": "shop", "weight": draw(st.integers(0, 5))})
    draw(st.randoms()).shuffle(backends)
    if not any(backend.get("weight", 1) for backend in backends):
        backends[0]["weight"] = 1
    by_header = {"matches": [BY_HEADER], "backendRefs": [{"name": "other", "port": 80}], **draw(UNKNOWN)}
    rules = [{"backendRefs": backends, **draw(UNKNOWN)}, by_header]
    kind = {"apiVersion": f"{GROUP}/v1", "kind": "HTTPRoute"}
    return {HTTP_ROUTE: {**kind, "metadata": draw(metadata()), "spec": {"rules": rules}}}


WORLDS = {
    "istio": World(
        target=Target(app="shop", stable=STABLE, router="istio", route=istio.Settings(virtual_service="shop")),
        given=virtual_services(),
        shares=any_shares,
        listed=lambda objects: [d["weight"] for d in _istio_routes(objects)[0]["route"]],
        untouched=lambda objects: _istio_routes(objects)[1],
    ),
    "gateway_api": World(
        target=Target(app="shop", stable=STABLE, router="gateway_api", route=gateway_api.Settings(http_route="shop")),
        given=http_routes(),
        shares=any_shares,
        listed=lambda objects: [b["weight"] for b in objects[HTTP_ROUTE]["spec"]["rules"][0]["backendRefs"]],
        untouched=lambda objects: objects[HTTP_ROUTE]["spec"]["rules"][1],
    ),
}
