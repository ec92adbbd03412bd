"""Kubernetes, as plain dicts: the only module that imports the client library.

Everything is one HTTP request against the API; the client library brings the kubeconfig, the in-cluster account and
the credentials. A request that the server could not answer (no connection, 429, 5xx) is repeated until `patience`
has passed, so that a storm at the API costs time and not the rollout.
"""

from __future__ import annotations

import copy
import json
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from pipeline_step.errors import ClusterError, ConfigError, Conflict, NotFound
from pipeline_step.model import Backend, Object, Ref

FIELD_MANAGER = "pipeline-step"
TIMEOUT = (3, 10)  # seconds to connect, and to read
RETRIED = {0, 429, 500, 502, 503, 504}
SERVICE_NAME = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A ready pod behind a Service."""

    pod: str
    namespace: str
    address: str
    port: int


class Cluster:
    """One Kubernetes API, reached through a context of the kubeconfig or from inside a pod.

    Every method raises `NotFound`, `Conflict` or another `ClusterError` with a sentence that names the object.
    """

    def __init__(self, context: str = "", *, patience: float = 20, sleep: Callable[[float], None] = time.sleep) -> None:
        self.context = context
        self.patience = patience
        self._sleep = sleep
        self._configuration, self._rest = _connect(context)
        self._versions: dict[str, str] = {"": "v1"}
        self._kinds: dict[str, list[Object]] = {}

    def hurried(self, patience: float) -> Cluster:
        """The same cluster, given up on after `patience` seconds."""
        other = copy.copy(self)
        other.patience = patience
        return other

    def get(self, ref: Ref) -> Object:
        """Read one object, or for a reference without a name a list, with its objects under `items`."""
        query = {"labelSelector": ref.labels} if ref.labels else {}
        found: Object = self._json("GET", self._path(ref), query=query, what=str(ref))
        return found

    def find(self, ref: Ref) -> Object | None:
        """Read one object, or None where it does not exist."""
        try:
            return self.get(ref)
        except NotFound:
            return None

    def list_objects(self, group: str, resource: str, namespace: str = "", labels: str = "") -> list[Object]:
        """All objects of a resource, in one namespace or in all, that have these labels (`a=b,c`).

        Raises `NotFound` where no version of the group has the resource.
        """
        ref = Ref(group=group, resource=resource, namespace=namespace, name="", labels=labels)
        try:
            items: list[Object] = self.get(ref)["items"]
        except NotFound:
            items = self._list_in_another_version(ref)
        return items

    def _list_in_another_version(self, ref: Ref) -> list[Object]:
        """A group may have a resource only in a version that it does not prefer."""
        answer = self._json("GET", f"/apis/{ref.group}", what=f"the API group {ref.group}")
        for version in (entry["groupVersion"] for entry in answer["versions"]):
            with suppress(NotFound):
                items: list[Object] = self._json("GET", self._path(ref, version), what=str(ref))["items"]
                return items
        raise NotFound(f"no version of {ref.group} has {ref.resource}", 404)

    def create(self, ref: Ref, obj: Object) -> Object:
        """Create an object; raises `Conflict` where it exists already."""
        collection = Ref(group=ref.group, resource=ref.resource, namespace=ref.namespace, name="")
        body = {"apiVersion": self.api_version(ref.group), **obj}
        created: Object = self._json(
            "POST", self._path(collection), body=body, query={"fieldManager": FIELD_MANAGER}, what=str(ref)
        )
        return created

    def replace(self, ref: Ref, obj: Object) -> Object:
        """Write a whole object; raises `Conflict` where it changed since the resourceVersion that it carries."""
        replaced: Object = self._json(
            "PUT", self._path(ref), body=obj, query={"fieldManager": FIELD_MANAGER}, what=str(ref)
        )
        return replaced

    def apply(self, ref: Ref, obj: Object) -> Object:
        """Server-side apply of a manifest in its own version, taking over fields that others own."""
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        applied: Object = self._json(
            "PATCH",
            self._path(ref, obj["apiVersion"]),  # the API refuses a body of another version than the path's
            body=obj,
            query=query,
            what=str(ref),
            content="application/apply-patch+yaml",
        )
        return applied

    def delete(self, ref: Ref) -> None:
        """Delete an object and what it owns; one that is gone already is fine."""
        try:
            self._json("DELETE", self._path(ref), body={"propagationPolicy": "Background"}, what=str(ref))
        except NotFound:
            return

    def allowed(self, verb: str, ref: Ref) -> bool:
        """Whether this account may do it, asked by a SelfSubjectAccessReview.

        A Namespace counts as inside itself, so that a Role there can allow it.
        """
        resource, _, subresource = ref.resource.partition("/")
        attributes = {
            "verb": verb,
            "group": ref.group,
            "resource": resource,
            "subresource": subresource,
            "namespace": ref.name if ref.resource == "namespaces" else ref.namespace,
            "name": ref.name,
        }
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        answer = self._json("POST", path, body=review, what="selfsubjectaccessreviews")
        return bool(answer.get("status", {}).get("allowed"))

    def groups(self) -> frozenset[str]:
        """The names of the API groups that the server has."""
        return frozenset(group["name"] for group in self._json("GET", "/apis", what="the API groups")["groups"])

    def version(self) -> str:
        """The server's version, such as v1.35.4."""
        return str(self._json("GET", "/version", what="the version")["gitVersion"])

    def endpoints(self, backend: Backend) -> list[Endpoint]:
        """The ready pods behind a Service, from its EndpointSlices."""
        slices = self.list_objects(
            "discovery.k8s.io", "endpointslices", backend.namespace, f"{SERVICE_NAME}={backend.service}"
        )
        return [
            Endpoint(endpoint["targetRef"]["name"], backend.namespace, endpoint["addresses"][0], ports[0])
            for piece in slices
            if (ports := [port["port"] for port in piece.get("ports") or [] if port.get("port")])
            for endpoint in piece.get("endpoints") or []
            if endpoint.get("conditions", {}).get("ready", True) and "targetRef" in endpoint
        ]

    def address(self, backend: Backend) -> str:
        """The URL of a Service: outside the cluster where it has an address there, else by its name inside."""
        service = self.get(Ref(group="", resource="services", namespace=backend.namespace, name=backend.service))
        port = backend.port or service["spec"]["ports"][0]["port"]
        ingress = (service.get("status", {}).get("loadBalancer") or {}).get("ingress") or []
        host = next((entry.get("hostname") or entry.get("ip") for entry in ingress), backend.host)
        return f"http://{host}" + ("" if port == 80 else f":{port}")

    def pod_get(self, namespace: str, pod: str, port: int, path: str) -> str:
        """GET a path of a pod through the API server's proxy; the answer's text."""
        url = f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(pod)}:{port}/proxy/{path.lstrip('/')}"
        return self._request("GET", url, what=f"pods/proxy {namespace}/{pod}:{port}").decode(errors="replace")

    def logs(self, namespace: str, pod: str, container: str, *, previous: bool, lines: int = 5) -> str:
        """The last lines that a container wrote, of its previous run where it was restarted."""
        query = {"container": container, "tailLines": str(lines), "previous": str(previous).lower()}
        path = f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(pod)}/log"
        return self._request("GET", path, query=query, what=f"pods/log {namespace}/{pod}").decode(errors="replace")

    def api_version(self, group: str) -> str:
        """GROUP/VERSION as the cluster prefers it; raises `NotFound` where it does not serve the group."""
        if group not in self._versions:
            answer = self._json("GET", f"/apis/{group}", what=f"the API group {group}")
            self._versions[group] = answer["preferredVersion"]["groupVersion"]
        return self._versions[group]

    def ref(self, obj: Object) -> Ref:
        """Where an object of a manifest lives: its resource's plural name comes from the API's own list."""
        api_version, kind = obj["apiVersion"], obj["kind"]
        group = api_version.rpartition("/")[0]
        if api_version not in self._kinds:
            root = f"/apis/{api_version}" if group else f"/api/{api_version}"
            self._kinds[api_version] = self._json("GET", root, what=f"the API {api_version}")["resources"]
        for resource in self._kinds[api_version]:
            if resource["kind"] == kind and "/" not in resource["name"]:
                namespace = obj["metadata"].get("namespace", "") if resource["namespaced"] else ""
                return Ref(group=group, resource=resource["name"], namespace=namespace, name=obj["metadata"]["name"])
        kinds = sorted({r["kind"] for r in self._kinds[api_version] if "/" not in r["name"]})
        raise ConfigError(f"the cluster serves no kind {kind!r} in {api_version}; it serves: {', '.join(kinds)}")

    def _path(self, ref: Ref, version: str = "") -> str:
        version = version or self.api_version(ref.group)
        root = f"/apis/{version}" if ref.group else f"/api/{version}"
        namespace = f"/namespaces/{quote(ref.namespace)}" if ref.namespace else ""
        name = f"/{quote(ref.name)}" if ref.name else ""
        return f"{root}{namespace}/{ref.resource}{name}"

    def _json(self, method: str, path: str, **options: Any) -> Any:
        return json.loads(self._request(method, path, **options))

    def _request(
        self,
        method: str,
        path: str,
        *,
        what: str,
        body: Object | None = None,
        query: dict[str, str] | None = None,
        content: str = "application/json",
    ) -> bytes:
        url = self._configuration.host.rstrip("/") + path + (f"?{urlencode(query)}" if query else "")
        until = time.monotonic() + self.patience
        delay = 0.2
        while True:
            status, headers, data = self._once(method, url, body, content)
            if 200 <= status < 300:
                return data
            wait = float(headers.get("Retry-After") or delay)
            if status not in RETRIED or time.monotonic() + wait > until:
                raise self._error(method, what, status, data)
            self._sleep(wait)
            delay = min(delay * 2, 2)

    def _once(self, method: str, url: str, body: Object | None, content: str) -> tuple[int, Any, bytes]:
        """One request: status, headers and body; status 0 with the reason as body where there was no answer.

        A write is waited for even where a signal arrives meanwhile: one that is still on its way could land after
        the traffic was taken back, and undo that.
        """
        if method == "GET":
            return self._send(method, url, body, content)
        with ThreadPoolExecutor(max_workers=1) as pool:
            return pool.submit(self._send, method, url, body, content).result()

    def _send(self, method: str, url: str, body: Object | None, content: str) -> tuple[int, Any, bytes]:
        import urllib3
        from kubernetes.client.exceptions import ApiException

        headers = {"Accept": "application/json, */*", "Content-Type": content, "User-Agent": FIELD_MANAGER}
        if token := self._configuration.auth_settings().get("BearerToken"):
            headers["authorization"] = token["value"]
        try:
            answer = self._rest.request(
                method, url, headers=headers, body=_encode(body, content), _request_timeout=TIMEOUT
            )
            return answer.status, answer.getheaders(), answer.read()
        except ApiException as error:  # the client library's word for a failure of TLS
            return 0, {}, " ".join(str(error.reason).split()).encode()
        except (urllib3.exceptions.HTTPError, OSError) as error:
            return 0, {}, str(error).encode()

    def _error(self, method: str, what: str, status: int, data: bytes) -> ClusterError:
        where = f"cluster {self.context!r}" if self.context else "the cluster"
        message = _message(data)
        if status == 0:
            return ClusterError(f"{where} does not answer at {self._configuration.host}: {message}", 0)
        if status == 404:
            return NotFound(f"{where}: {what} not found ({message})", status)
        if status == 409:
            return Conflict(f"{where}: {what} changed meanwhile ({message})", status)
        hints = {
            401: "; the credentials are missing or have expired: log in again or renew the service account's token",
            403: "; `pipeline-step doctor` lists every permission that is needed",
        }
        return ClusterError(
            f"{where} refused {method} of {what}: HTTP {status}, {message}{hints.get(status, '')}", status
        )


def _connect(context: str) -> tuple[Any, Any]:
    """The client library's configuration and its HTTP pool, without retries of its own."""
    import kubernetes
    import yaml

    configuration = kubernetes.client.Configuration()
    try:
        kubernetes.config.load_kube_config(context=context or None, client_configuration=configuration)
    except (yaml.YAMLError, OSError, TypeError, ValueError) as error:
        raise ConfigError(f"the kubeconfig can't be read: {' '.join(str(error).split())}") from error
    except kubernetes.config.ConfigException as error:
        if context:
            raise ConfigError(f"no usable context {context!r} in the kubeconfig: {error}") from error
        try:
            kubernetes.config.load_incluster_config(client_configuration=configuration)
        except kubernetes.config.ConfigException:
            raise ConfigError(
                f"no cluster to talk to: {error}; set KUBECONFIG, or run in a pod with a service account"
            ) from error
    configuration.retries = False
    rest = kubernetes.client.rest.RESTClientObject(configuration)
    if configuration.verify_ssl:
        rest.pool_manager.connection_pool_kw["ssl_context"] = _tls()
    return configuration, rest


def _tls() -> ssl.SSLContext:
    """How the server's certificate is checked: as kubectl does.

    Python 3.13 also asks authorities for extensions that those of many clusters lack, and refuses them all.
    """
    from urllib3.util.ssl_ import create_urllib3_context

    context = create_urllib3_context()
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _encode(body: Object | None, content: str) -> Object | str | None:
    """The client library serialises JSON itself, and other kinds of content only as text."""
    return body if body is None or content == "application/json" else json.dumps(body)


def _message(data: bytes) -> str:
    """What the API said: the message of a Status object, else the first line of text."""
    try:
        return str(json.loads(data)["message"])
    except (ValueError, KeyError, TypeError):
        return (data.decode(errors="replace").strip().splitlines() or ["no reason given"])[0][:300]
