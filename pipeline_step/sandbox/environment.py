"""The environment that a container's process starts with."""

from __future__ import annotations

import base64
import os
import re
from typing import Any

from pipeline_step.sandbox.images import Images, parse
from pipeline_step.sandbox.kinds import CONFIG_MAP, SECRET
from pipeline_step.sandbox.store import Store

Obj = dict[str, Any]
DEFAULT_PORT = 8080
_REFERENCE = re.compile(r"\$\(([-._a-zA-Z][-._a-zA-Z0-9]*)\)")


class Missing(Exception):
    """A variable refers to an object or a key that is not there."""


def of(store: Store, images: Images, pod: Obj, container: Obj, address: str) -> dict[str, str]:
    """The image's variables, what every pod gets, then the container's own `envFrom` and `env`."""
    meta = pod["metadata"]
    image = parse(container["image"])
    env = {
        "PATH": os.environ.get("PATH", ""),
        "HOSTNAME": meta["name"],
        "POD_NAME": meta["name"],
        "POD_NAMESPACE": meta["namespace"],
        **(images.env(image) if image else {}),
    }
    for source in container.get("envFrom") or []:
        prefix = source.get("prefix", "")
        env.update({f"{prefix}{k}": v for k, v in _source(store, meta["namespace"], source).items()})
    for variable in container.get("env") or []:
        given = variable.get("valueFrom")
        if given:
            value = _referred(store, pod, given, address)
        else:
            value = _REFERENCE.sub(lambda m: env.get(m[1], m[0]), str(variable.get("value") or ""))
        if value is not None:
            env[variable["name"]] = value
    env["LISTEN"] = ",".join(f"{address}:{port}" for port in ports(pod, container))
    return env


def ports(pod: Obj, container: Obj) -> list[int]:
    """The ports that a container listens on: those it declares; the first container has one in any case."""
    declared = [int(port["containerPort"]) for port in container.get("ports") or []]
    first = pod["spec"]["containers"][0]["name"] == container["name"]
    return declared or ([DEFAULT_PORT] if first else [])


def _source(store: Store, namespace: str, source: Obj) -> dict[str, str]:
    for key, kind in (("configMapRef", CONFIG_MAP), ("secretRef", SECRET)):
        reference = source.get(key)
        if reference:
            held = store.find(kind, namespace, reference["name"])
            if held is None and not reference.get("optional"):
                raise Missing(f'{kind.kind.lower()} "{reference["name"]}" not found')
            return _data(held) if held else {}
    return {}


def _data(obj: Obj) -> dict[str, str]:
    data = obj.get("data") or {}
    if obj["kind"] == "Secret":
        return {key: base64.b64decode(value).decode() for key, value in data.items()}
    return {key: str(value) for key, value in data.items()}


def _referred(store: Store, pod: Obj, given: Obj, address: str) -> str | None:
    if "fieldRef" in given:
        return _field(pod, given["fieldRef"]["fieldPath"], address)
    for key, kind in (("configMapKeyRef", CONFIG_MAP), ("secretKeyRef", SECRET)):
        reference = given.get(key)
        if reference:
            held = store.find(kind, pod["metadata"]["namespace"], reference["name"])
            if held is None and not reference.get("optional"):
                raise Missing(f'{kind.kind.lower()} "{reference["name"]}" not found')
            value = _data(held).get(reference["key"]) if held else None
            if value is None and not reference.get("optional"):
                raise Missing(f"couldn't find key {reference['key']} in {kind.kind} {reference['name']}")
            return value
    return ""


def _field(pod: Obj, path: str, address: str) -> str:
    meta = pod["metadata"]
    match = re.fullmatch(r"metadata\.(labels|annotations)\['([^']+)'\]", path)
    if match:
        return str((meta.get(match[1]) or {}).get(match[2], ""))
    known = {
        "metadata.name": meta["name"],
        "metadata.namespace": meta["namespace"],
        "metadata.uid": meta["uid"],
        "spec.nodeName": "sandbox",
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName", ""),
        "status.podIP": address,
        "status.hostIP": address.rpartition(".")[0].rpartition(".")[0] + ".0.1",
    }
    return str(known.get(path, ""))
