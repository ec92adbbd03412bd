"""What a VirtualService's http route does, as Envoy's route action: weights, mirrors, retries, faults. Pure."""

from __future__ import annotations

from typing import Any

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


def action_of(route: Obj, namespace: str, ports: dict[str, list[int]]) -> Obj:
    """Where a route leads: to clusters by weight, elsewhere by redirect, or to an answer of its own."""
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


def fault_of(fault: Obj) -> Obj | None:
    """The configuration of Envoy's fault filter, or None."""
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


def header_changes(headers: Obj) -> Obj:
    """What is set, added and removed on the way."""
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
