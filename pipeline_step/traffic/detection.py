"""What routes production, told from the objects of the cluster where the configuration does not say. Pure.

Every kind of object that a router works on is looked at. One that leads to stable is a candidate, unless a controller
owns it, which would write it anew, or nothing that is known follows it. Where one candidate is left, it is the route.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from pipeline_step.errors import ConfigError
from pipeline_step.model import Backend, Object, Ref, Target
from pipeline_step.ownership import rewriting_owner
from pipeline_step.traffic import (
    ROUTERS,
    apisix,
    aws_alb,
    consul,
    contour,
    gateway_references,
    gloo,
    istio_hosts,
    knative,
    kuma,
    openshift,
    skipper,
    smi,
    traefik,
)
from pipeline_step.traffic.choosing import SeveralError
from pipeline_step.traffic.nginx_canaries import CLASS, PREFIX

INGRESS_NGINX = "k8s.io/ingress-nginx"
DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"
LISTED = (apisix, aws_alb, consul, contour, gloo, knative, kuma, openshift, skipper, smi, traefik)


class Sought(NamedTuple):
    """A kind of object that may route production, and the key that names one in the settings of its router."""

    router: str
    key: str
    group: str
    resource: str


SOUGHT = (
    Sought("gateway_api", "http_route", gateway_references.GROUP, "httproutes"),
    Sought("gateway_api", "grpc_route", gateway_references.GROUP, "grpcroutes"),
    Sought("istio", "virtual_service", istio_hosts.GROUP, "virtualservices"),
    Sought("nginx", "ingress", "networking.k8s.io", "ingresses"),
    *(
        Sought(module.ROUTE.router, key, kind.group, kind.resource)
        for module in LISTED
        for key, kind in module.ROUTE.kinds.items()
    ),
)
CLASSES = ("networking.k8s.io", "ingressclasses")
Listings = Mapping[tuple[str, str], Sequence[Object]]
"""The objects that were found, by API group and resource."""


class Candidate(NamedTuple):
    """An object that leads to stable: the settings that name it, and in words what it is and what it does."""

    router: str
    settings: Any
    text: str
    trouble: str = ""

    @property
    def yaml(self) -> str:
        """What to write into the configuration."""
        given = {key: value for key, value in msgspec.to_builtins(self.settings).items() if value}
        return f"traffic: {{{self.router}: {{{', '.join(f'{key}: {value}' for key, value in given.items())}}}}}"


class Found(NamedTuple):
    """The candidates, and in words what leads to stable too and why it is none."""

    candidates: Sequence[Candidate]
    passed_over: Sequence[str]


def find(stable: Backend, listings: Listings) -> Found:
    """Look at every object; those of other namespaces count as well, where they were listed."""
    candidates: list[Candidate] = []
    passed_over: list[str] = []
    for sought in SOUGHT:
        objects = {_ref(sought, obj): obj for obj in listings.get((sought.group, sought.resource), ())}
        for ref, obj in objects.items():
            candidate = _candidate(sought, ref, obj, stable, objects)
            if candidate is None:
                continue
            if why := _not_for_us(sought, obj, listings):
                passed_over.append(f"{ref} leads there too, but {why}")
            else:
                candidates.append(candidate)
    return Found(candidates, passed_over)


def choose(stable: Backend, found: Found, unread: Sequence[str]) -> Candidate:
    """The only candidate; raises `ConfigError` with all that was found where there is none or several.

    `unread` are the resources that could not be looked at.
    """
    besides = [*found.passed_over, *([f"this account may not list {', '.join(unread)}"] if unread else [])]
    noted = f" ({'; '.join(besides)})" if besides else ""
    if not found.candidates:
        raise ConfigError(
            f"`traffic` is not given, and nothing was found that leads to {stable}{noted}; "
            "write it, or traffic: {pods: {}} where there is no router"
        )
    if len(found.candidates) > 1:
        texts = "; ".join(f"{candidate.text}: write {candidate.yaml}" for candidate in found.candidates)
        raise ConfigError(
            f"`traffic` is not given, and {len(found.candidates)} objects lead to {stable}{noted}: {texts}"
        )
    (only,) = found.candidates
    if only.trouble:
        raise ConfigError(f"`traffic` is not given, and {only.text}, but {only.trouble}: {only.yaml}")
    return only._replace(text=f"{only.text}{noted}")


def _ref(sought: Sought, obj: Object) -> Ref:
    metadata = obj["metadata"]
    return Ref(
        group=sought.group, resource=sought.resource, namespace=metadata.get("namespace", ""), name=metadata["name"]
    )


def _candidate(
    sought: Sought, ref: Ref, obj: Object, stable: Backend, objects: Mapping[Ref, Object]
) -> Candidate | None:
    """The object where its router takes it for a route to stable; its own view of it is the only one."""
    elsewhere = {} if ref.namespace == stable.namespace else {"namespace": ref.namespace}
    settings: Any = msgspec.convert({sought.key: ref.name, **elsewhere}, ROUTERS[sought.router].Settings)
    target = Target(app="", stable=stable, router=sought.router, route=settings)
    hosts = list(dict.fromkeys(_hosts(obj)))
    text = f"{ref} leads {', '.join(hosts[:3]) or 'requests'}{' and others' if hosts[3:] else ''} to {stable}"
    try:
        routed = ROUTERS[sought.router].routed(target, objects)
    except SeveralError as error:
        return Candidate(sought.router, settings, text, trouble=str(error))
    except (ConfigError, LookupError, TypeError, AttributeError):  # it leads elsewhere, or is not as its kind is
        return None
    if routed != ref and hosts:
        text += f" by {routed}"
    return Candidate(sought.router, settings, text) if routed != ref or hosts or not _is_delegate(sought, obj) else None


def _is_delegate(sought: Sought, obj: Object) -> bool:
    """A VirtualService without hosts only works for another one, which names it."""
    return sought.resource == "virtualservices" and sought.router == "istio" and not obj["spec"].get("hosts")


def _not_for_us(sought: Sought, obj: Object, listings: Listings) -> str:
    if owner := rewriting_owner(obj):
        return f"it belongs to {owner}, which would overwrite it"
    if sought.router != "nginx":
        return ""
    annotations = obj["metadata"].get("annotations") or {}
    if annotations.get(PREFIX) == "true":
        return "it is a canary itself"
    classes = {one["metadata"]["name"]: one for one in listings.get(CLASSES, ())}
    defaults = [
        name for name, one in classes.items() if (one["metadata"].get("annotations") or {}).get(DEFAULT_CLASS) == "true"
    ]
    name = obj["spec"].get("ingressClassName") or annotations.get(CLASS) or next(iter(defaults), "")
    controller = classes[name]["spec"].get("controller") if name in classes else ""
    if controller == INGRESS_NGINX or (not controller and name == "nginx"):
        return ""
    return f"the controller of its class {name or '(none)'} gives an Ingress no weights"


def _hosts(obj: Object) -> Iterator[str]:
    """The names by which clients reach it, wherever its kind has them."""
    spec = obj.get("spec") or {}
    for name in ("hostnames", "hosts"):
        yield from spec.get(name) or []
    for holder, key in ((spec, "host"), (spec.get("virtualhost") or {}, "fqdn")):
        if holder.get(key):
            yield holder[key]
    yield from (spec.get("virtualHost") or {}).get("domains") or []
    for rule in spec.get("rules") or []:
        if rule.get("host"):
            yield rule["host"]
    yield from re.findall(r"Host\(`([^`]+)`\)", json.dumps(spec.get("routes") or []))
    for rule in spec.get("http") or []:
        yield from (rule.get("match") or {}).get("hosts") or [] if isinstance(rule.get("match"), dict) else []
