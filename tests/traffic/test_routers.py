"""What every router promises, held by one property test; what it looks like, by golden files; the visible table."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline_step.model import Backend, Object, Ref, Target
from pipeline_step.traffic import ROUTERS
from tests.traffic.listed_routes import LISTED
from tests.traffic.routes import WORLDS as OWN_WORLDS
from tests.traffic.routes import World, planned

GOLDEN = Path(__file__).parent / "golden"
WORLDS = {**OWN_WORLDS, **LISTED}
PLURALS = {
    "ApisixRoute": ("apisix.apache.org", "apisixroutes"),
    "Deployment": ("apps", "deployments"),
    "EndpointSliceList": ("discovery.k8s.io", "endpointslices"),
    "GRPCRoute": ("gateway.networking.k8s.io", "grpcroutes"),
    "HTTPProxy": ("projectcontour.io", "httpproxies"),
    "HTTPRoute": ("gateway.networking.k8s.io", "httproutes"),
    "Ingress": ("networking.k8s.io", "ingresses"),
    "IngressRoute": ("traefik.io", "ingressroutes"),
    "MeshHTTPRoute": ("kuma.io", "meshhttproutes"),
    "Pod": ("", "pods"),
    "RouteGroup": ("zalando.org", "routegroups"),
    "RouteTable": ("gateway.solo.io", "routetables"),
    "Service": ("", "services"),
    "ServiceSplitter": ("consul.hashicorp.com", "servicesplitters"),
    "TraefikService": ("traefik.io", "traefikservices"),
    "TrafficSplit": ("split.smi-spec.io", "trafficsplits"),
    "VirtualService": ("networking.istio.io", "virtualservices"),
}


def test_every_router_is_held_to_the_promises() -> None:
    assert WORLDS.keys() == ROUTERS.keys()
    assert {path.name for path in GOLDEN.iterdir()} == ROUTERS.keys()


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS.keys())
@settings(max_examples=50, deadline=None)  # one example takes its time on a busy machine
@given(st.data())
def test_router_promises(world: World, data: st.DataObject) -> None:
    router, target = ROUTERS[world.target.router], world.target
    original = world.completed(data.draw(world.given))
    untouched = copy.deepcopy(original)
    objects = original
    for shares in data.draw(st.lists(world.shares(original), min_size=1, max_size=4)):
        before = copy.deepcopy(objects)
        after = world.completed(planned(target, objects, shares))
        assert objects == before, "the input is never changed"
        assert planned(target, after, shares) == after, "the same plan again changes nothing"
        weights = router.weights(target, after)
        for backend, share in shares.items():
            assert weights.get(str(backend), 0) == share, "what was set is read back"
        if any(shares.values()):
            assert sum(world.listed(after)) == 100, "the weights sum to 100"
        assert world.untouched(after) == world.untouched(untouched), "what is not the route's stays"
        assert router.routed(target, after) == router.routed(target, untouched), "the record has one place"
        objects = after
    assert planned(target, objects, {}) == untouched, "without previews everything is as it was"


# --- golden files: what users have, and what it looks like with previews ----------------------------------------------

CASES = sorted(path.relative_to(GOLDEN).as_posix() for path in GOLDEN.glob("*/*.before.yaml"))


def ref(obj: Object) -> Ref:
    group, resource = PLURALS.get(obj["kind"]) or (obj["apiVersion"].rpartition("/")[0], f"{obj['kind'].lower()}s")
    if "/" in obj["apiVersion"]:  # some kinds of different groups have the same name
        group = obj["apiVersion"].rpartition("/")[0]
    return Ref(group=group, resource=resource, namespace=obj["metadata"]["namespace"], name=obj["metadata"]["name"])


@pytest.mark.parametrize("case", CASES)
def test_golden(case: str) -> None:
    name = case.partition("/")[0]
    how, *objects = yaml.safe_load_all((GOLDEN / case).read_text())
    route = ROUTERS[name].Settings(**how["settings"])
    target = Target(app="x", stable=Backend(**how["stable"]), router=name, route=route)
    before = {ref(obj): obj for obj in objects}
    shares = {Backend(**{k: v for k, v in entry.items() if k != "weight"}): entry["weight"] for entry in how["shares"]}
    after = planned(target, before, shares)
    expected = yaml.safe_load_all((GOLDEN / case.replace(".before.", ".after.")).read_text())
    assert [without_memory(obj) for obj in after.values()] == list(expected)
    assert planned(target, after, {}) == before


def without_memory(obj: Object) -> Object:
    """The object as a person reads it: what routers remember for themselves is left out."""
    shown = copy.deepcopy(obj)
    annotations = shown["metadata"].get("annotations") or {}
    own = {key: value for key, value in annotations.items() if not key.startswith("pipeline-step.dev/")}
    shown["metadata"].pop("annotations", None)
    return {**shown, "metadata": {**shown["metadata"], **({"annotations": own} if own else {})}}
