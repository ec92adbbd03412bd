"""Pure: the ServiceAccounts, Roles and bindings that a configuration needs, as YAML that says why."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import yaml

from pipeline_step.model import Object, Permission, Ref
from pipeline_step.permissions import ACCOUNTS, Route
from pipeline_step.traffic import ROUTERS

if TYPE_CHECKING:
    from pipeline_step.config import Config

API = "rbac.authorization.k8s.io"
EVERYWHERE = (
    "# In every namespace, as a preview's is not known before it is made; deploy/rbac says how to confine it.\n"
)


@dataclass(slots=True)
class _Rule:
    """Some verbs on some resources of one group, by one name or any."""

    group: str
    name: str
    verbs: list[str]
    resources: list[str] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


def granted(config: Config, objects: Mapping[Ref, Object], accounts: Collection[str]) -> dict[str, list[Permission]]:
    """What each account needs, given the route's objects as far as they could be read."""
    target, side = config.target, config.preview
    router = ROUTERS[target.router]
    everything = router.permissions(target, objects, [side])
    readable = all(ref in objects for ref in router.resources(target, objects, [side]))
    besides = {need.ref for need in router.needs(target, objects, [side])} if readable else set()
    route = Route(
        own=[permission for permission in everything if permission.ref not in besides],
        needs=[permission for permission in everything if permission.ref in besides],
    )
    return {account: list(ACCOUNTS[account](config, route, side)) for account in accounts}


def document(config: Config, objects: Mapping[Ref, Object], home: str, accounts: Collection[str]) -> str:
    """All of it as one YAML text; the accounts live in the namespace `home`, where the pipelines run."""
    parts = []
    for account, permissions in granted(config, objects, accounts).items():
        name = f"pipeline-step-{account}"
        parts.append(_dump({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": _metadata(name, home)}))
        places: dict[str, list[Permission]] = {}
        for permission in permissions:
            place, where = _placed(config, permission)
            places.setdefault(place, []).append(where)
        for place, those in places.items():
            parts += _role(f"{name}-{config.file.app}", place, _rules(those), {"name": name, "namespace": home})
    return "---\n".join(parts)


def _placed(config: Config, permission: Permission) -> tuple[str, Permission]:
    """The namespace whose Role has to allow it ("" for a ClusterRole), and what it says there.

    A Namespace itself is allowed by a Role inside it. One made for a preview has no Role yet, and no known name.
    """
    ref = permission.ref
    namespace = ref.name if ref.resource == "namespaces" else ref.namespace
    if config.own_namespace and namespace == config.preview.namespace:
        return "", permission._replace(ref=Ref(group=ref.group, resource=ref.resource, namespace="", name=""))
    return namespace, permission


def _rules(permissions: Iterable[Permission]) -> Iterator[_Rule]:
    """As few rules as say exactly the same."""
    by_object: dict[tuple[str, str, str], _Rule] = {}
    for verb, ref, reason in permissions:
        rule = by_object.setdefault((ref.group, ref.resource, ref.name), _Rule(ref.group, ref.name, [], [ref.resource]))
        rule.verbs += [verb] if verb not in rule.verbs else []
        rule.reasons += [reason] if reason not in rule.reasons else []
    merged: dict[tuple[str, str, tuple[str, ...]], _Rule] = {}
    for rule in by_object.values():
        same = merged.setdefault((rule.group, rule.name, tuple(sorted(rule.verbs))), rule)
        if same is not rule:
            same.resources += rule.resources
            same.reasons += [reason for reason in rule.reasons if reason not in same.reasons]
    yield from merged.values()


def _role(name: str, namespace: str, rules: Iterable[_Rule], account: Object) -> Iterator[str]:
    """The Role and its binding; a ClusterRole where there is no namespace."""
    scope = "" if namespace else "Cluster"
    metadata = _metadata(name, namespace)
    text = _dump({"apiVersion": f"{API}/v1", "kind": f"{scope}Role", "metadata": metadata}) + "rules:\n"
    for rule in rules:
        named = {"resourceNames": [rule.name]} if rule.name else {}
        said = {"apiGroups": [rule.group], "resources": rule.resources, **named, "verbs": rule.verbs}
        text += f"# {'; '.join(rule.reasons)}\n{_dump([said])}"
    yield (text if namespace else EVERYWHERE + text)
    yield _dump(
        {
            "apiVersion": f"{API}/v1",
            "kind": f"{scope}RoleBinding",
            "metadata": metadata,
            "roleRef": {"apiGroup": API, "kind": f"{scope}Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", **account}],
        }
    )


def _metadata(name: str, namespace: str) -> Object:
    return {"name": name, **({"namespace": namespace} if namespace else {})}


def _dump(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, default_flow_style=None, width=110)
