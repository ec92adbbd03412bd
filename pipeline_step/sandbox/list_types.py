"""How lists merge: the patch keys and list types of the Kubernetes API's own types, as far as served here."""

from __future__ import annotations

from pipeline_step.sandbox.kinds import SERVICE, Kind

Path = tuple[str, ...]

_NAMED = ("name",)
_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
_BY_FIELD: dict[str, Path] = {
    "containers": _NAMED,
    "initContainers": _NAMED,
    "ephemeralContainers": _NAMED,
    "env": _NAMED,
    "volumes": _NAMED,
    "imagePullSecrets": _NAMED,
    "secrets": _NAMED,
    "volumeMounts": ("mountPath",),
    "volumeDevices": ("devicePath",),
    "hostAliases": ("ip",),
    "podIPs": ("ip",),
    "conditions": ("type",),
    "topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
}
_ATOMIC_MAPS = (
    "selector",
    "nodeSelector",
    "matchLabels",
    "labelSelector",
    "namespaceSelector",
    "podSelector",
    "configMapKeyRef",
    "secretKeyRef",
    "fieldRef",
    "resourceFieldRef",
)
_GATEWAY_API = "gateway.networking.k8s.io"


def list_keys(kind: Kind, path: Path) -> Path | None:
    """The fields that tell the items of the list at `path` apart; None when the list is one value.

    `path` holds field names only, such as ("spec", "template", "spec", "containers").
    """
    if path == ("metadata", "ownerReferences"):
        return ("uid",)
    if not kind.typed:
        if kind.group == _GATEWAY_API and path == ("spec", "listeners"):
            return _NAMED
        return ("type",) if kind.group == _GATEWAY_API and path[-1:] == ("conditions",) else None
    if path[-1:] == ("ports",):
        if len(path) > 1 and path[-2] in _CONTAINERS:
            return ("containerPort", "protocol")
        return ("port", "protocol") if kind is SERVICE and path == ("spec", "ports") else None
    return _BY_FIELD.get(path[-1]) if path else None


def patch_key(kind: Kind, path: Path) -> str | None:
    """The one merge key of a strategic merge patch for that list, or None when it is replaced whole."""
    keys = list_keys(kind, path)
    return keys[0] if keys else None


def is_set(path: Path) -> bool:
    """Whether the list at `path` is a set of plain values (only finalizers are)."""
    return path == ("metadata", "finalizers")


def is_atomic_map(kind: Kind, path: Path) -> bool:
    """Whether the map at `path` has one owner for all its keys."""
    return kind.typed and path[-1:] != () and path[-1] in _ATOMIC_MAPS and "metadata" not in path
