"""What a real API server fills in when an object is written without it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from pipeline_step.sandbox import gateway_defaults
from pipeline_step.sandbox.kinds import DEPLOYMENT, GRPC_ROUTE, HTTP_ROUTE, POD, REPLICA_SET, SECRET, SERVICE, Kind

Obj = dict[str, Any]

_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}


def _fill(target: Obj, values: Obj) -> None:
    for key, value in values.items():
        target.setdefault(key, value)


def _pull_policy(image: str) -> str:
    if "@" in image:
        return "IfNotPresent"
    tag = image.rpartition("/")[2].partition(":")[2]
    return "Always" if tag in ("", "latest") else "IfNotPresent"


def _container(container: Obj) -> None:
    _fill(
        container,
        {
            "imagePullPolicy": _pull_policy(container.get("image", "")),
            "resources": {},
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
        },
    )
    for amounts in container["resources"].values():
        if isinstance(amounts, dict):
            amounts.update({name: str(amount) for name, amount in amounts.items()})
    for port in container.get("ports") or []:
        _fill(port, {"protocol": "TCP"})
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(name)
        if probe is not None:
            _fill(probe, _PROBE)
            if "httpGet" in probe:
                _fill(probe["httpGet"], {"path": "/", "scheme": "HTTP"})
    for variable in container.get("env") or []:
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if reference is not None:
            _fill(reference, {"apiVersion": "v1"})


def _pod_spec(spec: Obj) -> None:
    _fill(
        spec,
        {
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "securityContext": {},
            "schedulerName": "default-scheduler",
        },
    )
    for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        _container(container)


def _pod(pod: Obj) -> None:
    _pod_spec(pod.setdefault("spec", {}))
    _fill(pod["spec"], {"enableServiceLinks": True, "serviceAccountName": "default"})


def _template(spec: Obj) -> None:
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    _pod_spec(template.setdefault("spec", {}))


def _deployment(deployment: Obj) -> None:
    spec = deployment.setdefault("spec", {})
    _fill(spec, {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600})
    strategy = spec.setdefault("strategy", {})
    _fill(strategy, {"type": "RollingUpdate"})
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        _fill(rolling, {"maxUnavailable": "25%", "maxSurge": "25%"})
    _template(spec)


def _replica_set(replica_set: Obj) -> None:
    _fill(replica_set.setdefault("spec", {}), {"replicas": 1})
    _template(replica_set["spec"])


def _service(service: Obj) -> None:
    spec = service.setdefault("spec", {})
    _fill(spec, {"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster"})
    for port in spec.get("ports") or []:
        _fill(port, {"protocol": "TCP", "targetPort": port.get("port")})


def _secret(secret: Obj) -> None:
    secret.setdefault("type", "Opaque")
    plain = secret.pop("stringData", None)
    for key, value in (plain or {}).items():
        secret.setdefault("data", {})[key] = base64.b64encode(value.encode()).decode()


_BY_KIND: dict[Kind, Callable[[Obj], None]] = {
    POD: _pod,
    DEPLOYMENT: _deployment,
    REPLICA_SET: _replica_set,
    SERVICE: _service,
    SECRET: _secret,
    HTTP_ROUTE: gateway_defaults.http_route,
    GRPC_ROUTE: gateway_defaults.grpc_route,
}


def fill(kind: Kind, obj: Obj) -> None:
    """Fill in what the object leaves out, in place; the object is the caller's own copy."""
    setter = _BY_KIND.get(kind)
    if setter:
        setter(obj)
