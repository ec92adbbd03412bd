"""Envoy's bootstrap: an admin port, a gateway listener whose routes come from a file, the rest from files too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline_step.sandbox import endpoints
from pipeline_step.sandbox.mesh import Endpoint, cluster

Obj = dict[str, Any]
ROUTE_CONFIG = "gateway"
_TYPE = "type.googleapis.com/envoy.extensions.filters."
_MANAGER = _TYPE + "network.http_connection_manager.v3.HttpConnectionManager"


def source(path: Path) -> Obj:
    """A configuration source that follows one file, which is replaced by renaming."""
    return {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}


def bootstrap(directory: Path, gateway_port: int, endpoints_port: int) -> Obj:
    """The whole bootstrap; files are `cds.json`, `lds.json` and `rds.json` in the directory, endpoints come by HTTP.

    The statistics' tags are those that give `envoy_cluster_upstream_rq` the labels `cluster_name` and
    `response_code` with istiod's cluster names.
    """
    told_by = cluster(endpoints.CLUSTER, [Endpoint(endpoints.HOST, endpoints_port)])
    del told_by["@type"]
    return {
        "node": {"id": "sandbox-gateway", "cluster": "istio-ingressgateway"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
        "stats_config": {
            "use_all_default_tags": False,
            "stats_tags": [
                {"tag_name": "cluster_name", "regex": r"^cluster\.((outbound\|.+?\.svc\.cluster\.local);\.)"},
                {"tag_name": "response_code", "regex": r"_rq(_(\d{3}))$"},
                {"tag_name": "response_code_class", "regex": r"_rq(_(\dxx))$"},
            ],
        },
        "dynamic_resources": {
            "cds_config": source(directory / "cds.json"),
            "lds_config": source(directory / "lds.json"),
        },
        "static_resources": {
            "listeners": [_gateway(directory, gateway_port)],
            "clusters": [told_by],
        },
    }


def _filter(name: str, kind: str) -> Obj:
    return {"name": name, "typed_config": {"@type": _TYPE + kind}}


def _gateway(directory: Path, port: int) -> Obj:
    manager = {
        "@type": _MANAGER,
        "stat_prefix": "gateway",
        "rds": {"route_config_name": ROUTE_CONFIG, "config_source": source(directory / "rds.json")},
        "http_filters": [
            _filter("envoy.filters.http.fault", "http.fault.v3.HTTPFault"),
            _filter("envoy.filters.http.router", "http.router.v3.Router"),
        ],
        "use_remote_address": True,
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {"name": "gateway", "address": address, "filter_chains": [chain]}
