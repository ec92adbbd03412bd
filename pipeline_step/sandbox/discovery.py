"""What the API says of itself: groups, versions, resources, and as much OpenAPI as kubectl asks for."""

from __future__ import annotations

from typing import Any

from pipeline_step.sandbox.kinds import GROUPS, KINDS, VERBS, Kind

Obj = dict[str, Any]

VERSION: Obj = {
    "major": "1",
    "minor": "35",
    "gitVersion": "v1.35.4-pipeline-step-sandbox",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "2026-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}


def answer(path: str) -> Obj | None:
    """What a discovery path says, or None when it is no such path."""
    parts = [part for part in path.split("/") if part]
    found: Obj | None = None
    if parts == ["version"]:
        found = VERSION
    elif parts == ["api"]:
        found = core_versions()
    elif parts == ["apis"]:
        found = groups()
    elif parts[:1] == ["api"] and len(parts) == 2:
        found = resources("", parts[1])
    elif parts[:1] == ["apis"] and len(parts) in (2, 3):
        found = group(parts[1]) if len(parts) == 2 else resources(*parts[1:])
    elif parts == ["openapi", "v3"]:
        found = openapi_paths()
    elif parts[:3] == ["openapi", "v3", "api"] and len(parts) == 4:
        found = openapi("", parts[3])
    elif parts[:3] == ["openapi", "v3", "apis"] and len(parts) == 5:
        found = openapi(parts[3], parts[4])
    return found


def core_versions() -> Obj:
    """The answer of /api."""
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}


def groups() -> Obj:
    """The answer of /apis."""
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(g) for g in GROUPS if g]}


def group(name: str) -> Obj | None:
    """The answer of /apis/GROUP, or None for a group that is not served."""
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name)} if name and name in GROUPS else None


def _group(name: str) -> Obj:
    versions = [{"groupVersion": f"{name}/{v}", "version": v} for v in GROUPS[name]]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def resources(group_name: str, version: str) -> Obj | None:
    """The answer of /apis/GROUP/VERSION (or /api/v1), or None when it is not served."""
    if version not in GROUPS.get(group_name, ()):
        return None
    found = [r for kind in _served(group_name, version) for r in _resources(kind)]
    if group_name == "authorization.k8s.io":
        kind = "SelfSubjectAccessReview"
        found = [_resource("selfsubjectaccessreviews", kind, False, ("create",))]
    shown = f"{group_name}/{version}" if group_name else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": shown, "resources": found}


def _served(group_name: str, version: str) -> list[Kind]:
    return [kind for kind in KINDS if kind.group == group_name and version in kind.versions]


def _resource(name: str, kind: str, namespaced: bool, verbs: tuple[str, ...], **more: Any) -> Obj:
    base = {"name": name, "singularName": "" if "/" in name else kind.lower(), "namespaced": namespaced}
    return {**base, "kind": kind, "verbs": list(verbs), **more}


def _resources(kind: Kind) -> list[Obj]:
    found = [_resource(kind.plural, kind.kind, kind.namespaced, VERBS, shortNames=list(kind.short))]
    if kind.status:
        found.append(_sub(kind, "status", ("get", "patch", "update")))
    if kind.scale:
        scale = {"group": "autoscaling", "version": "v1"}
        verbs = ("get", "patch", "update")
        found.append(_resource(f"{kind.plural}/scale", "Scale", kind.namespaced, verbs, **scale))
    return [*found, *(_sub(kind, name, ("get",)) for name in kind.subresources)]


def _sub(kind: Kind, name: str, verbs: tuple[str, ...]) -> Obj:
    return _resource(f"{kind.plural}/{name}", kind.kind, kind.namespaced, verbs)


def openapi_paths() -> Obj:
    """The answer of /openapi/v3: one document for each group and version."""
    paths = {"api/v1": {"serverRelativeURL": "/openapi/v3/api/v1"}}
    for name, versions in GROUPS.items():
        for version in versions if name else ():
            paths[f"apis/{name}/{version}"] = {"serverRelativeURL": f"/openapi/v3/apis/{name}/{version}"}
    return {"paths": paths}


def openapi(group_name: str, version: str) -> Obj | None:
    """One OpenAPI v3 document. It describes the patch calls only, so that kubectl leaves validation here."""
    if version not in GROUPS.get(group_name, ()):
        return None
    root = f"/apis/{group_name}/{version}" if group_name else f"/api/{version}"
    paths = {}
    for kind in _served(group_name, version):
        scope = "/namespaces/{namespace}" if kind.namespaced and kind.plural != "namespaces" else ""
        paths[f"{root}{scope}/{kind.plural}/{{name}}"] = {"patch": _patch_operation(kind, version)}
    info = {"title": "Kubernetes", "version": VERSION["gitVersion"]}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": {}}}


def _patch_operation(kind: Kind, version: str) -> Obj:
    names = ("dryRun", "fieldManager", "fieldValidation", "force")
    parameters = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in names]
    content: Obj = {"application/apply-patch+yaml": {}, "application/merge-patch+json": {}}
    return {
        "operationId": f"patch{kind.kind}",
        "parameters": parameters,
        "requestBody": {"content": content, "required": True},
        "responses": {"200": {"description": "OK"}},
        "x-kubernetes-action": "patch",
        "x-kubernetes-group-version-kind": {"group": kind.group, "version": version, "kind": kind.kind},
    }
