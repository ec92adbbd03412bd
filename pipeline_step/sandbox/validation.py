"""The checks that refuse an object with 400 or 422, for the mistakes that a pipeline step could make."""

from __future__ import annotations

import json
import re
from typing import Any

from pipeline_step.sandbox import refusals, schemas
from pipeline_step.sandbox.kinds import DEPLOYMENT, EVENT, LEASE, NAMESPACE, POD, REPLICA_SET, SERVICE, Kind

Obj = dict[str, Any]
Cause = tuple[str, str, str]

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_QUALIFIED = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
_MICRO_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6,9}(Z|[+-]\d\d:\d\d)")

_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and "
    "end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
_DNS_1035_TEXT = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic "
    "character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for "
    "validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
)
_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
    "start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used "
    "for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)


def _wrong(path: str, value: object, text: str) -> Cause:
    shown = json.dumps(value, separators=(",", ":"))
    return path, "FieldValueInvalid", f"Invalid value: {shown}: {text}"


def _name(kind: Kind, name: str) -> list[Cause]:
    pattern, limit, text = _SUBDOMAIN, 253, _SUBDOMAIN_TEXT
    if kind is NAMESPACE:
        pattern, limit, text = _LABEL, 63, _LABEL_TEXT
    if kind is SERVICE:
        pattern, limit, text = _DNS_1035, 63, _DNS_1035_TEXT
    found = []
    if not pattern.fullmatch(name):
        found.append(_wrong("metadata.name", name, text))
    if len(name) > limit:
        found.append(_wrong("metadata.name", name, f"must be no more than {limit} characters"))
    return found


def labels(values: Obj, path: str) -> list[Cause]:
    """The causes for which label values would be refused."""
    found = []
    for value in values.values():
        if len(value) > 63:
            found.append(_wrong(path, value, "must be no more than 63 characters"))
        if value and not _QUALIFIED.fullmatch(value):
            found.append(_wrong(path, value, _VALUE_TEXT))
    return found


def _containers(spec: Obj, path: str) -> list[Cause]:
    containers = spec.get("containers") or []
    if not containers:
        return [(f"{path}.containers", "FieldValueRequired", "Required value")]
    return [
        (f"{path}.containers[{at}].{key}", "FieldValueRequired", "Required value")
        for at, container in enumerate(containers)
        for key in ("name", "image")
        if not container.get(key)
    ]


def _workload(obj: Obj, old: Obj | None) -> list[Cause]:
    spec = obj["spec"]
    found = _containers(spec["template"]["spec"], "spec.template.spec")
    wanted = (spec.get("selector") or {}).get("matchLabels") or {}
    if not spec.get("selector"):
        found.append(("spec.selector", "FieldValueRequired", "Required value"))
    given = spec["template"]["metadata"].get("labels") or {}
    if any(given.get(key) != value for key, value in wanted.items()):
        text = "`selector` does not match template `labels`"
        found.append(_wrong("spec.template.metadata.labels", given, text))
    if old and old["spec"].get("selector") != spec.get("selector"):
        found.append(_wrong("spec.selector", spec.get("selector"), "field is immutable"))
    if not isinstance(spec["replicas"], int) or spec["replicas"] < 0:
        text = "must be greater than or equal to 0"
        found.append(_wrong("spec.replicas", spec["replicas"], text))
    return found


def _lease(obj: Obj) -> None:
    for key in ("acquireTime", "renewTime"):
        value = (obj.get("spec") or {}).get(key)
        if value is not None and not _MICRO_TIME.fullmatch(str(value)):
            layout = "2006-01-02T15:04:05.000000Z07:00"
            raise refusals.bad_request(
                f'Lease in version "v1" cannot be handled as a Lease: parsing time "{value}" as "{layout}": '
                f'cannot parse "{value}" as "{layout}"'
            )


def _event(obj: Obj) -> list[Cause]:
    """The new API's rules, which are stricter than those of the core group's Events."""
    time = obj.get("eventTime")
    if time is not None and not _MICRO_TIME.fullmatch(str(time)):
        layout = "2006-01-02T15:04:05.000000Z07:00"
        raise refusals.bad_request(
            f'Event in version "v1" cannot be handled as a Event: parsing time "{time}" as "{layout}": '
            f'cannot parse "{time}" as "{layout}"'
        )
    needed = ("eventTime", "reportingController", "reportingInstance", "action", "reason")
    found = [(key, "FieldValueRequired", "Required value") for key in needed if not obj.get(key)]
    for key, limit in (("reportingInstance", 128), ("action", 128), ("reason", 128), ("note", 1024)):
        if len(str(obj.get(key) or "").encode()) > limit:
            found.append(_wrong(key, obj[key], f"can have at most {limit} characters"))
    if obj.get("type") not in ("Normal", "Warning"):
        found.append(_wrong("type", obj.get("type", ""), "has invalid value: " + str(obj.get("type", ""))))
    namespace = (obj.get("regarding") or {}).get("namespace")
    if namespace != obj["metadata"].get("namespace"):
        found.append(_wrong("regarding.namespace", namespace or "", "does not match event.namespace"))
    return found


def _service(obj: Obj, old: Obj | None) -> list[Cause]:
    spec = obj["spec"]
    if not spec.get("ports") and spec["type"] != "ExternalName" and spec.get("clusterIP") != "None":
        return [("spec.ports", "FieldValueRequired", "Required value")]
    if old and old["spec"].get("clusterIP") != spec.get("clusterIP"):
        return [_wrong("spec.clusterIPs[0]", spec.get("clusterIP"), "field is immutable")]
    return []


def check(kind: Kind, obj: Obj, old: Obj | None) -> None:
    """Refuse an object that a real API server would refuse; `old` is the stored state on an update."""
    meta = obj["metadata"]
    found = _name(kind, meta["name"]) if old is None else []
    for key in ("labels", "annotations"):
        for name, value in (meta.get(key) or {}).items():
            if not isinstance(value, str):
                raise refusals.bad_request(
                    f'{kind.kind} in version "{kind.versions[0]}" cannot be handled as a {kind.kind}: json: '
                    f"cannot unmarshal {_json_type(value)} into Go struct field "
                    f"ObjectMeta.metadata.{key} of type string ({name})"
                )
    found += labels(meta.get("labels") or {}, "metadata.labels")
    if kind in (DEPLOYMENT, REPLICA_SET):
        found += _workload(obj, old)
    if kind is POD:
        found += _containers(obj["spec"], "spec")
    if kind is SERVICE:
        found += _service(obj, old)
    if kind is LEASE:
        _lease(obj)
    if kind is EVENT:
        found += _event(obj)
    found += schemas.check(kind, obj)
    if found:
        raise refusals.invalid(kind, meta["name"], *found)


def _json_type(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, int | float) else "object"
