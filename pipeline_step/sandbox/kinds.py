"""The resources that the sandbox serves: one visible table, and ways to look things up in it."""

from __future__ import annotations

from dataclasses import dataclass, field

ISTIO = ("v1", "v1beta1", "v1alpha3")
VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One resource of the API.

    `versions` are all served, preferred first; an object is stored once and answers under each of them.
    `typed` kinds are those compiled into a real API server: they take strategic merge patches and their list
    items carry no apiVersion and kind. The rest behave as custom resources do.
    """

    group: str
    kind: str
    plural: str
    versions: tuple[str, ...] = ("v1",)
    namespaced: bool = True
    status: bool = False
    typed: bool = True
    unconditional_update: bool = True
    create_on_update: bool = False
    scale: bool = False
    short: tuple[str, ...] = ()
    subresources: tuple[str, ...] = field(default=())

    @property
    def resource(self) -> str:
        """The name as errors word it, such as `deployments.apps` or `pods`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def generation(self) -> bool:
        """Whether metadata.generation counts the changes of the wanted state."""
        return not self.typed or self.group in ("apps", "networking.k8s.io", "policy")

    def api_version(self, version: str | None = None) -> str:
        """`apps/v1`, or `v1` for the core group; the preferred version unless one is given."""
        chosen = version or self.versions[0]
        return f"{self.group}/{chosen}" if self.group else chosen


def _core(kind: str, plural: str, **more: object) -> Kind:
    return Kind(group="", kind=kind, plural=plural, **more)  # type: ignore[arg-type]


def _custom(group: str, versions: tuple[str, ...], kind: str, plural: str, *short: str) -> Kind:
    return Kind(
        group=group,
        versions=versions,
        kind=kind,
        plural=plural,
        short=short,
        status=True,
        typed=False,
        unconditional_update=False,
    )


NAMESPACE = _core("Namespace", "namespaces", namespaced=False, status=True, short=("ns",))
POD = _core("Pod", "pods", status=True, short=("po",), subresources=("log", "proxy"))
SERVICE = _core("Service", "services", status=True, short=("svc",), subresources=("proxy",))
CONFIG_MAP = _core("ConfigMap", "configmaps", short=("cm",))
SECRET = _core("Secret", "secrets")
DEPLOYMENT = Kind(group="apps", kind="Deployment", plural="deployments", status=True, scale=True, short=("deploy",))
REPLICA_SET = Kind(group="apps", kind="ReplicaSet", plural="replicasets", status=True, scale=True, short=("rs",))
ENDPOINT_SLICE = Kind(group="discovery.k8s.io", kind="EndpointSlice", plural="endpointslices")
LEASE = Kind(
    group="coordination.k8s.io",
    kind="Lease",
    plural="leases",
    unconditional_update=False,
    create_on_update=True,
)
EVENT = Kind(group="events.k8s.io", kind="Event", plural="events", short=("ev",))
VIRTUAL_SERVICE = _custom("networking.istio.io", ISTIO, "VirtualService", "virtualservices", "vs")
GATEWAY = _custom("networking.istio.io", ISTIO, "Gateway", "gateways", "gw")
DESTINATION_RULE = _custom("networking.istio.io", ISTIO, "DestinationRule", "destinationrules", "dr")
SERVICE_ENTRY = _custom("networking.istio.io", ISTIO, "ServiceEntry", "serviceentries", "se")
HTTP_ROUTE = _custom("gateway.networking.k8s.io", ("v1", "v1beta1"), "HTTPRoute", "httproutes")
GRPC_ROUTE = _custom("gateway.networking.k8s.io", ("v1",), "GRPCRoute", "grpcroutes")
GATEWAY_API_GATEWAY = _custom("gateway.networking.k8s.io", ("v1", "v1beta1"), "Gateway", "gateways", "gtw")
REFERENCE_GRANT = _custom(
    "gateway.networking.k8s.io", ("v1", "v1beta1"), "ReferenceGrant", "referencegrants", "refgrant"
)

KINDS: tuple[Kind, ...] = (
    NAMESPACE,
    POD,
    SERVICE,
    CONFIG_MAP,
    SECRET,
    _core("ServiceAccount", "serviceaccounts", short=("sa",)),
    _core("Event", "events", short=("ev",)),
    EVENT,
    _core("ResourceQuota", "resourcequotas", status=True, short=("quota",)),
    DEPLOYMENT,
    REPLICA_SET,
    ENDPOINT_SLICE,
    LEASE,
    Kind(
        group="autoscaling",
        kind="HorizontalPodAutoscaler",
        plural="horizontalpodautoscalers",
        versions=("v2",),
        status=True,
        short=("hpa",),
    ),
    Kind(group="networking.k8s.io", kind="NetworkPolicy", plural="networkpolicies", short=("netpol",)),
    Kind(group="networking.k8s.io", kind="Ingress", plural="ingresses", status=True, short=("ing",)),
    Kind(
        group="policy",
        kind="PodDisruptionBudget",
        plural="poddisruptionbudgets",
        status=True,
        short=("pdb",),
    ),
    VIRTUAL_SERVICE,
    GATEWAY,
    DESTINATION_RULE,
    SERVICE_ENTRY,
    GATEWAY_API_GATEWAY,
    HTTP_ROUTE,
    GRPC_ROUTE,
    REFERENCE_GRANT,
    _custom("flagger.app", ("v1beta1",), "Canary", "canaries"),
    _custom("preview.jenkins.io", ("v1alpha1",), "Preview", "previews"),
)

BY_PLURAL: dict[tuple[str, str], Kind] = {(kind.group, kind.plural): kind for kind in KINDS}
GROUPS: dict[str, tuple[str, ...]] = {}
for _kind in KINDS:
    _known = GROUPS.get(_kind.group, ())
    GROUPS[_kind.group] = (*_known, *(v for v in _kind.versions if v not in _known))
GROUPS["authorization.k8s.io"] = ("v1",)


def find(group: str, version: str, plural: str) -> Kind | None:
    """The kind served at that group, version and plural name, or None."""
    kind = BY_PLURAL.get((group, plural))
    return kind if kind and version in kind.versions else None


def by_api_version(api_version: str, name: str) -> Kind | None:
    """The kind that an object's `apiVersion` and `kind` name, or None."""
    group, _, version = api_version.rpartition("/")
    return next((k for k in KINDS if k.group == group and k.kind == name and version in k.versions), None)
