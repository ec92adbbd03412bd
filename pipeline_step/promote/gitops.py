"""Promote by changing the environment repository, as the people who own it would; what applies it is theirs.

Git is told first, by a commit that names the promotion, so that a run that resumes it, or the guard, finds it again.
Production then has to be seen running the judged digest; what Git says is no proof of that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any

from pipeline_step.edits import EDITS
from pipeline_step.edits.discovery import Found, discover
from pipeline_step.edits.interface import Read, Version
from pipeline_step.errors import ConfigError, GitError, HttpError, NotReady, Refused
from pipeline_step.health import is_ready, rolled_out, running_image
from pipeline_step.model import Object, Workload
from pipeline_step.ownership import gitops_owner
from pipeline_step.preview import container_of, digest_of
from pipeline_step.promote import proposal, workload
from pipeline_step.promote.environments import AUTO, FILE, NEVER, environment
from pipeline_step.promote.interface import Promotion, Written
from pipeline_step.promote.repository import Access, Clone, cloned
from pipeline_step.promote.workload import Progress
from pipeline_step.redaction import shown
from pipeline_step.settings import Duration, Label, Strict, choice, chosen, says

if TYPE_CHECKING:
    from pipeline_step.cluster import Cluster
    from pipeline_step.config import Config

WRITES_GIT = True
PUSHES = 10  # tries to push while others push first
PROMOTED, REVERTED = "Pipeline-Step-Promotion: ", "Pipeline-Step-Revert: "

EditChoice: Any = choice("EditChoice", EDITS)


class By(Enum):
    """How the change gets into the branch."""

    PUSH = "push"
    PULL_REQUEST = "pull_request"


class Settings(Strict, frozen=True):
    """The environment repository, how it is changed, and which of its files.

    Without `edits` the file is found by the conventions of Jenkins X. With `environment`, `repository` is the
    cluster's own, whose `jx-requirements.yml` says where that environment lives and how it is promoted to.
    `merge` says who merges the pull request: `others`, such as a person or Keeper, or this `step`.
    """

    repository: Annotated[str, says("URL of the environment repository, or with `environment` of the cluster's own")]
    environment: Annotated[Label | None, says("its key in jx-requirements.yml, such as production")] = None
    branch: Annotated[str, says("the branch that is followed; the repository's default branch unless it is said")] = ""
    by: Annotated[By, says("how the change gets into the branch")] = By.PULL_REQUEST
    merge: Annotated[proposal.Merge, says("who merges the pull request")] = proposal.Merge.OTHERS
    labels: Annotated[tuple[str, ...], says("more labels of the pull request")] = ()
    edits: Annotated[tuple[EditChoice, ...], says("the values to change; found by convention where none is given")] = ()
    ready_within: Annotated[
        Duration, says("how long production may take to run the judged digest once Git says it")
    ] = "10m"
    merge_within: Annotated[Duration, says("how long the pull request may wait to be merged")] = "1h"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Site:
    """The repository to change, cloned, and what to write there."""

    clone: Clone
    access: Access
    version: Version
    environment: str
    labels: tuple[str, ...]

    def named(self, sha: str) -> str:
        """A commit, for people."""
        return f"commit {sha[:12]} of {shown(self.access.url)}"


def current(settings: Settings, production: Workload, cluster: Cluster) -> str:
    """The image in the workload's template."""
    return workload.current(workload.Settings(), production, cluster)


def start(settings: Settings, production: Workload, cluster: Cluster, image: str) -> None:
    """Nothing: what follows the environment repository does it."""


def progress(settings: Settings, production: Workload, cluster: Cluster, image: str) -> Progress:
    """Whether production runs the digest, by its pods; a reference without a digest has to be that of the template."""
    found = cluster.get(production.ref)
    named, wanted = str(container_of(found, production.container)["image"]), digest_of(image)
    done, reason = rolled_out(found)
    if not done:
        return workload.progress(workload.Settings(), production, cluster, image)
    running = digest_of(named) or _digest_of_pods(found, production, cluster)
    if running == wanted if wanted else named == image:
        return Progress(True, False, reason)
    owner = gitops_owner(found) or "what follows the environment repository"
    return Progress(False, False, f"production runs {named} ({running or 'digest unknown'}); {owner} has to change it")


def _digest_of_pods(found: Object, production: Workload, cluster: Cluster) -> str:
    selector = found["spec"]["selector"].get("matchLabels") or {}
    labels = ",".join(f"{key}={value}" for key, value in selector.items())
    pods = [pod for pod in cluster.list_objects("", "pods", production.namespace, labels) if is_ready(pod)]
    try:
        return running_image(pods, production.container)[1] if pods else ""
    except NotReady:
        return ""


def write(settings: Settings, config: Config, promotion: Promotion) -> Written:
    """Bring the repository to say the judged image, as far as that goes now; to be asked again until it is done.

    Raises `ConfigError` where that can't be from what is configured.
    """
    if promotion.change.startswith(proposal.PREFIX):
        waiting = proposal.look(config, promotion.change, settings.merge)
        if waiting is not None:
            return waiting
    try:
        with _site(settings, config, promotion) as site:
            return _write(settings, config, promotion, site)
    except (GitError, HttpError, Refused) as error:
        return Written(done=False, reason=str(error), change=promotion.change)


def withdraw(settings: Settings, config: Config, promotion: Promotion) -> Written:
    """Take back from the repository what `write` may have put there, likewise; done where there is nothing."""
    try:
        with _site(settings, config, promotion) as site:
            return _withdraw(settings, config, promotion, site)
    except (GitError, HttpError, Refused, ConfigError) as error:
        return Written(done=False, reason=str(error), change=promotion.change)


def _write(settings: Settings, config: Config, promotion: Promotion, site: _Site) -> Written:
    clone = site.clone
    title = (
        f"chore: promote {promotion.app} to version {site.version.version or promotion.tag or promotion.digest[:19]}"
    )
    message = _message(title, promotion, PROMOTED)
    for _ in range(PUSHES):
        sha, line = clone.latest(PROMOTED + promotion.key, REVERTED + promotion.key)
        files = edited(settings.edits, site.version, clone.read)
        if line.startswith(PROMOTED) or not files:
            what = site.named(sha) if sha else f"{shown(site.access.url)} says so already"
            return Written(done=True, reason=what, change=promotion.change or sha)
        for path, text in files.items():
            clone.write(path, text)
        change = clone.commit(message)
        if settings.by is By.PULL_REQUEST:
            asked = _asked(settings, config, promotion, site, "promote", title, message)
            return proposal.propose(config, site.access, clone, asked)
        if clone.push():
            return Written(done=True, reason=site.named(change), change=change)
        clone.update()
    raise GitError(f"{shown(site.access.url)} is pushed to by others all the time; nothing was written")


def _withdraw(settings: Settings, config: Config, promotion: Promotion, site: _Site) -> Written:
    clone, merged = site.clone, ""
    if settings.by is By.PULL_REQUEST:
        merged = proposal.close(config, site.access, clone, _branch(promotion, "promote"), promotion.change)
        clone.update()
    back = promotion.previous.rpartition("/")[2] or "what it was before"
    message = _message(f"revert: {promotion.app} to {back}", promotion, REVERTED)
    for _ in range(PUSHES):
        sha, line = clone.latest(PROMOTED + promotion.key, REVERTED + promotion.key)
        if line.startswith(REVERTED) or not (sha or merged):
            return Written(done=True, reason=site.named(sha) if sha else "", change=promotion.change)
        before = clone.head
        change = clone.revert(sha or merged, message)
        if change == before:
            return Written(done=True, reason=f"{shown(site.access.url)} says so already", change=promotion.change)
        if settings.by is By.PULL_REQUEST:
            asked = _asked(settings, config, promotion, site, "revert", message.partition("\n")[0], message)
            waiting = proposal.propose(config, site.access, clone, asked)
            return Written(done=False, reason=waiting.reason, change=promotion.change)
        if clone.push():
            return Written(done=True, reason=site.named(change), change=promotion.change)
        clone.update()
    raise GitError(f"{shown(site.access.url)} is pushed to by others all the time; nothing was taken back")


@contextmanager
def _site(settings: Settings, config: Config, promotion: Promotion) -> Iterator[_Site]:
    """The repository where production's version stands, cloned."""
    access, name = config.access(settings.repository), settings.environment or config.workload.namespace
    with cloned(access, settings.branch) as clone:
        if settings.environment is None:
            version = _version(config, promotion, config.workload.namespace)
            yield _Site(clone=clone, access=access, version=version, environment=name, labels=settings.labels)
            return
        text = clone.read(FILE)
        if text is None:
            raise ConfigError(f"{shown(access.url)} has no {FILE}; leave out promote.gitops.environment")
        place = environment(text, settings.environment, access.url)
        if place.strategy == NEVER:
            raise ConfigError(f"{FILE}: nothing is promoted to {place.key}: its promotionStrategy is Never")
        labels = (*settings.labels, proposal.AUTO_MERGE) if place.strategy == AUTO else settings.labels
        version = _version(config, promotion, place.namespace)
        if not place.remote:
            yield _Site(clone=clone, access=access, version=version, environment=name, labels=labels)
            return
    access = config.access(place.remote)
    with cloned(access) as clone:
        yield _Site(clone=clone, access=access, version=version, environment=name, labels=labels)


def edited(edits: tuple[Any, ...], version: Version, read: Read) -> dict[str, str]:
    """Pure: the files that differ and their new text; raises `ConfigError` that names the file."""
    wanted: list[Found] = [chosen(one) for one in edits] or [discover(version, read)]
    after: dict[str, str] = {}

    def now(path: str) -> str | None:
        return after[path] if path in after else read(path)

    for name, settings in wanted:
        path = EDITS[name].place(settings, version, now)
        text = now(path)
        if text is None:
            raise ConfigError(f"the environment repository has no file {path}")
        try:
            after[path] = EDITS[name].edit(settings, version, text)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error
    return {path: text for path, text in after.items() if text != read(path)}


def _version(config: Config, promotion: Promotion, namespace: str) -> Version:
    return Version(
        app=promotion.app,
        namespace=namespace,
        name=promotion.image.partition("@")[0],
        digest=promotion.digest,
        tag=promotion.tag,
        version=config.version,
        workload=config.file.production.workload or "",
        container=config.file.production.container,
    )


def _asked(
    settings: Settings, config: Config, promotion: Promotion, site: _Site, what: str, title: str, body: str
) -> proposal.Proposal:
    """The pull request, labelled as Jenkins X labels it."""
    dependency = f"dependency/{config.pull.repo or promotion.app}/{promotion.app}"[:49]
    return proposal.Proposal(
        title=title,
        body=body.partition("\n\n")[2],
        branch=_branch(promotion, what),
        labels=(f"env/{site.environment}"[:49], dependency, *site.labels),
        merge=settings.merge,
    )


def _branch(promotion: Promotion, what: str) -> str:
    return f"pipeline-step/{what}-{promotion.app}-{promotion.short}"


def _message(title: str, promotion: Promotion, trailer: str) -> str:
    pull = f"Pull request {promotion.pull_request}, " if promotion.pull_request else ""
    commit = f"commit {promotion.sha[:12]}, " if promotion.sha else ""
    return f"{title}\n\n{pull}{commit}asked for by {promotion.by}\n{promotion.image}\n\n{trailer}{promotion.key}\n"
