"""Finding the route where the configuration does not name it: every router's examples, and what makes it ambiguous."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import yaml

from pipeline_step.cluster import Cluster
from pipeline_step.detect import look
from pipeline_step.errors import ClusterError, ConfigError
from pipeline_step.model import Backend, Object
from pipeline_step.traffic import detection
from pipeline_step.traffic.detection import Candidate, Found, choose, find
from tests.traffic.conftest import Bed, Step
from tests.traffic.test_routers import CASES, GOLDEN, ref

STABLE = Backend(service="shop", namespace="prod")


def listings(*objects: Object) -> dict[tuple[str, str], list[Object]]:
    found: dict[tuple[str, str], list[Object]] = {}
    for obj in objects:
        if obj["kind"] == "IngressClass":
            found.setdefault(detection.CLASSES, []).append(obj)
        else:
            found.setdefault((ref(obj).group, ref(obj).resource), []).append(obj)
    return found


def chosen(*objects: Object, stable: Backend = STABLE, unread: tuple[str, ...] = ()) -> Candidate:
    return choose(stable, find(stable, listings(*objects)), unread)


@pytest.mark.parametrize("case", [case for case in CASES if not case.startswith("pods/")])
def test_every_routers_examples_are_found(case: str) -> None:
    how, *objects = yaml.safe_load_all((GOLDEN / case).read_text())
    found = find(Backend(**how["stable"]), listings(*objects))
    (candidate,) = found.candidates
    assert found.passed_over == []
    assert candidate.router == case.partition("/")[0]
    given = {key: value for key, value in msgspec.to_builtins(candidate.settings).items() if value}
    chosen_by_hand = {"route", "rule", "port", "sni", "cross_namespace", "mirrored_namespaces"}
    named = {key: value for key, value in how["settings"].items() if key not in chosen_by_hand}
    if named.get("namespace") == how["stable"]["namespace"]:
        named.pop("namespace")
    assert given == named
    assert not candidate.trouble or "route" in how["settings"] or "rule" in how["settings"]
    elsewhere = Backend(**{**how["stable"], "namespace": "elsewhere"})
    assert find(elsewhere, listings(*objects)) == Found([], [])


# --- several, none, and what is passed over ---------------------------------------------------------------------------


def http_route(name: str = "shop", *rules: Object, **metadata: Any) -> Object:
    spec = {
        "hostnames": ["shop.example.com"],
        "rules": list(rules) or [{"backendRefs": [{"name": "shop", "port": 80}]}],
    }
    meta = {"name": name, "namespace": "prod", **metadata}
    return {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": meta, "spec": spec}


def virtual_service(name: str, **spec: Any) -> Object:
    meta = {"name": name, "namespace": "prod"}
    return {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": meta, "spec": spec}


TO_SHOP = {"route": [{"destination": {"host": "shop.prod.svc.cluster.local"}}]}


def ingress(name: str = "shop", class_name: str = "nginx", **annotations: str) -> Object:
    path = {"path": "/", "backend": {"service": {"name": "shop", "port": {"number": 80}}}}
    spec: Object = {"rules": [{"host": "shop.example.com", "http": {"paths": [path]}}]}
    if class_name:
        spec["ingressClassName"] = class_name
    metadata = {"name": name, "namespace": "prod", "annotations": annotations}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": spec}


def ingress_class(name: str, controller: str, **annotations: str) -> Object:
    metadata = {"name": name, "annotations": annotations}
    return {"kind": "IngressClass", "metadata": metadata, "spec": {"controller": controller}}


def test_it_says_what_it_found_and_what_to_write() -> None:
    found = chosen(http_route())
    assert found.text == "httproutes.gateway.networking.k8s.io prod/shop leads shop.example.com to shop.prod"
    assert found.yaml == "traffic: {gateway_api: {http_route: shop}}"


def test_two_are_for_the_user_to_choose_from() -> None:
    with pytest.raises(ConfigError) as caught:
        chosen(http_route(), virtual_service("pages", hosts=["shop.example.com"], http=[TO_SHOP]))
    said = str(caught.value)
    assert "2 objects lead to shop.prod" in said
    assert "write traffic: {gateway_api: {http_route: shop}}" in said
    assert "write traffic: {istio: {virtual_service: pages}}" in said


def test_nothing_is_an_error_that_says_what_could_not_be_looked_at() -> None:
    with pytest.raises(ConfigError, match=r"nothing was found .* may not list ingressroutes\.traefik\.io.*pods: {}"):
        chosen(
            http_route("other", {"backendRefs": [{"name": "cart", "port": 80}]}), unread=("ingressroutes.traefik.io",)
        )


def test_a_choice_among_an_objects_parts_is_asked_for() -> None:
    rule = {"backendRefs": [{"name": "shop", "port": 80}]}
    with pytest.raises(ConfigError, match=r"2 routes lead to .*: api, rules\[1\]; .*: {http_route"):
        chosen(http_route("shop", {**rule, "name": "api"}, rule))


def test_what_a_controller_owns_is_passed_over() -> None:
    owner = {"apiVersion": "flagger.app/v1beta1", "kind": "Canary", "name": "shop", "controller": True}
    owned = virtual_service("made", hosts=["shop.example.com"], http=[TO_SHOP])
    owned["metadata"]["ownerReferences"] = [owner]
    found = chosen(http_route(), owned)
    assert found.router == "gateway_api"
    assert "prod/made leads there too, but it belongs to Canary shop (flagger.app/v1beta1)" in found.text


def test_a_delegate_is_reached_by_the_object_that_has_the_hosts() -> None:
    root = virtual_service("root", hosts=["shop.example.com"], http=[{"delegate": {"name": "pages"}}])
    found = chosen(root, virtual_service("pages", http=[TO_SHOP]))
    assert found.yaml == "traffic: {istio: {virtual_service: root}}"
    assert found.text.endswith("leads shop.example.com to shop.prod by virtualservices.networking.istio.io prod/pages")


def test_an_ingress_counts_where_its_controller_follows_canary_annotations() -> None:
    assert chosen(ingress()).yaml == "traffic: {nginx: {ingress: shop}}"
    public = ingress_class("public", "k8s.io/ingress-nginx", **{detection.DEFAULT_CLASS: "true"})
    assert chosen(ingress(class_name="public"), public).router == "nginx"
    assert chosen(ingress(class_name=""), public).router == "nginx"
    for wrong in (
        ingress_class("nginx", "nginx.org/ingress-controller"),
        ingress_class("public", "traefik.io/ingress-controller"),
    ):
        name = wrong["metadata"]["name"]
        with pytest.raises(ConfigError, match=f"the controller of its class {name} gives an Ingress no weights"):
            chosen(ingress(class_name=name), wrong)
    canary = ingress("beta", **{"nginx.ingress.kubernetes.io/canary": "true"})
    assert "beta leads there too, but it is a canary itself" in chosen(ingress(), canary).text


def test_objects_that_are_not_as_their_kind_are_not_in_the_way() -> None:
    broken = virtual_service("broken", http=[{"route": [{"destination": {}}]}])
    assert chosen(broken, http_route()).router == "gateway_api"


# --- a cluster --------------------------------------------------------------------------------------------------------


class Guarded:
    """A cluster that lets only some lists be read."""

    def __init__(self, allowed: Callable[[str, str], bool]) -> None:
        self._allowed = allowed

    def groups(self) -> frozenset[str]:
        return frozenset({"gateway.networking.k8s.io", "networking.istio.io"})

    def list_objects(self, group: str, resource: str, namespace: str = "") -> list[Object]:
        if not self._allowed(resource, namespace):
            raise ClusterError(f"forbidden: {resource}", 403)
        return [http_route()] if resource == "httproutes" else []


def test_where_no_more_is_allowed_productions_namespace_is_looked_at() -> None:
    found, unread = look(Guarded(lambda resource, namespace: namespace == "prod"), STABLE)  # type: ignore[arg-type]
    assert [len(found[key]) for key in found] == [1, 0, 0]
    assert unread == []


def test_what_may_not_be_listed_is_named_and_what_is_not_served_is_not() -> None:
    _, unread = look(Guarded(lambda resource, _: resource == "httproutes"), STABLE)  # type: ignore[arg-type]
    assert unread == ["grpcroutes.gateway.networking.k8s.io", "virtualservices.networking.istio.io"]


def test_an_error_other_than_forbidden_is_one() -> None:
    class Failing(Guarded):
        def list_objects(self, group: str, resource: str, namespace: str = "") -> list[Object]:
            raise ClusterError("the server is down", 500)

    with pytest.raises(ClusterError, match="the server is down"):
        look(Failing(lambda *_: True), STABLE)  # type: ignore[arg-type]


CONFIG = """
app: shop
production: {{namespace: {stable}, service: shop}}
preview: {{namespace: {preview}, service: shop}}
strategy: {{steps: [20, 50], bake: 2s, poll: 0.5s}}
"""
ROUTE = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: {name}, namespace: {stable}}}
spec:
  hosts: [{name}.{stable}.example]
  http: [{{route: [{{destination: {{host: shop.{stable}.svc.cluster.local}}}}]}}]
"""


@pytest.mark.timeout(300)
def test_commands_go_without_the_key_and_ask_for_it_where_two_remain(
    bed: Bed, cluster: Cluster, namespaces: Callable[[], str], step: Callable[[str], Step]
) -> None:
    stable, preview = namespaces(), namespaces()
    bed.side(stable, 1)
    bed.side(preview, 2)
    run = step(CONFIG.format(stable=stable, preview=preview))
    assert f"nothing was found that leads to shop.{stable}" in run("status", code=2)

    bed.kubectl("apply", "-f", "-", text=ROUTE.format(stable=stable, name="public"))
    found = f"virtualservices.networking.istio.io {stable}/public leads public.{stable}.example to shop.{stable}"
    for command in (("status",), ("plan", "--weight", "5"), ("shift", "20")):
        said = run(*command)
        assert found in said
        assert "the file could say traffic: {istio: {virtual_service: public}}" in said
    where = ("virtualservice", "-n", stable, "public", "-o", "json")
    routes = json.loads(bed.kubectl("get", *where))["spec"]["http"][0]["route"]
    assert [destination["weight"] for destination in routes] == [80, 20]

    bed.kubectl("apply", "-f", "-", text=ROUTE.format(stable=stable, name="internal"))
    said = run("status", code=2)
    assert "2 objects lead to" in said
    assert "write traffic: {istio: {virtual_service: internal}}" in said
