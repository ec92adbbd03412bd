"""What the shared router tests draw for routers whose route is one object with lists of weighted destinations."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from pipeline_step.model import Backend, Object, Ref, Target
from pipeline_step.traffic import ROUTERS
from tests.traffic.routes import (
    STABLE,
    UNKNOWN,
    Objects,
    World,
    beside,
    declared_weights,
    metadata,
    preview,
)

Destination = Callable[[str, str, int | None], Object]
"""Writes a destination: service, namespace, weight."""
Placed = Callable[[list[Object], Object], Object]
"""Writes a spec: the destinations that lead to stable among others, and an unknown field."""

OTHER_PLACES = [("a", "prod"), ("b", "other"), ("shop", "staging")]


def world(
    router: str,
    key: str,
    api: tuple[str, str, str],
    *,
    destination: Destination,
    spec: Placed,
    listed: Callable[[Object], list[Object]],
    untouched: Callable[[Object], Any],
    across: bool,
    lone_without: bool = True,
    weight: str = "weight",
    **settings: Any,
) -> World:
    """One object of `api` (group/version, kind, plural), whose list `listed` finds."""
    group = api[0].rpartition("/")[0]
    ref = Ref(group=group, resource=api[2], namespace="prod", name="shop")
    route = ROUTERS[router].Settings(**{key: "shop"}, **settings)

    @st.composite
    def given(draw: st.DrawFn) -> Objects:
        places = OTHER_PLACES if across else [("a", "prod"), ("b", "prod"), ("c", "prod")]
        others = draw(st.lists(st.sampled_from(places), unique=True, max_size=2))
        weights: list[int | None] = [*draw(declared_weights(len(others) + 1))]
        if lone_without and draw(st.booleans()):
            weights = [None] * len(weights) if not others else [weights[0] or 1, *weights[1:]]
        named = [("shop", "prod"), *others]
        entries = [destination(*place, share) for place, share in zip(named, weights, strict=True)]
        draw(st.randoms()).shuffle(entries)
        obj: Object = {
            "apiVersion": api[0],
            "kind": api[1],
            "metadata": draw(metadata()),
            "spec": spec(entries, draw(UNKNOWN)),
        }
        if "annotations" in obj["spec"]:
            obj["metadata"].setdefault("annotations", {}).update(obj["spec"].pop("annotations"))
        return {ref: obj}

    def shares(_: Objects) -> st.SearchStrategy[dict[Backend, int]]:
        previews = st.integers(1, 4).map(preview if across else beside)
        return st.dictionaries(previews, st.integers(0, 25), max_size=4)

    return World(
        target=Target(app="shop", stable=STABLE, router=router, route=route),
        given=given(),
        shares=shares,
        listed=lambda objects: [entry[weight] for entry in listed(objects[ref])],
        untouched=lambda objects: untouched(objects[ref]),
    )


def weighted(entry: Object, weight: int | None, name: str = "weight") -> Object:
    return entry if weight is None else {**entry, name: weight}


CONTOUR = world(
    "contour",
    "http_proxy",
    ("projectcontour.io/v1", "HTTPProxy", "httpproxies"),
    destination=lambda name, _, weight: weighted({"name": name, "port": 80, "protocol": "h2c"}, weight),
    spec=lambda entries, more: {
        "virtualhost": {"fqdn": "shop.example.com"},
        "routes": [
            {
                "conditions": [{"prefix": "/"}],
                "services": [*entries[:1], {"name": "shop", "port": 80, "mirror": True, "weight": 7}, *entries[1:]],
                **more,
            },
            {"conditions": [{"prefix": "/other"}], "services": [{"name": "o", "port": 80}], **more},
        ],
    },
    listed=lambda proxy: [service for service in proxy["spec"]["routes"][0]["services"] if "mirror" not in service],
    untouched=lambda proxy: (
        proxy["spec"]["routes"][1],
        [service for service in proxy["spec"]["routes"][0]["services"] if "mirror" in service],
    ),
    across=False,
)


def traefik_service(name: str, namespace: str, weight: int | None) -> Object:
    place = {} if namespace == "prod" else {"namespace": namespace}
    return weighted({"name": name, **place, "port": 80, "scheme": "http"}, weight)


TRAEFIK = world(
    "traefik",
    "ingress_route",
    ("traefik.io/v1alpha1", "IngressRoute", "ingressroutes"),
    destination=traefik_service,
    spec=lambda entries, more: {
        "entryPoints": ["web"],
        "routes": [
            {
                "match": "Host(`shop.example.com`)",
                "kind": "Rule",
                "services": [*entries, {"kind": "TraefikService", "name": "shop", "weight": 0}],
                **more,
            },
            {"match": "PathPrefix(`/o`)", "kind": "Rule", "services": [{"name": "o", "port": 80}]},
        ],
    },
    listed=lambda route: route["spec"]["routes"][0]["services"],
    untouched=lambda route: route["spec"]["routes"][1],
    across=True,
    cross_namespace=True,
)

OPENSHIFT = world(
    "openshift",
    "name",
    ("route.openshift.io/v1", "Route", "routes"),
    destination=lambda name, _, weight: weighted({"kind": "Service", "name": name}, weight),
    spec=lambda entries, more: {
        "host": "shop.example.com",
        "to": entries[0],
        **({"alternateBackends": entries[1:]} if entries[1:] else {}),
        "port": {"targetPort": "http"},
        **more,
    },
    listed=lambda route: [route["spec"]["to"], *route["spec"].get("alternateBackends", [])],
    untouched=lambda route: (route["spec"]["host"], route["spec"]["port"]),
    across=False,
)

SMI = world(
    "smi",
    "traffic_split",
    ("split.smi-spec.io/v1alpha4", "TrafficSplit", "trafficsplits"),
    destination=lambda name, _, weight: weighted({"service": name}, weight),
    spec=lambda entries, more: {"service": "shop", "backends": entries, **more},
    listed=lambda split: split["spec"]["backends"],
    untouched=lambda split: split["spec"]["service"],
    across=False,
)


def mesh_service(name: str, namespace: str, weight: int | None) -> Object:
    return weighted({"kind": "MeshService", "name": name, "namespace": namespace, "port": 80}, weight)


KUMA = world(
    "kuma",
    "mesh_http_route",
    ("kuma.io/v1alpha1", "MeshHTTPRoute", "meshhttproutes"),
    destination=mesh_service,
    spec=lambda entries, more: {
        "targetRef": {"kind": "Mesh"},
        "to": [
            {
                "targetRef": {"kind": "MeshService", "name": "shop"},
                "rules": [
                    {"matches": [{"path": {"type": "PathPrefix", "value": "/o"}}], "default": {"filters": []}},
                    {"default": {"backendRefs": entries, **more}, **more},
                ],
            }
        ],
    },
    listed=lambda route: route["spec"]["to"][0]["rules"][1]["default"]["backendRefs"],
    untouched=lambda route: route["spec"]["to"][0]["rules"][0],
    across=True,
)

APISIX = world(
    "apisix",
    "apisix_route",
    ("apisix.apache.org/v2", "ApisixRoute", "apisixroutes"),
    destination=lambda name, _, weight: weighted({"serviceName": name, "servicePort": 80}, weight),
    spec=lambda entries, more: {
        "ingressClassName": "apisix",
        "http": [
            {"name": "pages", "match": {"hosts": ["shop.example.com"], "paths": ["/*"]}, "backends": entries, **more},
            {"name": "other", "match": {"paths": ["/o"]}, "backends": [{"serviceName": "o", "servicePort": 80}]},
        ],
    },
    listed=lambda route: route["spec"]["http"][0]["backends"],
    untouched=lambda route: route["spec"]["http"][1],
    across=False,
)


def split(name: str, namespace: str, weight: int | None) -> Object:
    place = {} if namespace == "prod" else {"namespace": namespace}
    named = {} if (name, namespace) == ("shop", "prod") else {"service": name}
    return weighted({**named, **place}, weight)


CONSUL = world(
    "consul",
    "service_splitter",
    ("consul.hashicorp.com/v1alpha1", "ServiceSplitter", "servicesplitters"),
    destination=lambda name, namespace, weight: split(name, namespace, weight and weight + 0.5),  # type: ignore[arg-type]
    spec=lambda entries, more: {"splits": entries, **more},
    listed=lambda splitter: splitter["spec"]["splits"],
    untouched=lambda splitter: {key: value for key, value in splitter["spec"].items() if key != "splits"},
    across=True,
    mirrored_namespaces=True,
)


def gloo_destination(name: str, namespace: str, weight: int | None) -> Object:
    kube = {"kube": {"ref": {"name": name, "namespace": namespace}, "port": 80}}
    return {"destination": kube, "weight": 1 if weight is None else weight}


def gloo_action(entries: list[Object]) -> Object:
    """A lone destination stands without a weight."""
    return {"single": entries[0]["destination"]} if len(entries) == 1 else {"multi": {"destinations": entries}}


GLOO = world(
    "gloo",
    "virtual_service",
    ("gateway.solo.io/v1", "VirtualService", "virtualservices"),
    destination=gloo_destination,
    spec=lambda entries, more: {
        "virtualHost": {
            "domains": ["shop.example.com"],
            "routes": [
                {"matchers": [{"prefix": "/"}], "routeAction": gloo_action(entries), **more},
                {"matchers": [{"prefix": "/o"}], "redirectAction": {"hostRedirect": "o"}},
            ],
        }
    },
    listed=lambda service: service["spec"]["virtualHost"]["routes"][0]["routeAction"]["multi"]["destinations"],
    untouched=lambda service: service["spec"]["virtualHost"]["routes"][1],
    across=True,
)


def group_spec(entries: list[Object], more: Object) -> Object:
    backends = [entry.pop("backend") for entry in entries]
    return {
        "hosts": ["shop.example.com"],
        "backends": [*backends, {"name": "gone", "type": "shunt"}],
        "routes": [
            {"pathSubtree": "/", "backends": entries, **more},
            {"path": "/o", "backends": [{"backendName": "gone"}]},
        ],
    }


def group_entry(name: str, namespace: str, weight: int | None) -> Object:
    backend: Object = {"name": f"{name}-{namespace}", "type": "service", "serviceName": name, "servicePort": 80}
    if namespace != "prod":
        address = f"http://{name}.{namespace}.svc.cluster.local:80"
        backend = {"name": f"{name}-{namespace}", "type": "network", "address": address}
    return weighted({"backendName": backend["name"], "backend": backend}, weight)


SKIPPER = world(
    "skipper",
    "route_group",
    ("zalando.org/v1", "RouteGroup", "routegroups"),
    destination=group_entry,
    spec=group_spec,
    listed=lambda group: group["spec"]["routes"][0]["backends"],
    untouched=lambda group: (group["spec"]["hosts"], group["spec"]["routes"][1]),
    across=True,
)

ACTION = "alb.ingress.kubernetes.io/actions.shop"


def alb_spec(entries: list[Object], more: Object) -> Object:
    action = {"type": "forward", "forwardConfig": {"targetGroups": entries, **more}}
    other = '{"type":"redirect","redirectConfig":{"statusCode":"HTTP_301"}}'
    path = {"path": "/", "backend": {"service": {"name": "shop", "port": {"name": "use-annotation"}}}}
    return {
        "annotations": {ACTION: json.dumps(action, indent=2), ACTION.replace("shop", "other"): other},
        "rules": [{"http": {"paths": [path]}}],
    }


AWS_ALB = world(
    "aws_alb",
    "ingress",
    ("networking.k8s.io/v1", "Ingress", "ingresses"),
    destination=lambda name, _, weight: weighted({"serviceName": name, "servicePort": "80"}, weight),
    spec=alb_spec,
    listed=lambda ingress: json.loads(ingress["metadata"]["annotations"][ACTION])["forwardConfig"]["targetGroups"],
    untouched=lambda ingress: (ingress["spec"], ingress["metadata"]["annotations"][ACTION.replace("shop", "other")]),
    across=False,
)

KNATIVE = world(
    "knative",
    "serving_route",
    ("serving.knative.dev/v1", "Route", "routes"),
    destination=lambda name, _, weight: weighted(
        {"configurationName": name, "latestRevision": True}, 100 if weight is None else weight, "percent"
    ),
    spec=lambda entries, more: {
        "traffic": [*entries[:1], {"tag": "old", "revisionName": "shop-00001"}, *entries[1:]],
        **more,
    },
    listed=lambda route: [target for target in route["spec"]["traffic"] if "percent" in target],
    untouched=lambda route: [target for target in route["spec"]["traffic"] if "tag" in target],
    across=False,
    weight="percent",
)

LISTED = {
    "apisix": APISIX,
    "aws_alb": AWS_ALB,
    "consul": CONSUL,
    "contour": CONTOUR,
    "gloo": GLOO,
    "knative": KNATIVE,
    "kuma": KUMA,
    "openshift": OPENSHIFT,
    "skipper": SKIPPER,
    "smi": SMI,
    "traefik": TRAEFIK,
}
