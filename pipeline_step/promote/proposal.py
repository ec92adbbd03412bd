"""A change of a repository as a pull request: opened once, labelled, waited for or merged, or closed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from pipeline_step.errors import HttpError, Refused
from pipeline_step.promote.interface import Written
from pipeline_step.promote.repository import Access, Clone

if TYPE_CHECKING:
    from pipeline_step.config import Config
    from pipeline_step.http import Http
    from pipeline_step.scm import PullRequest, Repository, Scm

PREFIX = "pull request "
AUTO_MERGE = "updatebot"  # what Keeper merges by itself in Jenkins X


class Merge(Enum):
    """Who merges the pull request."""

    OTHERS = "others"
    STEP = "step"


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """A pull request as it should be."""

    title: str
    body: str
    branch: str
    labels: tuple[str, ...]
    merge: Merge


class Desk(NamedTuple):
    """A repository at its provider."""

    scm: Scm
    http: Http
    repository: Repository


def desk(config: Config, access: Access) -> Desk:
    """Where pull requests of this repository are; raises `ConfigError` where no provider is known for it."""
    from pipeline_step.config import Provider
    from pipeline_step.reporter import connect

    server = config.provider.server if access.kind else ""
    provider = Provider(remote=access.url, kind=access.kind, server=server, token=access.token, run_url="")
    return Desk(*connect(provider))


def propose(config: Config, access: Access, clone: Clone, asked: Proposal) -> Written:
    """Push the commit to a branch of its own, and open and label the pull request; both only where they are missing."""
    scm, http, repository = desk(config, access)
    clone.push(asked.branch)  # one that is there already has the same change, perhaps with commits of bots on top
    pull = scm.open_pull_request(http, repository, asked.branch, clone.branch, asked.title, asked.body)
    change = f"{PREFIX}{pull.number} of {access.url}"
    try:
        scm.add_labels(http, repository, pull.number, asked.labels)
    except HttpError as error:
        return Written(done=False, reason=f"{pull.url} can't be labelled: {error}", change=change)
    return _merged(scm, http, repository, pull, asked.merge, change) or Written(
        done=False, reason=f"{pull.url} was merged", change=change
    )


def look(config: Config, change: str, merge: Merge) -> Written | None:
    """What a pull request that was opened waits for; None once it is merged."""
    number, _, url = change.removeprefix(PREFIX).partition(" of ")
    try:
        scm, http, repository = desk(config, config.access(url))
        pull = scm.pull_request(http, repository, int(number))
        return _merged(scm, http, repository, pull, merge, change)
    except HttpError as error:
        return Written(done=False, reason=str(error), change=change)


def _merged(
    scm: Scm, http: Http, repository: Repository, pull: PullRequest, merge: Merge, change: str
) -> Written | None:
    from pipeline_step.scm import merge_pinned

    if pull.merged:
        return None
    if not pull.open:
        return Written(done=False, stuck=True, reason=f"{pull.url} was closed without being merged", change=change)
    if merge is Merge.OTHERS:
        return Written(done=False, reason=f"{pull.url} waits to be merged", change=change)
    try:
        # Bots may have added commits: what is merged is the head as it is read now.
        head = scm.pull_request(http, repository, pull.number).head
        merge_pinned(scm, http, repository, pull.number, head, pull.title)
    except (HttpError, Refused) as error:
        return Written(done=False, reason=f"{pull.url} can't be merged yet: {error}", change=change)
    return None


def close(config: Config, access: Access, clone: Clone, branch: str, change: str) -> str:
    """See that a pull request is not merged any more, and take its branch away; the merge commit where it was merged.

    One that was opened by a run that died before it could say so is found by its branch.
    """
    scm, http, repository = desk(config, access)
    if not change.startswith(PREFIX):
        if not clone.has(branch):
            return ""
        number = scm.open_pull_request(http, repository, branch, clone.branch, "to be closed", "").number
    else:
        number = int(change.removeprefix(PREFIX).partition(" of ")[0])
    pull = scm.pull_request(http, repository, number)
    if pull.open and not pull.merged:
        scm.close_pull_request(http, repository, number)
        pull = scm.pull_request(http, repository, number)
    if not pull.merged:
        clone.remove(branch)
        return ""
    return pull.merge_commit
