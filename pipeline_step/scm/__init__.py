"""Git providers: one module each, in a visible table.

A provider is a module that offers the functions of `Scm`. It translates between the provider's own states and
`State`; `report.py` writes the texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Annotated, Protocol, TypeVar

from msgspec import Meta

from pipeline_step.errors import HttpError, Refused

if TYPE_CHECKING:
    from pipeline_step.http import Http
    from pipeline_step.scm.remote import Remote

T = TypeVar("T")
Compose = Callable[[str], str]
Time = Annotated[datetime, Meta(tz=True)]
"""A point in time in a provider's answer, which must name its time zone."""

MAX_PAGES = 500


class State(Enum):
    """What a commit status says; each provider has a table from these to its own words."""

    PENDING = "pending"
    SUCCESS = "success"
    FAILURE = "failure"
    ERROR = "error"


class DeploymentState(Enum):
    """What a deployment says, in GitHub's words; `INACTIVE` is one that is gone."""

    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    SUCCESS = "success"
    FAILURE = "failure"
    ERROR = "error"
    INACTIVE = "inactive"


class Role(IntEnum):
    """What someone may do in a repository; each includes those below it."""

    NONE = 0
    READ = 1
    TRIAGE = 2
    WRITE = 3
    MAINTAIN = 4
    ADMIN = 5


class Reaction(Enum):
    """The answer to a commanding comment that needs no words."""

    SEEN = "seen"
    DONE = "done"
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True, slots=True)
class Repository:
    """Where a repository lives: `url` is the API's base, such as https://api.github.com.

    `owner` may have several parts: GitLab's groups, or Azure's project.
    """

    url: str
    owner: str
    name: str

    def __str__(self) -> str:
        return f"{self.owner}/{self.name}"


@dataclass(frozen=True, kw_only=True, slots=True)
class PullRequest:
    """A pull request as every provider can tell it.

    `head` and `base` are full SHAs of commits; `base` is "" where the provider does not say. `from_fork` is
    true also where the head's repository is gone. `merge_commit` is the SHA that merging made, if it is told.
    """

    number: int
    head: str
    base: str
    base_branch: str
    author: str
    open: bool
    from_fork: bool
    labels: tuple[str, ...]
    url: str
    title: str = ""
    head_branch: str = ""
    merged: bool = False
    merge_commit: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """A commit status; `context` is ours alone, never that of the job that runs us."""

    state: State
    context: str
    description: str
    url: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Comment:
    """A comment on a pull request. `created` is in seconds since 1970.

    `author` is what `Scm.role` and the lists of allowed users take: a name that its bearer can't choose freely, and
    so not always one that people know; `author_name` is for people. `edited` is true if the text may differ from
    what was first posted.
    """

    id: str
    author: str
    author_name: str
    body: str
    created: float
    edited: bool
    url: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Approval:
    """Someone's approval of a pull request that is in force; `author` as in `Comment`.

    `commit` is the SHA that was approved, "" where the provider does not say.
    """

    author: str
    author_name: str
    commit: str
    url: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Deployment:
    """A deployment of a commit to an environment, with its state now.

    `contexts` are the status contexts that must have succeeded for the deployment to be accepted.
    """

    sha: str
    environment: str
    state: DeploymentState
    description: str
    url: str
    log_url: str = ""
    production: bool = False
    contexts: tuple[str, ...] = ()


class Scm(Protocol):
    """What a provider's module offers. Every function raises `HttpError`; none of them retries a decision."""

    @property
    def COMMENT_LIMIT(self) -> int:  # noqa: N802
        """The most characters of a comment's body."""

    @property
    def RENDERS_HTML(self) -> bool:  # noqa: N802
        """Whether a comment's Markdown may hold HTML, such as <details>; else the tags would be read as text."""

    def repository(self, remote: Remote) -> Repository:
        """The repository of a Git remote; raises `ConfigError` if its path is none of this provider's."""

    def credentials(self, repo: Repository, token: str) -> Mapping[str, Mapping[str, str]]:
        """Headers by base URL, for `Http(headers=...)`."""

    def pull_request(self, http: Http, repo: Repository, number: int) -> PullRequest:
        """Read a pull request."""

    def changed_files(self, http: Http, repo: Repository, number: int) -> tuple[str, ...]:
        """Paths that a pull request adds, changes, removes or renames; `HttpError` if they may not be all."""

    def read_file(self, http: Http, repo: Repository, path: str, ref: str) -> bytes | None:
        """A file at a commit or branch; None where there is none."""

    def set_status(self, http: Http, repo: Repository, sha: str, status: Status) -> None:
        """Create or replace the status of a commit in its context."""

    def comments(self, http: Http, repo: Repository, number: int) -> tuple[Comment, ...]:
        """Every comment on a pull request, oldest first."""

    def comment(self, http: Http, repo: Repository, number: int, comment: str) -> Comment:
        """Read one comment; raises `Refused` if it is on another pull request."""

    def approvals(self, http: Http, repo: Repository, number: int) -> tuple[Approval, ...]:
        """Who approves a pull request now, by review or vote."""

    def upsert_comment(self, http: Http, repo: Repository, number: int, marker: str, compose: Compose) -> str:
        """Create the comment that bears `marker` and is ours, or update it; return its URL.

        `compose` makes its text from the one that it has, which is "" where there is no comment yet.
        """

    def react(self, http: Http, repo: Repository, number: int, comment: str, reaction: Reaction) -> None:
        """Put a reaction on a comment; nothing happens where the provider has none."""

    def role(self, http: Http, repo: Repository, user: str) -> Role:
        """What `user` may do in the repository now; `NONE` for a stranger."""

    def in_team(self, http: Http, repo: Repository, team: str, user: str) -> bool:
        """Whether `user` is in `team` now: a team's name of this owner, or ORG/TEAM."""

    def merge(self, http: Http, repo: Repository, number: int, head: str, title: str) -> str:
        """Merge if the head is still `head`, else raise `Refused`; return the merge commit's SHA, or "" if untold."""

    def create_branch(self, http: Http, repo: Repository, branch: str, sha: str) -> None:
        """Create a branch at a commit; nothing happens if it is there already, at that commit."""

    def open_pull_request(
        self, http: Http, repo: Repository, branch: str, base_branch: str, title: str, body: str
    ) -> PullRequest:
        """Open a pull request of a branch of the same repository, or return the one that is open already."""

    def close_pull_request(self, http: Http, repo: Repository, number: int) -> None:
        """Close an open pull request without merging it."""

    def add_labels(self, http: Http, repo: Repository, number: int, labels: Sequence[str]) -> None:
        """Put labels on a pull request beside those that it has; nothing happens where the provider has none."""

    def set_deployment(self, http: Http, repo: Repository, deployment: Deployment) -> None:
        """Create the deployment or set its state; nothing happens where the provider has none."""


def _azure() -> Scm:
    from pipeline_step.scm import azure

    return azure


def _bitbucket_cloud() -> Scm:
    from pipeline_step.scm import bitbucket_cloud

    return bitbucket_cloud


def _bitbucket_dc() -> Scm:
    from pipeline_step.scm import bitbucket_dc

    return bitbucket_dc


def _gitea() -> Scm:
    from pipeline_step.scm import gitea

    return gitea


def _github() -> Scm:
    from pipeline_step.scm import github

    return github


def _gitlab() -> Scm:
    from pipeline_step.scm import gitlab

    return gitlab


SCMS: Mapping[str, Callable[[], Scm]] = {
    "azure": _azure,
    "bitbucket_cloud": _bitbucket_cloud,
    "bitbucket_dc": _bitbucket_dc,
    "forgejo": _gitea,
    "gitea": _gitea,
    "github": _github,
    "gitlab": _gitlab,
}
"""Every provider by its name in configuration; the value loads its module."""


def sticky(comments: Iterable[Comment], marker: str, author: str) -> Comment | None:
    """The first comment of `author` that has `marker` on a line of its own, so that quoting it is not enough."""
    for comment in comments:
        if comment.author == author and marker in map(str.strip, comment.body.splitlines()):
            return comment
    return None


def upsert(
    mine: Comment | None, compose: Compose, create: Callable[[str], str], update: Callable[[str, str], None]
) -> str:
    """One write, or none where nothing changes: `create(text)` gives the URL, `update(id, text)` changes `mine`."""
    before = mine.body.replace("\r\n", "\n") if mine else ""
    body = compose(before)
    if mine is None:
        return create(body)
    if body.strip() != before.strip():
        update(mine.id, body)
    return mine.url


def hidden(marker: str, compose: Compose) -> Compose:
    """`compose` for a provider where `marker` stands in the comment as `hide` writes it."""
    return lambda before: compose(before.replace(hide(marker), marker)).replace(marker, hide(marker))


def hide(marker: str) -> str:
    """`marker`, an HTML comment, in Markdown that shows HTML as text: a definition of a link that nothing uses."""
    return f"[//]: # ({marker.removeprefix('<!--').removesuffix('-->').strip()})"


def every(page: Callable[[int], tuple[Sequence[T], int | None]], first: int) -> Iterator[T]:
    """The items of all pages: `page(cursor)` gives one page's items and the next cursor, or None at the end."""
    cursor: int | None = first
    for _ in range(MAX_PAGES):
        if cursor is None:
            return
        items, cursor = page(cursor)
        yield from items
    raise HttpError(f"the provider's list has more than {MAX_PAGES} pages")


def shorten(text: str, limit: int) -> str:
    """`text` on one line and of at most `limit` characters, with an ellipsis where it was cut."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def merge_pinned(scm: Scm, http: Http, repo: Repository, number: int, head: str, title: str) -> str:
    """Merge a pull request if its head is `head`, and make sure of it; return the merge commit, or "" if untold.

    Repeating it is safe: a pull request that is already merged at `head` counts as done. Raises `Refused` if it
    is closed or its head has moved, and `HttpError` if the provider refuses or the outcome is unknown.
    """
    before = scm.pull_request(http, repo, number)
    if before.head != head:
        raise Refused(f"pull request {number} is at {before.head[:12]}, not at {head[:12]}: it is not merged")
    if before.merged:
        return before.merge_commit
    if not before.open:
        raise Refused(f"pull request {number} is closed: it can't be merged")
    try:
        return scm.merge(http, repo, number, head, title)
    except HttpError:
        # The answer may be lost and the merge done.
        after = scm.pull_request(http, repo, number)
        if after.merged and after.head == head:
            return after.merge_commit
        raise
