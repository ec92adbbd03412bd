"""Bitbucket Data Center.

Source: https://developer.atlassian.com/server/bitbucket/rest/. The owner is a project's key, or ~USER.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import quote, unquote

from msgspec import Struct, field

from pipeline_step.answer import server_message
from pipeline_step.errors import ConfigError, HttpError, Refused
from pipeline_step.scm import (
    Approval,
    Comment,
    Compose,
    Deployment,
    PullRequest,
    Reaction,
    Repository,
    Role,
    State,
    Status,
    every,
    hidden,
    hide,
    shorten,
    sticky,
    upsert,
)
from pipeline_step.scm.remote import Remote
from pipeline_step.scm.shared import EMOJI, names, number_of

if TYPE_CHECKING:
    from pipeline_step.http import Http

T = TypeVar("T")

COMMENT_LIMIT = 32_768
RENDERS_HTML = False
DESCRIPTION_LIMIT = 255
KEY_LIMIT = 255
URL_LIMIT = 450
PAGE = 100

STATES: Mapping[State, str] = {
    State.PENDING: "INPROGRESS",
    State.SUCCESS: "SUCCESSFUL",
    State.FAILURE: "FAILED",
    State.ERROR: "FAILED",
}
PERMISSIONS: tuple[tuple[str, Role], ...] = (
    ("REPO_ADMIN", Role.ADMIN),
    ("REPO_WRITE", Role.WRITE),
    ("REPO_READ", Role.READ),
)


class _User(Struct):
    name: str
    displayName: str = ""  # noqa: N815
    active: bool = True


class _Participant(Struct):
    user: _User


class _Reviewer(Struct):
    user: _User
    status: str = ""
    lastReviewedCommit: str = ""  # noqa: N815


class _Project(Struct):
    key: str


class _Repo(Struct):
    slug: str
    project: _Project


class _Ref(Struct):
    displayId: str  # noqa: N815
    latestCommit: str  # noqa: N815
    repository: _Repo


class _Commit(Struct):
    id: str


class _Properties(Struct):
    mergeCommit: _Commit | None = None  # noqa: N815


class _Pull(Struct):
    id: int
    version: int
    title: str
    state: str
    fromRef: _Ref  # noqa: N815
    toRef: _Ref  # noqa: N815
    author: _Participant | None = None
    reviewers: list[_Reviewer] = field(default_factory=list)
    properties: _Properties | None = None


class _Comment(Struct):
    id: int
    version: int
    text: str
    createdDate: int  # noqa: N815
    updatedDate: int  # noqa: N815
    author: _User | None = None
    comments: list[_Comment] = field(default_factory=list)


class _Activity(Struct):
    action: str
    commentAction: str = ""  # noqa: N815
    comment: _Comment | None = None


class _Path(Struct):
    toString: str  # noqa: N815


class _Change(Struct):
    path: _Path
    srcPath: _Path | None = None  # noqa: N815


class _Branch(Struct):
    displayId: str  # noqa: N815
    latestCommit: str  # noqa: N815


class _Page(Struct, Generic[T]):
    values: list[T] = field(default_factory=list)
    isLastPage: bool = True  # noqa: N815
    nextPageStart: int | None = None  # noqa: N815


def repository(remote: Remote) -> Repository:
    """Clone addresses are SERVER/scm/PROJECT/NAME, or PROJECT/NAME over SSH; pages are projects/KEY/repos/NAME."""
    match remote.path:
        case (*context, "scm", key, name):
            pass
        case (*context, "projects", key, "repos", name):
            pass
        case (*context, "users", user, "repos", name):
            key = f"~{user}"
        case (key, name):
            context = []
        case _:
            raise ConfigError(f"the Git remote {remote} does not end in scm/PROJECT/NAME")
    server = "/".join([remote.server, *context])
    return Repository(url=f"{server}/rest", owner=key, name=name)


def credentials(repo: Repository, token: str) -> Mapping[str, Mapping[str, str]]:
    """HTTP access tokens of users, projects and repositories."""
    return {repo.url: {"Authorization": f"Bearer {token}"} if token else {}}


def pull_request(http: Http, repo: Repository, number: int) -> PullRequest:
    """GET /pull-requests/{id}."""
    return _pull(repo, _read(http, repo, number))


def _read(http: Http, repo: Repository, number: int) -> _Pull:
    return http.get(f"{_repo(repo)}/pull-requests/{number}").decode(_Pull)


def _pull(repo: Repository, pull: _Pull) -> PullRequest:
    merge_commit = pull.properties.mergeCommit if pull.properties else None
    return PullRequest(
        number=pull.id,
        head=pull.fromRef.latestCommit,
        base=pull.toRef.latestCommit,
        base_branch=pull.toRef.displayId,
        author=pull.author.user.name if pull.author else "",
        open=pull.state == "OPEN",
        from_fork=pull.fromRef.repository != pull.toRef.repository,
        labels=(),
        url=_page_of(repo, pull.id),
        title=pull.title,
        head_branch=pull.fromRef.displayId,
        merged=pull.state == "MERGED",
        merge_commit=merge_commit.id if merge_commit and pull.state == "MERGED" else "",
    )


def changed_files(http: Http, repo: Repository, number: int) -> tuple[str, ...]:
    """GET /pull-requests/{id}/changes."""
    url = f"{_repo(repo)}/pull-requests/{number}/changes"
    changes = _pages(http, url, _Page[_Change], withComments="false")
    return names((one.path.toString, one.srcPath.toString if one.srcPath else None) for one in changes)


def read_file(http: Http, repo: Repository, path: str, ref: str) -> bytes | None:
    """GET /raw/{path}."""
    response = http.get(f"{_repo(repo)}/raw/{quote(path)}", params={"at": ref}, accept=(200, 404))
    return response.body if response.status == 200 else None


def set_status(http: Http, repo: Repository, sha: str, status: Status) -> None:
    """POST /commits/{sha}/builds, which replaces the one with the same key; a URL is needed."""
    key = status.context
    if len(key) > KEY_LIMIT:
        key = hashlib.sha256(key.encode()).hexdigest()
    page = status.url if 0 < len(status.url) <= URL_LIMIT else f"{_pages_of(repo)}/commits/{sha}"
    body = {
        "key": key,
        "name": shorten(status.context, KEY_LIMIT),
        "state": STATES[status.state],
        "description": shorten(status.description, DESCRIPTION_LIMIT),
        "url": page,
    }
    url = f"{_repo(repo)}/commits/{quote(sha, safe='')}/builds"
    http.request("POST", url, json=body, idempotent=True)


def comments(http: Http, repo: Repository, number: int) -> tuple[Comment, ...]:
    """GET /pull-requests/{id}/activities, every page; answers to a comment are inside it."""
    url = f"{_repo(repo)}/pull-requests/{number}/activities"
    found: list[_Comment] = []
    for activity in _pages(http, url, _Page[_Activity]):
        if activity.action == "COMMENTED" and activity.commentAction == "ADDED" and activity.comment:
            found.extend(_with_answers(activity.comment))
    return tuple(_comment(repo, number, raw) for raw in sorted(found, key=lambda raw: raw.createdDate))


def _with_answers(raw: _Comment) -> Iterator[_Comment]:
    yield raw
    for answer in raw.comments:
        yield from _with_answers(answer)


def comment(http: Http, repo: Repository, number: int, comment: str) -> Comment:
    """GET /pull-requests/{id}/comments/{id}."""
    response = http.get(
        f"{_repo(repo)}/pull-requests/{number}/comments/{number_of(comment, 'Bitbucket')}", accept=(200, 404)
    )
    if response.status == 404:
        raise Refused(f"comment {comment} is not on pull request {number} of {repo}")
    return _comment(repo, number, response.decode(_Comment))


def approvals(http: Http, repo: Repository, number: int) -> tuple[Approval, ...]:
    """GET /pull-requests/{id}: its reviewers, each with the commit last looked at."""
    return tuple(
        Approval(
            author=one.user.name,
            author_name=one.user.displayName or one.user.name,
            commit=one.lastReviewedCommit,
            url=_page_of(repo, number),
        )
        for one in _read(http, repo, number).reviewers
        if one.status == "APPROVED" and one.user.active
    )


def upsert_comment(http: Http, repo: Repository, number: int, marker: str, compose: Compose) -> str:
    """PUT /pull-requests/{id}/comments/{id} with its version, or POST /pull-requests/{id}/comments."""
    url = f"{_repo(repo)}/pull-requests/{number}/comments"

    def create(text: str) -> str:
        return _comment(repo, number, http.request("POST", url, json={"text": text}).decode(_Comment)).url

    def update(comment: str, text: str) -> None:
        for accepted in ((200, 409), (200,)):
            version = http.get(f"{url}/{comment}").decode(_Comment).version
            changed = {"text": text, "version": version}
            if http.request("PUT", f"{url}/{comment}", json=changed, accept=accepted).status == 200:
                return

    mine = sticky(comments(http, repo, number), hide(marker), _me(http, repo))
    return upsert(mine, hidden(marker, compose), create, update)


def react(http: Http, repo: Repository, number: int, comment: str, reaction: Reaction) -> None:
    """PUT /comments/{id}/reactions/{emoticon}."""
    place = f"comment-likes/latest/projects/{quote(repo.owner, safe='~')}/repos/{quote(repo.name, safe='')}"
    url = f"{repo.url}/{place}/pull-requests/{number}/comments/{number_of(comment, 'Bitbucket')}/reactions"
    http.request("PUT", f"{url}/{EMOJI[reaction]}")


def role(http: Http, repo: Repository, user: str) -> Role:
    """GET /users with a permission, which the server works out from users, groups and the project."""
    for permission, role in PERMISSIONS:
        params = {
            "filter": user,
            "permission.1": permission,
            "permission.1.projectKey": repo.owner,
            "permission.1.repositorySlug": repo.name,
        }
        if _lists(http, repo, user, params):
            return role
    return Role.NONE


def in_team(http: Http, repo: Repository, team: str, user: str) -> bool:
    """GET /users of a group."""
    return _lists(http, repo, user, {"filter": user, "group": team})


def _lists(http: Http, repo: Repository, user: str, params: Mapping[str, str]) -> bool:
    found = _pages(http, f"{repo.url}/api/latest/users", _Page[_User], **params)
    return any(item.name == user and item.active for item in found)


def merge(http: Http, repo: Repository, number: int, head: str, title: str) -> str:
    """POST /pull-requests/{id}/merge at a version of the pull request, which a push changes."""
    for last in (False, True):
        before = _read(http, repo, number)
        if before.fromRef.latestCommit != head:
            there = before.fromRef.latestCommit
            raise Refused(f"pull request {number} is at {there[:12]}, not at {head[:12]}: it is not merged")
        url = f"{_repo(repo)}/pull-requests/{number}/merge?version={before.version}"
        response = http.request("POST", url, json={"message": title}, accept=(200, 409))
        if response.status == 200:
            return _pull(repo, response.decode(_Pull)).merge_commit
        # A new title or reviewer makes a new version too, and then another try is right.
        if last or _read(http, repo, number).version == before.version:
            break
    raise HttpError(f"pull request {number} can't be merged: {server_message(response)}", 409)


def create_branch(http: Http, repo: Repository, branch: str, sha: str) -> None:
    """POST /branches; 409 says that it exists."""
    url = f"{_repo(repo)}/branches"
    response = http.request("POST", url, json={"name": branch, "startPoint": sha}, accept=(200, 201, 409))
    if response.status != 409:
        return
    for found in _pages(http, url, _Page[_Branch], filterText=branch):
        if found.displayId == branch and found.latestCommit == sha:
            return
    raise Refused(f"branch {branch} of {repo} can't be created at {sha[:12]}: {server_message(response)}")


def open_pull_request(
    http: Http, repo: Repository, branch: str, base_branch: str, title: str, body: str
) -> PullRequest:
    """POST /pull-requests, if none is open for the branch."""
    url = f"{_repo(repo)}/pull-requests"
    params = {"state": "OPEN", "direction": "OUTGOING", "at": f"refs/heads/{branch}"}
    for found in _pages(http, url, _Page[_Pull], **params):
        same = found.fromRef.repository == found.toRef.repository
        if same and (found.fromRef.displayId, found.toRef.displayId) == (branch, base_branch):
            return _pull(repo, found)
    place = {"slug": repo.name, "project": {"key": repo.owner}}
    ends = {
        "fromRef": {"id": f"refs/heads/{branch}", "repository": place},
        "toRef": {"id": f"refs/heads/{base_branch}", "repository": place},
    }
    new = {"title": title, "description": body, **ends}
    return _pull(repo, http.request("POST", url, json=new).decode(_Pull))


def close_pull_request(http: Http, repo: Repository, number: int) -> None:
    """POST /pull-requests/{id}/decline at its version."""
    version = _read(http, repo, number).version
    http.request("POST", f"{_repo(repo)}/pull-requests/{number}/decline?version={version}", json={})


def add_labels(http: Http, repo: Repository, number: int, labels: Sequence[str]) -> None:
    """Bitbucket Data Center has no labels of pull requests."""


def set_deployment(http: Http, repo: Repository, deployment: Deployment) -> None:
    """Data Center's deployments belong to its build servers; the commit status says it all."""


def _repo(repo: Repository) -> str:
    return f"{repo.url}/api/latest/projects/{quote(repo.owner, safe='~')}/repos/{quote(repo.name, safe='')}"


def _pages_of(repo: Repository) -> str:
    return f"{repo.url.removesuffix('/rest')}/projects/{repo.owner}/repos/{repo.name}"


def _page_of(repo: Repository, number: int) -> str:
    return f"{_pages_of(repo)}/pull-requests/{number}"


def _me(http: Http, repo: Repository) -> str:
    """The token's user, whom the server names in a header of every answer."""
    response = http.get(f"{repo.url}/api/latest/application-properties")
    name = unquote(response.headers.get("x-ausername", ""))
    if not name:
        raise HttpError(f"{response.url} names no user; check that the token is set and valid")
    return name


def _pages(http: Http, url: str, shape: type[_Page[T]], **params: str) -> Iterator[T]:
    def page(start: int) -> tuple[list[T], int | None]:
        answer = http.get(url, params={**params, "limit": PAGE, "start": start}).decode(shape)
        return answer.values, None if answer.isLastPage else answer.nextPageStart

    return every(page, 0)


def _comment(repo: Repository, number: int, raw: _Comment) -> Comment:
    return Comment(
        id=str(raw.id),
        author=raw.author.name if raw.author else "",
        author_name=(raw.author.displayName or raw.author.name) if raw.author else "",
        body=raw.text,
        created=raw.createdDate / 1000,
        edited=raw.version > 0 or raw.updatedDate != raw.createdDate,
        url=f"{_page_of(repo, number)}/overview?commentId={raw.id}",
    )
