"""Paths and methods of the API to the kind, name, subresource and verb that they mean."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from pipeline_step.sandbox import refusals
from pipeline_step.sandbox.access import Call
from pipeline_step.sandbox.kinds import Kind, find


@dataclass(frozen=True, kw_only=True)
class Route:
    """What a path of the API names. `rest` is what follows a proxy's path."""

    kind: Kind
    version: str
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""

    def call(self, verb: str) -> Call:
        """The call that authorisation judges."""
        resource = f"{self.kind.plural}/{self.subresource}" if self.subresource else self.kind.plural
        return Call(
            verb=verb,
            group=self.kind.group,
            resource=resource,
            namespace=self.namespace,
            name=self.name.partition(":")[0] if self.subresource == "proxy" else self.name,
        )


def parse(path: str) -> Route | None:
    """The route that a path names, or None when it names no resource of the API."""
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and rest[2] != "status":
        namespace, rest = rest[1], rest[2:]
    kind = find(group, version, rest[0])
    if kind is None or (namespace and not kind.namespaced):
        return None
    name, subresource = (rest[1] if len(rest) > 1 else ""), (rest[2] if len(rest) > 2 else "")
    known = ("status",) * kind.status + ("scale",) * kind.scale + kind.subresources
    if subresource and subresource not in known:
        return None
    return Route(
        kind=kind,
        version=version,
        namespace=namespace,
        name=name,
        subresource=subresource,
        rest="/".join(rest[3:]),
    )


def verb_of(request: web.Request, route: Route) -> str:
    """The verb as RBAC and the audit log name it; a method that fits nothing is refused with 405."""
    if request.method == "GET":
        if request.query.get("watch") in ("true", "1"):
            return "watch"
        return "get" if route.name else "list"
    if request.method == "DELETE":
        return "delete" if route.name else "deletecollection"
    verbs = {"POST": "create", "PUT": "update", "PATCH": "patch"}
    verb = verbs.get(request.method, "")
    proxied = route.subresource == "proxy"
    if not verb or (not proxied and (verb == "create") == bool(route.name)):
        message = "the server does not allow this method on the requested resource"
        raise refusals.ApiError(405, "MethodNotAllowed", message, {})
    return verb
