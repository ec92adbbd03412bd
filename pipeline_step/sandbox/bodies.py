"""Bodies and parameters of requests: what is read, and what is refused as unreadable."""

from __future__ import annotations

import json
from typing import Any

import yaml
from aiohttp import web

from pipeline_step.sandbox import protobuf, refusals
from pipeline_step.sandbox.routes import Route

Obj = dict[str, Any]
STRATEGIC = "application/strategic-merge-patch+json"
_READABLE = (
    "application/json",
    "application/yaml",
    "application/octet-stream",
    STRATEGIC,
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/apply-patch+yaml",
)
_PLACE = 'scheme "pkg/runtime/scheme.go:111"'


async def read(request: web.Request) -> Any:
    """The JSON, YAML or protobuf body; 415 for another format, 400 for one that cannot be parsed."""
    if request.content_type == protobuf.MEDIA:
        return protobuf.decode(await request.read())
    if request.content_type not in _READABLE:
        accepted = ", ".join(_READABLE[:2])
        message = f"the body of the request was in an unknown format - accepted media types include: {accepted}"
        raise refusals.ApiError(415, "UnsupportedMediaType", message)
    try:
        text = await request.text()
        return yaml.safe_load(text) if "yaml" in request.content_type else json.loads(text)
    except (UnicodeDecodeError, ValueError, yaml.YAMLError) as error:
        raise refusals.bad_request(
            f"the object provided is unrecognized: couldn't get version/kind; json parse error: {error}"
        ) from error


async def delete_options(request: web.Request) -> Obj:
    """The DeleteOptions of the body with those of the query over them."""
    options: Obj = (await read(request)) if request.can_read_body else {}
    options = dict(options or {})
    for name in ("propagationPolicy", "dryRun"):
        if name in request.query:
            options[name] = request.query[name]
    if "gracePeriodSeconds" in request.query:
        options["gracePeriodSeconds"] = int(request.query["gracePeriodSeconds"])
    if options.get("orphanDependents"):
        options["propagationPolicy"] = "Orphan"
    return options


def typed(body: Any, route: Route) -> Obj:
    """The body, when it is an object of the route's kind and version; else refused with 400."""
    kind, version = route.kind.kind, route.kind.api_version(route.version)
    if route.subresource == "scale":
        kind, version = "Scale", "autoscaling/v1"
    if not isinstance(body, dict):
        raise refusals.unrecognized(route.kind, "couldn't get version/kind; the body is not an object")
    if not route.kind.typed and route.subresource != "scale":
        for name in ("Kind", "apiVersion"):
            if not body.get(name[0].lower() + name[1:]):
                why = f"Object '{name}' is missing in '{json.dumps(body)}'"
                raise refusals.unrecognized(route.kind, why)
    given, said = body.get("apiVersion", version), body.get("kind", kind)
    if given != version and (said == kind and route.kind.typed):
        raise refusals.bad_request(
            f'{kind} in version "{given}" cannot be handled as a {kind}: no kind "{kind}" is registered for '
            f'version "{given}" in {_PLACE}'
        )
    if given != version:
        raise refusals.bad_request(
            f"the API version in the data ({given}) does not match the expected API version ({version})"
        )
    if said != kind:
        raise refusals.bad_request(f'{said} in version "{given}" cannot be handled as a {kind}')
    if not isinstance(body.get("metadata", {}), dict):
        raise refusals.bad_request(
            f'{kind} in version "{version}" cannot be handled as a {kind}: metadata is no object'
        )
    return body


def manager(request: web.Request) -> str:
    """The field manager: named by the request, or the client's program."""
    agent = request.headers.get("User-Agent", "")
    return request.query.get("fieldManager") or agent.partition("/")[0] or "unknown"


def dry_run(request: web.Request) -> bool:
    """Whether nothing is to be stored."""
    return "All" in request.query.getall("dryRun", [])
