"""croc-hunter as the demo runs it: its manifests, its configuration at a demo's pace, and what is left of it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import yaml

from pipeline_step.cluster import Cluster
from pipeline_step.config import Config, Flags, load
from pipeline_step.errors import NotReady
from pipeline_step.health import rolled_out
from pipeline_step.model import Object
from pipeline_step.route import observe

FOLDER = Path(__file__).with_name("croc_hunter")
"""The same as examples/croc-hunter in the repository, so that an installed program has it too."""

HOST = "croc-hunter.istio.us.g.csanchez.org"
REPOSITORY = "carlossg/croc-hunter-jenkinsx-serverless"
PRODUCTION, STAGING = "jx-production", "jx-staging"
READY_WITHIN = 30.0  # seconds


@contextlib.contextmanager
def at_home(kubeconfig: Path) -> Iterator[None]:
    """Be in the example's folder, and let the client library find the cluster: it looks in the environment only."""
    before = os.environ.get("KUBECONFIG")
    os.environ["KUBECONFIG"] = str(kubeconfig)
    try:
        with contextlib.chdir(FOLDER):
            yield
    finally:
        os.environ.pop("KUBECONFIG")
        if before is not None:
            os.environ["KUBECONFIG"] = before


def configured(number: int, commit: str, image: str, *, bake: str, poll: str) -> Config:
    """The example's configuration for one pull request, with steps that hold for seconds."""
    flags = Flags(
        number=number, repository=REPOSITORY, sha=commit, image=image, by="a reviewer", steps="1,5,25", bake=bake
    )
    config = load(flags, {})
    strategy = msgspec.structs.replace(config.file.strategy, poll=poll)
    return dataclasses.replace(config, file=msgspec.structs.replace(config.file, strategy=strategy))


def bring_up(cluster: Cluster) -> None:
    """Apply production, staging and the route between them, and wait until both run; raises `NotReady`."""
    refs = []
    for obj in yaml.safe_load_all((FOLDER / "cluster.yaml").read_text()):
        ref = cluster.ref(obj)
        cluster.apply(ref, obj)
        if obj["kind"] == "Deployment":
            refs.append(ref)
    until = time.monotonic() + READY_WITHIN
    while pending := [ref for ref in refs if not rolled_out(cluster.get(ref))[0]]:
        if time.monotonic() > until:
            raise NotReady(f"{pending[0]} did not get ready in the sandbox within {READY_WITHIN:.0f} s")
        time.sleep(0.1)


def users_part(config: Config, cluster: Cluster) -> Object:
    """The route as its user wrote it: without what the API server and controllers note down."""
    routed = observe(config.target, cluster).routed
    kept = ("name", "namespace", "labels", "annotations")
    metadata = {key: value for key, value in routed["metadata"].items() if key in kept}
    return {**routed, "metadata": metadata}


def production_image(config: Config, cluster: Cluster) -> str:
    """What production runs now."""
    image: str = cluster.get(config.workload.ref)["spec"]["template"]["spec"]["containers"][0]["image"]
    return image
