"""What ingress-nginx makes of two Ingresses, one of them with canary annotations. Pure."""

from __future__ import annotations

import copy
from collections.abc import Iterable

from pipeline_step.errors import ConfigError
from pipeline_step.model import Backend, Object, Ref

PREFIX = "nginx.ingress.kubernetes.io/canary"
WEIGHT = f"{PREFIX}-weight"
TOTAL = f"{PREFIX}-weight-total"
CLASS = "kubernetes.io/ingress.class"


def canary(ref: Ref, main: Object, before: Object | None, own_rules: list[Object], percent: int) -> Object:
    """The canary of `main` at `ref`, from what it was before. All else the controller takes from the main Ingress."""
    made = copy.deepcopy(before) if before else {"apiVersion": main["apiVersion"], "kind": "Ingress"}
    theirs = main["metadata"].get("annotations") or {}
    said = {key: value for key, value in theirs.items() if key == CLASS}
    annotations = {**said, PREFIX: "true", WEIGHT: str(percent)}
    metadata = {"name": ref.name, "namespace": ref.namespace, "annotations": annotations}
    made["metadata"] = {**made.get("metadata", {}), **metadata}
    by_class = {key: value for key, value in main["spec"].items() if key == "ingressClassName"}
    made["spec"] = {**by_class, "rules": own_rules}
    return made


def share(ingress: Object) -> int:
    """The percentage that a canary gets."""
    said = ingress["metadata"].get("annotations") or {}
    return round(100 * int(said.get(WEIGHT, 0)) / int(said.get(TOTAL, 100)))


def services(ingress: Object) -> list[Object]:
    """The Service of every path that leads to one."""
    paths = [path for rule in ingress["spec"].get("rules") or [] for path in _paths(rule)]
    return [path["backend"]["service"] for path in paths if "service" in path["backend"]]


def rules(main: Object, stable: Backend, preview: Backend | None = None) -> list[Object]:
    """The rules with those of their paths that lead to stable; to the preview instead where one is given.

    Raises `ConfigError` where there is none.
    """
    found = []
    for rule in copy.deepcopy(main["spec"].get("rules") or []):
        paths = [path for path in _paths(rule) if _leads_to(path["backend"].get("service") or {}, stable)]
        if preview:
            for service in (path["backend"]["service"] for path in paths):
                service["name"] = preview.service
                service["port"] = {"number": preview.port} if preview.port else service["port"]
        if paths:
            found.append({**rule, "http": {**rule["http"], "paths": paths}})
    metadata = main["metadata"]
    if not found or metadata["namespace"] != stable.namespace:
        there = ", ".join(sorted({service["name"] for service in services(main)})) or "none"
        where = f"Ingress {metadata['namespace']}/{metadata['name']}"
        raise ConfigError(f"{where}: no route leads to {stable.host}; its Services are: {there}")
    return found


def in_the_way(main: Object, stable: Backend, preview: Backend, others: Iterable[tuple[Ref, Object]]) -> str:
    """Why the other Ingresses of the namespace leave no place for a canary; "" where they do."""
    hosts = {rule.get("host") for rule in rules(main, stable)}
    for ref, other in others:
        is_canary = (other["metadata"].get("annotations") or {}).get(PREFIX) == "true"
        if is_canary and hosts & {rule.get("host") for rule in other["spec"].get("rules") or []}:
            return f"{ref} is a canary of the same host already, and ingress-nginx takes one for a rule; delete it"
        if not is_canary and preview.service in {service["name"] for service in services(other)}:
            return (
                f"{ref} leads to {preview} too, and ingress-nginx does not take a Service as a canary that another "
                "Ingress leads to; give the preview a second Service and name it in preview.service"
            )
    return ""


def _paths(rule: Object) -> list[Object]:
    return (rule.get("http") or {}).get("paths") or []


def _leads_to(service: Object, stable: Backend) -> bool:
    return service.get("name") == stable.service and stable.port in (None, service.get("port", {}).get("number"))
