"""What the shared router tests draw: each router's objects as users write them, and how to look at the result."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st

from pipeline_step.model import Backend, Object, Put, Ref, Target
from pipeline_step.preview import PREVIEW
from pipeline_step.sandbox import gateway_defaults
from pipeline_step.traffic import ROUTERS, gateway_api, istio, nginx, pods
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
    after = dict(objects)
    for change in ROUTERS[target.router].plan(target, objects, shares):
        if isinstance(change, Put):
            after[change.ref] = change.object
        else:
            after.pop(change.ref)
    return after


@dataclass(frozen=True)
class World:
    """One router with its target. `given` draws the user's objects, `shares` what previews may be given of them."""

    target: Target
    given: st.SearchStrategy[Objects]
    shares: Callable[[Objects], st.SearchStrategy[dict[Backend, int]]]
    listed: Callable[[Objects], list[int]]
    untouched: Callable[[Objects], Any]
    completed: Callable[[Objects], Objects] = lambda objects: objects
    """The objects with what the API server fills in."""


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


def _completed(objects: Objects) -> Objects:
    completed = copy.deepcopy(objects)
    gateway_defaults.http_route(completed[HTTP_ROUTE])
    return completed


# --- Pods -------------------------------------------------------------------------------------------------------------

SERVICE = Ref(group="", resource="services", namespace="prod", name="shop")
SELECTOR = {"app": "shop", "tier": "web"}
REPLICAS = 6


def beside(number: int) -> Backend:
    return Backend(service=f"shop-pr-{number}", namespace="prod")


def pod(name: str, labels: Mapping[str, str], ready: bool = True, **metadata: Any) -> dict[Ref, Object]:
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    ref = Ref(group="", resource="pods", namespace="prod", name=name)
    return {
        ref: {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "prod", "labels": dict(labels), **metadata},
            "status": {"phase": "Running", "conditions": [condition]},
        }
    }


def deployment(number: int, replicas: int = REPLICAS) -> dict[Ref, Object]:
    own = {PREVIEW: beside(number).service}
    ref = Ref(group="apps", resource="deployments", namespace="prod", name=beside(number).service)
    meta = {"name": ref.name, "namespace": "prod", "labels": own}
    spec = {"replicas": replicas, "selector": {"matchLabels": own}}
    return {ref: {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}}


@st.composite
def pods_of_both_sides(draw: st.DrawFn) -> Objects:
    """Production with one pod or several, and two previews whose own labels differ in all ways."""
    meta = draw(metadata())
    spec = {"selector": SELECTOR, "ports": [{"port": 80}], **draw(UNKNOWN)}
    objects: Objects = {SERVICE: {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}}
    for number in range(draw(st.integers(1, 6))):
        objects |= pod(f"shop-{number}", {**SELECTOR, "pod-template-hash": "a"})
    for number in (1, 2):
        own = draw(st.sampled_from([{}, {"app": f"shop-pr-{number}"}, {"app": "shop"}, {"tier": "other"}]))
        annotations = draw(st.sampled_from([{}, {"annotations": {"team": "a"}}]))
        for index in range(REPLICAS):
            labels = {PREVIEW: beside(number).service, "pod-template-hash": "b", **own}
            objects |= pod(f"shop-pr-{number}-{index}", labels, **annotations)
        objects |= deployment(number)
    return objects


def countable_shares(objects: Objects) -> st.SearchStrategy[dict[Backend, int]]:
    """Percentages that whole pods beside production's come to exactly."""
    stable = sum(ref.name.startswith("shop-") and "pr" not in ref.name for ref in objects if ref.resource == "pods")
    found: list[dict[Backend, int]] = [{}, {beside(1): 0}]
    for first in range(1, REPLICAS + 1):
        for second in range(REPLICAS + 1):
            total = stable + first + second
            if (100 * first) % total == 0 and (100 * second) % total == 0:
                found.append({beside(1): 100 * first // total, beside(2): 100 * second // total})
    return st.sampled_from(found)


def _percentages(objects: Objects) -> list[int]:
    return list(pods.weights(PODS, objects).values())


def _production(objects: Objects) -> Any:
    own = {ref: obj for ref, obj in objects.items() if ref.resource == "pods" and "pr" not in ref.name}
    return own, objects[SERVICE]["spec"]


PODS = Target(app="shop", stable=STABLE, router="pods", route=pods.Settings())

# --- ingress-nginx ----------------------------------------------------------------------------------------------------

INGRESS = Ref(group="networking.k8s.io", resource="ingresses", namespace="prod", name="shop")


def to_service(name: str, path: str = "/") -> Object:
    return {"path": path, "pathType": "Prefix", "backend": {"service": {"name": name, "port": {"number": 80}}}}


@st.composite
def ingresses(draw: st.DrawFn) -> Objects:
    """Stable on several paths and hosts among others, and a second Ingress that has nothing to do with it."""
    paths = [to_service("shop"), to_service("shop", "/cart"), to_service("other", "/other")]
    rules = [{"host": "shop.example.com", "http": {"paths": paths}}, {"host": "o", "http": {"paths": paths[2:]}}]
    spec = {"ingressClassName": "nginx", "rules": rules, "tls": [{"hosts": ["shop.example.com"]}], **draw(UNKNOWN)}
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress"}
    other = replace(INGRESS, name="other")
    return {
        INGRESS: {**kind, "metadata": draw(metadata()), "spec": spec},
        other: {**kind, "metadata": {"name": "other", "namespace": "prod"}, "spec": {"rules": rules[1:]}},
        replace(INGRESS, name=""): {"apiVersion": "networking.k8s.io/v1", "kind": "IngressList", "items": []},
    }


def one_share(_: Objects) -> st.SearchStrategy[dict[Backend, int]]:
    """ingress-nginx takes one canary."""
    return st.dictionaries(st.integers(1, 4).map(beside), st.integers(0, 100), max_size=1)


NGINX = Target(app="shop", stable=STABLE, router="nginx", route=nginx.Settings(ingress="shop"))

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
        completed=_completed,
    ),
    "pods": World(
        target=PODS,
        given=pods_of_both_sides(),
        shares=countable_shares,
        listed=_percentages,
        untouched=_production,
    ),
    "nginx": World(
        target=NGINX,
        given=ingresses(),
        shares=one_share,
        listed=lambda objects: list(nginx.weights(NGINX, objects).values()),
        untouched=lambda objects: objects[INGRESS],
    ),
}
