"""Pure: what a preview is called, how its objects are labelled, and how production is copied into one."""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Mapping
from typing import Any

from pipeline_step.errors import ConfigError
from pipeline_step.model import Backend, Object

MANAGED_BY = "app.kubernetes.io/managed-by"
APP = "pipeline-step.dev/app"
PULL_REQUEST = "pipeline-step.dev/pull-request"
PREVIEW = "pipeline-step.dev/preview"
SHA = "pipeline-step.dev/sha"
LONGEST = 63

_SERVER_FIELDS = ("uid", "resourceVersion", "creationTimestamp", "generation", "managedFields", "ownerReferences")
_SERVICE_FIELDS = ("clusterIP", "clusterIPs", "externalIPs", "healthCheckNodePort", "loadBalancerIP")
_GIVEN_BY_SERVER = ("deployment.kubernetes.io/revision", "kubectl.kubernetes.io/last-applied-configuration")


def fill(template: str, values: Mapping[str, Any]) -> str:
    """A name from its template, as a DNS label: lower case, other characters as '-', cut with a hash.

    The hash of the whole keeps names apart that were the same up to the cut.
    """
    name = re.sub(r"[^a-z0-9-]+", "-", template.format_map(values).lower()).strip("-")
    if not name:
        raise ConfigError(f"{template!r} gives an empty name with {dict(values)}")
    if len(name) <= LONGEST:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: LONGEST - 9].rstrip('-')}-{digest}"


def labels(app: str, number: int) -> dict[str, str]:
    """What tells a preview's objects from all others, for finding and collecting them."""
    return {MANAGED_BY: "pipeline-step", APP: app, PULL_REQUEST: str(number)}


def namespace(name: str, marks: dict[str, str]) -> Object:
    """The Namespace of previews; only one preview's own bears its `labels`, by which it is found and deleted."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": marks},
    }


def mark(obj: Object, preview: Backend, app: str, number: int, sha: str) -> Object:
    """The object as part of the preview: in its namespace, with its labels, and the reviewed SHA on it and its pods.

    The label `PREVIEW` names the preview's Service, so that its pods are found by it.

    Raises `ConfigError` for an object of another namespace: a preview writes nowhere else.
    """
    marked = copy.deepcopy(obj)
    metadata = marked.setdefault("metadata", {})
    if metadata.get("namespace", preview.namespace) != preview.namespace:
        raise ConfigError(
            f"{obj['kind']} {metadata.get('name')}: namespace {metadata['namespace']!r} is not the preview's own, "
            f"{preview.namespace!r}; leave the namespace out or write ${{NAMESPACE}}"
        )
    metadata["namespace"] = preview.namespace
    for part in (metadata, marked.get("spec", {}).get("template", {}).get("metadata")):
        if part is not None:
            part["labels"] = {**(part.get("labels") or {}), **labels(app, number), PREVIEW: preview.service}
            part["annotations"] = {**(part.get("annotations") or {}), SHA: sha}
    return marked


def clone(
    workload: Object, service: Object, preview: Backend, image: str, container: str, replicas: int
) -> list[Object]:
    """Production's workload and Service under the preview's name and namespace, with the new image.

    In production's own namespace the labels that production selects by get other values, and the copies select by
    the label `PREVIEW`, so that neither Service picks a pod of the other side by itself.
    """
    selectors = {
        **(service["spec"].get("selector") or {}),
        **(workload["spec"].get("selector", {}).get("matchLabels") or {}),
    }
    if preview.namespace == service["metadata"]["namespace"] or preview.service != service["metadata"]["name"]:
        renamed = {key: fill(f"{value}-{preview.service}", {}) for key, value in selectors.items()}
        renamed[PREVIEW] = preview.service
        own = {PREVIEW: preview.service}
    else:
        renamed, own = selectors, {}

    pods = _bare(workload)
    pods["metadata"]["name"] = preview.service
    pods["spec"]["replicas"] = replicas
    pods["spec"]["selector"] = {"matchLabels": own or renamed}
    template = pods["spec"]["template"]
    template["metadata"] = {**template.get("metadata", {})}
    template["metadata"].pop("creationTimestamp", None)
    template["metadata"]["labels"] = {**(template["metadata"].get("labels") or {}), **renamed}
    template["spec"].pop("serviceAccount", None)
    template["spec"].pop("serviceAccountName", None)
    template["spec"]["automountServiceAccountToken"] = False
    set_image(pods, container, image)

    front = _bare(service)
    front["metadata"]["name"] = preview.service
    front["spec"] = {key: value for key, value in front["spec"].items() if key not in _SERVICE_FIELDS}
    front["spec"]["type"] = "ClusterIP"
    front["spec"]["selector"] = own or {key: renamed[key] for key in service["spec"].get("selector") or {}}
    front["spec"]["ports"] = [{k: v for k, v in port.items() if k != "nodePort"} for port in front["spec"]["ports"]]
    return [pods, front]


def _bare(obj: Object) -> Object:
    """A copy without what the server or another owner wrote."""
    bare = copy.deepcopy(obj)
    bare.pop("status", None)
    metadata = {key: value for key, value in bare["metadata"].items() if key not in _SERVER_FIELDS}
    metadata.pop("namespace", None)
    metadata["annotations"] = {
        key: value for key, value in (metadata.get("annotations") or {}).items() if key not in _GIVEN_BY_SERVER
    }
    bare["metadata"] = metadata
    return bare


def container_of(workload: Object, container: str) -> Object:
    """The container that carries the application's image; an empty name means the only one."""
    containers = workload["spec"]["template"]["spec"]["containers"]
    named = [c for c in containers if c["name"] == container] if container else containers
    if len(named) == 1:
        found: Object = named[0]
        return found
    names = ", ".join(c["name"] for c in containers)
    what = f"container {container!r} is not one of" if container else "production.container is needed to choose among"
    raise ConfigError(f"{workload.get('kind', 'workload')} {workload['metadata']['name']}: {what}: {names}")


def set_image(workload: Object, container: str, image: str) -> None:
    """Give the application's container another image, in place."""
    container_of(workload, container)["image"] = image


def pinned(image: str, digest: str) -> str:
    """The image by its digest: `registry/app:1.2` and `sha256:...` give `registry/app@sha256:...`."""
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}@{digest}"


def digest_of(image_id: str) -> str:
    """The `sha256:...` of a container status' imageID; "" where it has none."""
    found = re.search(r"sha256:[0-9a-f]{64}", image_id)
    return found[0] if found else ""
