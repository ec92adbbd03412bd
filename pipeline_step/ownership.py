"""Pure: who else writes an object, and would undo what we write."""

from __future__ import annotations

from pipeline_step.model import Object

REWRITING = {"flagger": "Flagger", "rollouts-controller": "Argo Rollouts"}
GITOPS = {
    "argocd.argoproj.io/tracking-id": "Argo CD",
    "argocd.argoproj.io/instance": "Argo CD",
    "kustomize.toolkit.fluxcd.io/name": "Flux",
    "helm.toolkit.fluxcd.io/name": "Flux",
}


def rewriting_owner(obj: Object) -> str:
    """The controller that rewrites the object's weights by itself, in words; "" where there is none.

    Flagger owns the VirtualService that it makes; Argo Rollouts patches the user's and shows in managedFields only.
    """
    metadata = obj["metadata"]
    for owner in metadata.get("ownerReferences") or []:
        if owner.get("controller"):
            return f"{owner['kind']} {owner['name']} ({owner['apiVersion']})"
    for entry in metadata.get("managedFields") or []:
        if entry.get("manager") in REWRITING:
            return f"{REWRITING[entry['manager']]} (field manager {entry['manager']!r})"
    return ""


def gitops_owner(obj: Object) -> str:
    """The tool that may apply the object from Git again, in words; "" where nothing says so."""
    metadata = obj["metadata"]
    for source in (metadata.get("labels") or {}, metadata.get("annotations") or {}):
        for key, tool in GITOPS.items():
            if key in source:
                return f"{tool} ({source[key]})"
    return ""
