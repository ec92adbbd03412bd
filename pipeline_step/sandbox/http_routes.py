"""The http routes of VirtualServices as Envoy's virtual hosts: matches, delegates, weights, actions."""

from __future__ import annotations

from typing import Any

from pipeline_step.sandbox.gateways import Binding, gateway_name

Obj = dict[str, Any]
_FAULT = "type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault"
_PREVIOUS_HOSTS = "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
_RETRY_ON = "connect-failure,refused-stream,unavailable,cancelled"


def full_host(host: str, namespace: str) -> str:
    """A destination's host as istiod completes it: only a name without dots is relative to the namespace."""
    return host if "." in host or not host else f"{host}.{namespace}.svc.cluster.local"


def _cluster(destination: Obj, namespace: str, ports: dict[str, list[int]]) -> str:
    host = full_host(destination.get("host", ""), namespace)
    known = ports.get(host, [])
    default = known[0] if len(known) == 1 else 80
    port = (destination.get("port") or {}).get("number", default)
    return f"outbound|{port}|{destination.get('subset') or ''}|{host}"


def weights(routes: list[Obj], namespace: str, ports: dict[str, list[int]]) -> dict[str, int]:
    """Weight by cluster name; a single destination without a weight has all of it."""
    found: dict[str, int] = {}
    for route in routes:
        name = _cluster(route.get("destination") or {}, namespace, ports)
        default = 100 if len(routes) == 1 else 0
        found[name] = found.get(name, 0) + int(route.get("weight") or default)
    return found


def virtual_hosts(found: list[Binding], everything: list[Obj], ports: dict[str, list[int]]) -> list[Obj]:
    """One virtual host for each host, with the routes of its VirtualServices in order."""
    by_host: dict[str, list[Obj]] = {}
    for binding in found:
        routes = [
            made
            for route, namespace in _with_delegates(binding, everything)
            for made in _envoy_routes(route, namespace, binding, ports)
        ]
        for host in binding.hosts():
            by_host.setdefault(host, []).extend(routes)
    return [
        {"name": f"{host}:80", "domains": [host], "routes": routes, "include_request_attempt_count": True}
        for host, routes in sorted(by_host.items())
        if routes
    ]


def _with_delegates(binding: Binding, everything: list[Obj]) -> list[tuple[Obj, str]]:
    """The http routes with those that they delegate to in their place, each with its namespace."""
    found: list[tuple[Obj, str]] = []
    for route in (binding.virtual_service.get("spec") or {}).get("http") or []:
        delegate = route.get("delegate")
        if not delegate:
            found.append((route, binding.namespace))
            continue
        home = delegate.get("namespace") or binding.namespace
        for other in everything:
            meta, spec = other["metadata"], other.get("spec") or {}
            if (meta["namespace"], meta["name"]) != (home, delegate.get("name")) or spec.get("hosts"):
                continue
            for child in spec.get("http") or []:
                matches = _combined(route.get("match") or [], child.get("match") or [])
                if matches is not None:
                    inherited = {k: v for k, v in route.items() if k not in ("delegate", "match", "name")}
                    found.append(({**inherited, **child, "match": matches}, home))
    return found


def _combined(root: list[Obj], child: list[Obj]) -> list[Obj] | None:
    """Both lists of conditions at once; None when they can never hold together."""
    if not root or not child:
        return root or child
    found = [
        {**outer, **inner, "headers": {**(outer.get("headers") or {}), **(inner.get("headers") or {})}}
        for outer in root
        for inner in child
        if _nested(outer.get("uri"), inner.get("uri"))
    ]
    return found or None


def _nested(outer: Obj | None, inner: Obj | None) -> bool:
    if not outer or not inner:
        return True
    if "prefix" in outer:
        return str(inner.get("prefix") or inner.get("exact") or "").startswith(outer["prefix"])
    return outer == inner


def _envoy_routes(route: Obj, namespace: str, binding: Binding, ports: dict[str, list[int]]) -> list[Obj]:
    action = _action(route, namespace, ports)
    fault = _fault(route.get("fault") or {})
    made = []
    for match in route.get("match") or [{}]:
        if not _applies(match, binding):
            continue
        one = {"match": _match(match), **action, **_header_changes(route.get("headers") or {})}
        if route.get("name"):
            one["name"] = route["name"]
        if fault:
            one["typed_per_filter_config"] = {"envoy.filters.http.fault": fault}
        made.append(one)
    return made


def _applies(match: Obj, binding: Binding) -> bool:
    """Whether a match is for the gateway: not for other gateways, nor for callers inside the mesh."""
    named = match.get("gateways")
    if named:
        names = {gateway_name(name, binding.namespace) for name in named if name != "mesh"}
        if not names & binding.names:
            return False
    return not match.get("sourceLabels") and not match.get("sourceNamespace")


def _string(match: Obj) -> Obj:
    if "regex" in match:
        return {"safe_regex": {"regex": match["regex"]}}
    return {key: match[key] for key in ("exact", "prefix") if key in match}


def _match(match: Obj) -> Obj:
    uri = match.get("uri") or {}
    if "exact" in uri:
        made: Obj = {"path": uri["exact"]}
    elif "regex" in uri:
        made = {"safe_regex": {"regex": uri["regex"]}}
    else:
        made = {"prefix": uri.get("prefix", "/")}
    if match.get("ignoreUriCase"):
        made["case_sensitive"] = False
    headers = [_header(name, value) for name, value in (match.get("headers") or {}).items()]
    for name, value in (match.get("withoutHeaders") or {}).items():
        headers.append({**_header(name, value), "invert_match": True, "treat_missing_header_as_empty": True})
    pseudo = (("method", ":method"), ("authority", ":authority"), ("scheme", ":scheme"))
    headers += [_header(name, match[key]) for key, name in pseudo if match.get(key)]
    if headers:
        made["headers"] = headers
    queries = [_query(name, value) for name, value in (match.get("queryParams") or {}).items()]
    if queries:
        made["query_parameters"] = queries
    return made


def _header(name: str, value: Obj | None) -> Obj:
    given = _string(value or {})
    return {"name": name, "string_match": given} if given else {"name": name, "present_match": True}


def _query(name: str, value: Obj | None) -> Obj:
    given = _string(value or {})
    return {"name": name, "string_match": given} if given else {"name": name, "present_match": True}


def _action(route: Obj, namespace: str, ports: dict[str, list[int]]) -> Obj:
    if route.get("redirect"):
        return {"redirect": _redirect(route["redirect"])}
    if route.get("directResponse"):
        body = (route["directResponse"].get("body") or {}).get("string", "")
        given = {"status": route["directResponse"]["status"]}
        return {"direct_response": {**given, "body": {"inline_string": body}} if body else given}
    split = weights(route.get("route") or [], namespace, ports)
    live = {name: weight for name, weight in split.items() if weight > 0}
    if not live:
        return {"direct_response": {"status": 503}}
    action: Obj = {"timeout": route.get("timeout") or "0s", "retry_policy": _retries(route)}
    if len(live) == 1:
        action["cluster"] = next(iter(live))
    else:
        shares = [{"name": name, "weight": weight} for name, weight in live.items()]
        action["weighted_clusters"] = {"clusters": shares}
    mirrors = [*(route.get("mirrors") or [])]
    if route.get("mirror"):
        share = route.get("mirrorPercentage") or {"value": route.get("mirrorPercent", 100)}
        mirrors.append({"destination": route["mirror"], "percentage": share})
    if mirrors:
        action["request_mirror_policies"] = [_mirror(mirror, namespace, ports) for mirror in mirrors]
    rewrite = route.get("rewrite") or {}
    if rewrite.get("uri"):
        action["prefix_rewrite"] = rewrite["uri"]
    if rewrite.get("authority"):
        action["host_rewrite_literal"] = rewrite["authority"]
    return {"route": action}


def _mirror(mirror: Obj, namespace: str, ports: dict[str, list[int]]) -> Obj:
    share = float((mirror.get("percentage") or {}).get("value", 100))
    fraction = {"numerator": round(share * 10_000), "denominator": "MILLION"}
    name = _cluster(mirror["destination"], namespace, ports)
    return {"cluster": name, "runtime_fraction": {"default_value": fraction}}


def _retries(route: Obj) -> Obj:
    """The route's retries, or istiod's default: twice, only where the request was not processed."""
    given = route.get("retries") or {}
    policy: Obj = {
        "retry_on": given.get("retryOn") or _RETRY_ON,
        "num_retries": int(given.get("attempts", 2)),
        "retry_host_predicate": [
            {"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": {"@type": _PREVIOUS_HOSTS}}
        ],
        "host_selection_retry_max_attempts": 5,
    }
    codes = [int(part) for part in policy["retry_on"].split(",") if part.isdigit()]
    if codes:
        words = [part for part in policy["retry_on"].split(",") if not part.isdigit()]
        policy.update(retry_on=",".join([*words, "retriable-status-codes"]), retriable_status_codes=codes)
    if given.get("perTryTimeout"):
        policy["per_try_timeout"] = given["perTryTimeout"]
    return policy


def _redirect(redirect: Obj) -> Obj:
    codes = {
        301: "MOVED_PERMANENTLY",
        302: "FOUND",
        303: "SEE_OTHER",
        307: "TEMPORARY_REDIRECT",
        308: "PERMANENT_REDIRECT",
    }
    made: Obj = {"response_code": codes.get(int(redirect.get("redirectCode") or 301), "MOVED_PERMANENTLY")}
    pairs = (("uri", "path_redirect"), ("authority", "host_redirect"), ("scheme", "scheme_redirect"))
    made.update({name: redirect[key] for key, name in pairs if redirect.get(key)})
    if redirect.get("port"):
        made["port_redirect"] = redirect["port"]
    return made


def _fault(fault: Obj) -> Obj | None:
    if not fault:
        return None
    made: Obj = {"@type": _FAULT}
    for key, value in (("abort", "httpStatus"), ("delay", "fixedDelay")):
        given = fault.get(key)
        if given and value in given:
            share = float((given.get("percentage") or {"value": 100}).get("value", 100))
            fraction = {"numerator": round(share * 10_000), "denominator": "MILLION"}
            name = "http_status" if key == "abort" else "fixed_delay"
            made[key] = {name: given[value], "percentage": fraction}
    return made


def _header_changes(headers: Obj) -> Obj:
    made: Obj = {}
    for side in ("request", "response"):
        given = headers.get(side) or {}
        append = [("add", "APPEND_IF_EXISTS_OR_ADD"), ("set", "OVERWRITE_IF_EXISTS_OR_ADD")]
        added = [
            {"header": {"key": key, "value": str(value)}, "append_action": how}
            for name, how in append
            for key, value in (given.get(name) or {}).items()
        ]
        if added:
            made[f"{side}_headers_to_add"] = added
        if given.get("remove"):
            made[f"{side}_headers_to_remove"] = given["remove"]
    return made
