"""Git remotes: which provider one belongs to, and where its repository is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from pipeline_step.errors import ConfigError
from pipeline_step.redaction import shown
from pipeline_step.scm import SCMS, Repository, Scm

ALIASES: Mapping[str, str] = {
    "ghe": "github",
    "bitbucket": "bitbucket_cloud",
    "bitbucketcloud": "bitbucket_cloud",
    "bitbucketserver": "bitbucket_dc",
    "bitbucketdatacenter": "bitbucket_dc",
    "stash": "bitbucket_dc",
    "azuredevops": "azure",
}
"""Other names that Jenkins X and Lighthouse use in GIT_KIND."""

HOSTS: Mapping[str, str] = {
    "github.com": "github",
    "gitlab.com": "gitlab",
    "gitea.com": "gitea",
    "codeberg.org": "forgejo",
    "bitbucket.org": "bitbucket_cloud",
    "dev.azure.com": "azure",
    "visualstudio.com": "azure",
}
"""Public hosts, with the hosts below them."""

FIRST_LABELS: Mapping[str, str] = {
    "github": "github",
    "gitlab": "gitlab",
    "gitea": "gitea",
    "forgejo": "forgejo",
    "bitbucket": "bitbucket_dc",
    "stash": "bitbucket_dc",
}
"""What a private host is usually called, such as gitlab.example.com."""

SSH_HOSTS: Mapping[str, str] = {
    "ssh.github.com": "github.com",
    "altssh.gitlab.com": "gitlab.com",
    "altssh.bitbucket.org": "bitbucket.org",
    "ssh.dev.azure.com": "dev.azure.com",
    "vs-ssh.visualstudio.com": "dev.azure.com",
}
"""Hosts that only speak SSH, and where their API and pages are."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Remote:
    """A Git remote: `server` is the base URL of its web pages, `path` the parts of the repository's path."""

    server: str
    path: tuple[str, ...]

    @property
    def host(self) -> str:
        """The host name of the server."""
        return urlsplit(self.server).hostname or ""

    def __str__(self) -> str:
        return f"{self.server}/{'/'.join(self.path)}"


def parse_remote(url: str, server: str = "") -> Remote:
    """Read a remote in any of Git's spellings: https, ssh, or user@host:path.

    `server` (such as GIT_SERVER) names the web server where it differs from an SSH remote's host.
    Raises `ConfigError` if `url` is none of them.
    """
    text = url.strip()
    scp_like = "://" not in text and ":" in text
    if scp_like:
        host_part, _, path = text.partition(":")
        text = f"ssh://{host_part}/{path}"
    try:
        parts = urlsplit(text)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        host, port = "", None
    names = tuple(unquote(name) for name in parts.path.split("/") if name) if host else ()
    web = parts.scheme in ("http", "https") if host else False
    if (
        not names
        or any(name in (".", "..") for name in names)
        or not (web or parts.scheme in ("ssh", "git+ssh", "git"))
    ):
        raise ConfigError(
            f"the Git remote {shown(url) if '://' in url else url!r} is not valid; valid are "
            "https://HOST/OWNER/NAME, ssh://git@HOST/OWNER/NAME and git@HOST:OWNER/NAME"
        )
    names = (*names[:-1], names[-1].removesuffix(".git"))
    if server:
        return Remote(server=server.rstrip("/"), path=names)
    if not web:
        return Remote(server=f"https://{SSH_HOSTS.get(host, host)}", path=names)
    return Remote(server=f"{parts.scheme}://{host}{f':{port}' if port else ''}", path=names)


def detect(remote: Remote, kind: str = "") -> str:
    """The provider's name in `SCMS`: `kind` if given (such as GIT_KIND), else by the remote's host.

    Raises `ConfigError` that lists the valid names.
    """
    valid = ", ".join(sorted(SCMS))
    if kind:
        plain = kind.strip().lower().replace("-", "_")
        name = ALIASES.get(plain.replace("_", ""), plain)
        if name in SCMS:
            return name
        raise ConfigError(f"the Git provider {kind!r} is unknown; valid are {valid}")
    host = remote.host
    for known, name in HOSTS.items():
        if host == known or host.endswith("." + known):
            return name
    first = host.partition(".")[0]
    if first in FIRST_LABELS:
        return FIRST_LABELS[first]
    raise ConfigError(f"the Git provider of {host} can't be told from its name; set it (GIT_KIND) to one of {valid}")


def locate(url: str, *, kind: str = "", server: str = "") -> tuple[Scm, Repository]:
    """The provider and the repository of a Git remote. Raises `ConfigError`."""
    remote = parse_remote(url, server)
    scm = SCMS[detect(remote, kind)]()
    return scm, scm.repository(remote)


def owner_and_name(remote: Remote, api: str, *, groups: bool = False) -> Repository:
    """The usual shape OWNER/NAME, with any number of `groups` before the name if they are allowed."""
    fits = len(remote.path) >= 2 if groups else len(remote.path) == 2
    if not fits:
        raise ConfigError(f"the Git remote {remote} does not end in OWNER/NAME")
    return Repository(url=api, owner="/".join(remote.path[:-1]), name=remote.path[-1])
