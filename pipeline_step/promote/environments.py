"""Pure: the environments of a Jenkins X cluster, from its `jx-requirements.yml`.

Source: github.com/jenkins-x/jx-api, pkg/apis/core/v4beta1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import yaml

from pipeline_step.errors import ConfigError

FILE = "jx-requirements.yml"
AUTO, MANUAL, NEVER = "auto", "manual", "never"
STRATEGIES = {"auto": AUTO, "automatic": AUTO, "manual": MANUAL, "never": NEVER}


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """`remote` is "" where it lives in the cluster's own repository; `strategy` is auto, manual or never."""

    key: str
    remote: str
    namespace: str
    strategy: str


def environment(text: str, key: str, cluster_remote: str) -> Environment:
    """The environment of that key; raises `ConfigError` that lists the keys."""
    try:
        document = yaml.safe_load(text) or {}
        spec = document.get("spec") or document
        listed: dict[str, dict[str, Any]] = {str(one["key"]): one for one in spec.get("environments") or []}
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise ConfigError(f"{FILE}: its environments can't be read: {error}") from error
    if key not in listed:
        raise ConfigError(f"{FILE}: there is no environment {key!r}; there are: {', '.join(sorted(listed)) or 'none'}")
    found = listed[key]
    given = str(found.get("promotionStrategy") or ("Automatic" if key == "staging" else "Manual"))
    if given.lower() not in STRATEGIES:
        raise ConfigError(f"{FILE}: {key}: promotionStrategy {given!r} is none of Auto, Manual and Never")
    owner, name = found.get("owner") or "", found.get("repository") or ""
    if found.get("remoteCluster") and not name:
        raise ConfigError(f"{FILE}: {key} is in another cluster, and its repository is not named")
    server = str(found.get("gitServer") or _server(cluster_remote)).rstrip("/")
    return Environment(
        key=key,
        remote=f"{server}/{owner}/{name}" if name else "",
        namespace=str(found.get("namespace") or f"jx-{key}"),
        strategy=STRATEGIES[given.lower()],
    )


def _server(remote: str) -> str:
    parts = urlsplit(remote)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
