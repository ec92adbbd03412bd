"""Configuration: `.pipeline-step.yaml`, then the environment, then flags, become one frozen `Config`.

This is the only module that reads the environment.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline_step.config_file import DEFAULT_FILE, File, parse
from pipeline_step.errors import ConfigError
from pipeline_step.lines import LogFormat
from pipeline_step.model import Backend, Outcome, Policy, Ramp, Seconds, Step, Target, Workload
from pipeline_step.preview import fill
from pipeline_step.promote.repository import Access
from pipeline_step.settings import chosen, seconds
from pipeline_step.telemetry import Telemetry, telemetry_of


@dataclass(frozen=True, kw_only=True, slots=True)
class Pull:
    """The pull request that the command works for; `sha` may be short.

    `by` is who asked, `role` what they may do in the repository where that was checked, `asked` the command's words.
    """

    number: int = 0
    sha: str = ""
    owner: str = ""
    repo: str = ""
    image: str = ""
    by: str = ""
    role: str = ""
    asked: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Flags:
    """What the command line may say over file and environment; None and empty mean not given."""

    file: Path | None = None
    contexts: tuple[str, ...] = ()
    number: int | None = None
    sha: str = ""
    repository: str = ""
    image: str = ""
    by: str = ""
    run: str = ""
    overrides: tuple[str, ...] = ()
    steps: str = ""
    bake: str = ""
    deadline: str = ""
    report: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Provider:
    """The Git provider to report to: the repository's `remote`, and where its kind or server can't be told from it.

    Without a `token` nothing is read from it or reported to it. `run_url` is where the pipeline run can be seen.
    """

    remote: str
    kind: str
    server: str
    token: str
    run_url: str
    environments_token: str = ""
    """For environment repositories, where they are not at `remote`'s server or want another."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Config:
    """Everything a command needs to know, settled once."""

    file: File
    pull: Pull
    contexts: tuple[str, ...]
    run: str
    overrides: tuple[str, ...] = ()
    found: str = ""
    """The route that was found in the cluster and why, where the file names none."""
    provider: Provider
    telemetry: Telemetry
    report: str = ""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The environment variables that `alerts` names."""
    version: str = ""
    """The chart's version under review, as pipelines name it."""

    @property
    def stable(self) -> Backend:
        """The production service."""
        production = self.file.production
        return Backend(
            service=production.service,
            namespace=production.namespace,
            port=production.port,
            subset=production.subset,
        )

    @property
    def target(self) -> Target:
        """The production service and its route; raises `ConfigError` where that has not been looked for yet."""
        if self.file.traffic is None:
            raise ConfigError("traffic: this key is needed here: the route is only looked for where there is a cluster")
        router, settings = chosen(self.file.traffic)
        return Target(app=self.file.app, stable=self.stable, router=router, route=settings)

    @property
    def preview(self) -> Backend:
        """The preview's Service; in a namespace that others use too its name gets the pull request's number."""
        preview, production = self.file.preview, self.file.production
        values = {"app": self.file.app, "owner": self.pull.owner, "repo": self.pull.repo, "number": self.pull.number}
        if not self.pull.number:
            raise ConfigError("which pull request? Give --pr NUMBER or set PULL_NUMBER")
        if "{owner}" in preview.namespace + preview.service and not self.pull.owner:
            raise ConfigError("which repository? Give --repo OWNER/NAME or set REPO_OWNER and REPO_NAME")
        namespace = fill(preview.namespace, values)
        default = production.service if self.own_namespace else f"{production.service}-pr-{{number}}"
        return Backend(service=fill(preview.service or default, values), namespace=namespace, port=preview.port)

    @property
    def own_namespace(self) -> bool:
        """Whether each preview has a namespace of its own, made and deleted with it."""
        return "{number}" in self.file.preview.namespace

    @property
    def workload(self) -> Workload:
        """What a promotion changes and a clone copies."""
        production = self.file.production
        if not production.workload:
            raise ConfigError(f"production.workload is needed here: say which, such as deployment/{production.service}")
        kind, name = production.workload.split("/")
        return Workload(resource=f"{kind}s", namespace=production.namespace, name=name, container=production.container)

    @property
    def policy(self) -> Policy:
        """What `decide` follows."""
        strategy = self.file.strategy
        default = Seconds(seconds(strategy.bake))
        return Policy(
            steps=tuple(
                Step(weight=entry.weight, bake=Seconds(seconds(entry.bake)) if entry.bake else default)
                for entry in strategy.listed
            ),
            ramp=Ramp(
                harm_budget=strategy.harm_budget,
                max_weight=strategy.max_weight,
                poll=Seconds(seconds(strategy.poll)),
            )
            if strategy.steps == "auto"
            else None,
            soak=Seconds(seconds(strategy.soak)),
            on_inconclusive=strategy.on_inconclusive,
            deadline=Seconds(seconds(strategy.deadline)),
            promote=self.file.promote is not None,
            missing={
                Outcome.NO_DATA: strategy.on_no_data,
                Outcome.TOO_LITTLE: strategy.on_too_little,
                Outcome.UNREACHABLE: strategy.on_unreachable,
            },
        )

    @property
    def gates(self) -> dict[str, tuple[str, Any]]:
        """The gates by a name of their own (KIND, KIND-2 ...): their kind and their settings."""
        named: dict[str, tuple[str, Any]] = {}
        for choice in self.file.gates:
            kind, settings = chosen(choice)
            count = sum(existing == kind for existing, _ in named.values())
            named[kind if not count else f"{kind}-{count + 1}"] = (kind, settings)
        return named

    @property
    def promoter(self) -> tuple[str, Any] | None:
        """The promoter's name and settings, or None where `promote` is not configured."""
        return chosen(self.file.promote) if self.file.promote is not None else None

    def access(self, remote: str) -> Access:
        """Another repository, with the token that is meant for its server; a token goes to no other server."""
        provider = self.provider
        same = urlsplit(remote).netloc.rpartition("@")[2] == urlsplit(provider.remote).netloc.rpartition("@")[2]
        token = provider.environments_token or (provider.token if same else "")
        return Access(url=remote, token=token, kind=provider.kind if same else "")


def load(flags: Flags, environ: Mapping[str, str] = os.environ, text: str | None = None) -> Config:
    """Read and check everything; raises `ConfigError` with file, path, value and what is valid.

    `text` is the configuration where it was read from elsewhere than a file here.
    """
    path = named_file(flags, environ) or Path(DEFAULT_FILE)
    file = parse(_read(path) if text is None else text, str(path), _overrides(flags))
    pull = pull_of(flags, environ)
    return Config(
        file=file,
        pull=pull,
        contexts=flags.contexts or file.contexts or ("",),
        run=flags.run or environ.get("PIPELINE_STEP_RUN") or environ.get("BUILD_ID") or os.urandom(4).hex(),
        overrides=flags.overrides,
        provider=provider_of(pull, environ),
        report=flags.report or file.report,
        telemetry=telemetry_of(environ),
        version=environ.get("VERSION", ""),
        secrets=_secrets(file, environ),
    )


def named_file(flags: Flags, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The configuration's file where flags or environment name one; an empty name is none."""
    if flags.file and str(flags.file) != ".":
        return flags.file
    return Path(named) if (named := environ.get("PIPELINE_STEP_CONFIG")) else None


def log_format(flag: str | None, environ: Mapping[str, str] = os.environ) -> LogFormat:
    """How lines are written: as the flag says, else the environment; raises `ConfigError`."""
    wanted = flag or environ.get("PIPELINE_STEP_LOG_FORMAT") or LogFormat.TEXT.value
    try:
        return LogFormat(wanted)
    except ValueError as error:
        valid = ", ".join(one.value for one in LogFormat)
        raise ConfigError(f"PIPELINE_STEP_LOG_FORMAT={wanted!r}: expected one of {valid}") from error


def _secrets(file: File, environ: Mapping[str, str]) -> dict[str, str]:
    named = [getattr(chosen(alert)[1], "url_env", None) for alert in file.alerts]
    return {name: environ[name] for name in named if name and name in environ}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path}: no such file; write one (the README shows how) or name another with --config"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: can't be read: {error}") from error


def _overrides(flags: Flags) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if flags.steps in ("auto", "blue-green"):
        given["steps"] = flags.steps
    elif flags.steps:
        try:
            given["steps"] = [int(part) for part in flags.steps.split(",")]
        except ValueError as error:
            raise ConfigError(
                f"--steps {flags.steps!r}: expected whole numbers such as 1,5,25, or auto, or blue-green"
            ) from error
    return given | {key: getattr(flags, key) for key in ("bake", "deadline") if getattr(flags, key)}


def pull_of(flags: Flags, environ: Mapping[str, str] = os.environ) -> Pull:
    """The pull request that flags and environment name."""
    owner, repo = environ.get("REPO_OWNER", ""), environ.get("REPO_NAME", "")
    if flags.repository:
        owner, slash, repo = flags.repository.rpartition("/")
        if not (owner and slash and repo):
            raise ConfigError(f"--repo {flags.repository!r}: expected OWNER/NAME")
    number = environ.get("PULL_NUMBER", "")
    if flags.number is None and number and not number.isdigit():
        raise ConfigError(f"PULL_NUMBER={number!r}: expected the number of a pull request")
    return Pull(
        number=flags.number if flags.number is not None else int(number or 0),
        sha=flags.sha or environ.get("PULL_PULL_SHA", ""),
        owner=owner,
        repo=repo,
        image=flags.image or environ.get("PIPELINE_STEP_IMAGE", ""),
        by=flags.by or environ.get("PIPELINE_STEP_BY", "") or _user(),
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's uid has no name
        return f"uid {os.getuid()}"


def provider_of(pull: Pull, environ: Mapping[str, str] = os.environ) -> Provider:
    """The Git provider that the environment names for the pull request's repository."""
    token = environ.get("GIT_TOKEN") or environ.get("GITHUB_TOKEN") or ""
    if not token and (file := environ.get("GIT_TOKEN_FILE")):
        token = _read(Path(file)).strip()
    server = environ.get("GIT_SERVER", "")
    return Provider(
        remote=_remote(pull, server, environ.get("REPO_URL", "")),
        kind=environ.get("GIT_KIND", ""),
        server=server,
        token=token,
        run_url=environ.get("PIPELINE_STEP_RUN_URL", ""),
        environments_token=environ.get("PIPELINE_STEP_ENVIRONMENTS_TOKEN", ""),
    )


def _remote(pull: Pull, server: str, url: str) -> str:
    """The repository's remote: on `server`, else on that of `url`, which pipelines set; github.com where neither is."""
    if not pull.owner:
        return url
    name = f"{pull.owner}/{pull.repo}"
    if not server and url:
        if url.rstrip("/").removesuffix(".git").endswith((f"/{name}", f":{name}")):
            return url
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https"):
            raise ConfigError(
                f"REPO_URL is not of the repository {name}: set GIT_SERVER, or give --repo as REPO_URL has it"
            )
        server = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    return f"{server or 'https://github.com'}/{name}"
