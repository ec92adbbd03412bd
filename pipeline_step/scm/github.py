"""GitHub and GitHub Enterprise Server.

Source: https://docs.github.com/rest, and GitHub's published OpenAPI description, which tests/contract holds this
module to.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from msgspec import UNSET, Struct, UnsetType, field

from pipeline_step.errors import HttpError, Refused
from pipeline_step.scm import (
    Approval,
    Comment,
    Compose,
    Deployment,
    DeploymentState,
    PullRequest,
    Reaction,
    Repository,
    Role,
    State,
    Status,
    Time,
    every,
    shorten,
    sticky,
    upsert,
)
from pipeline_step.scm.remote import Remote, owner_and_name
from pipeline_step.scm.shared import EMOJI, names, number_of, same_branch

if TYPE_CHECKING:
    from pipeline_step.http import Http

T = TypeVar("T")

COMMENT_LIMIT = 65_536
RENDERS_HTML = True
DESCRIPTION_LIMIT = 140
PAGE = 100
FILES_LIMIT = 3_000

STATES: Mapping[State, str] = {
    State.PENDING: "pending",
    State.SUCCESS: "success",
    State.FAILURE: "failure",
    State.ERROR: "error",
}
ROLES: Mapping[str, Role] = {
    "none": Role.NONE,
    "read": Role.READ,
    "triage": Role.TRIAGE,
    "write": Role.WRITE,
    "maintain": Role.MAINTAIN,
    "admin": Role.ADMIN,
}


class _User(Struct):
    login: str
    type: str = ""


class _Named(Struct):
    name: str


class _Repo(Struct):
    full_name: str


class _Branch(Struct):
    sha: str
    ref: str
    repo: _Repo | None = None


class _Pull(Struct):
    number: int
    title: str
    state: str
    user: _User | None
    head: _Branch
    base: _Branch
    html_url: str
    labels: list[_Named] = field(default_factory=list)
    merged: bool | None = None
    merged_at: str | None = None
    merge_commit_sha: str | None = None


class _Comment(Struct):
    id: int
    created_at: Time
    updated_at: Time
    html_url: str
    issue_url: str
    user: _User | None = None
    body: str = ""
    performed_via_github_app: dict[str, Any] | UnsetType | None = UNSET


class _Review(Struct):
    state: str
    html_url: str
    user: _User | None = None
    commit_id: str | None = None


class _File(Struct):
    filename: str
    previous_filename: str | None = None


class _Content(Struct):
    content: str = ""
    encoding: str = ""


class _Permission(Struct):
    permission: str
    role_name: str = ""


class _Membership(Struct):
    state: str


class _Merge(Struct):
    sha: str = ""
    merged: bool = False
    message: str = ""


class _Object(Struct):
    sha: str


class _Ref(Struct):
    object: _Object


class _Deployment(Struct):
    id: int


def repository(remote: Remote) -> Repository:
    """github.com has its API on a host of its own, an Enterprise Server under /api/v3."""
    api = "https://api.github.com" if remote.host == "github.com" else f"{remote.server}/api/v3"
    return owner_and_name(remote, api)


def credentials(repo: Repository, token: str) -> Mapping[str, Mapping[str, str]]:
    """Any kind of token (personal, app, Actions) as a bearer."""
    headers = {"Accept": "application/vnd.github+json, application/json", "X-GitHub-Api-Version": "2022-11-28"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return {repo.url: headers}


def pull_request(http: Http, repo: Repository, number: int) -> PullRequest:
    """GET /pulls/{number}."""
    return _pull(http.get(f"{_repo(repo)}/pulls/{number}").decode(_Pull))


def _pull(pull: _Pull) -> PullRequest:
    # Lists of pull requests tell only when it was merged.
    merged = pull.merged_at is not None if pull.merged is None else pull.merged
    same = pull.head.repo is not None and pull.base.repo is not None
    return PullRequest(
        number=pull.number,
        head=pull.head.sha,
        base=pull.base.sha,
        base_branch=pull.base.ref,
        author=pull.user.login if pull.user else "",
        open=pull.state == "open",
        from_fork=not (same and pull.head.repo == pull.base.repo),
        labels=tuple(label.name for label in pull.labels),
        url=pull.html_url,
        title=pull.title,
        head_branch=pull.head.ref,
        merged=merged,
        # Before the merge this field holds the trial merge's commit.
        merge_commit=(pull.merge_commit_sha or "") if merged else "",
    )


def changed_files(http: Http, repo: Repository, number: int) -> tuple[str, ...]:
    """GET /pulls/{number}/files; GitHub tells no more than 3,000."""
    files = tuple(_pages(http, f"{_repo(repo)}/pulls/{number}/files", _File))
    if len(files) >= FILES_LIMIT:
        raise HttpError(f"GitHub lists only {FILES_LIMIT} changed files, and pull request {number} has as many or more")
    return names((file.filename, file.previous_filename) for file in files)


def read_file(http: Http, repo: Repository, path: str, ref: str) -> bytes | None:
    """GET /contents/{path}; up to 1 MB."""
    url = f"{_repo(repo)}/contents/{quote(path)}"
    response = http.get(url, params={"ref": ref}, accept=(200, 404))
    if response.status == 404:
        return None
    file = response.decode(_Content)
    try:
        if file.encoding == "base64":
            return base64.b64decode(file.content)
    except binascii.Error:
        pass
    raise HttpError(f"{response.url} is not a file of at most 1 MB")


def set_status(http: Http, repo: Repository, sha: str, status: Status) -> None:
    """POST /statuses/{sha}."""
    body = {
        "state": STATES[status.state],
        "context": status.context,
        "description": shorten(status.description, DESCRIPTION_LIMIT),
    }
    if status.url:
        body["target_url"] = status.url
    http.request("POST", f"{_repo(repo)}/statuses/{quote(sha, safe='')}", json=body)


def comments(http: Http, repo: Repository, number: int) -> tuple[Comment, ...]:
    """GET /issues/{number}/comments, every page."""
    return tuple(_comment(raw) for raw in _raw_comments(http, repo, number))


def comment(http: Http, repo: Repository, number: int, comment: str) -> Comment:
    """GET /issues/comments/{id}."""
    raw = http.get(f"{_repo(repo)}/issues/comments/{number_of(comment, 'GitHub')}").decode(_Comment)
    if raw.issue_url.rpartition("/")[2] != str(number):
        raise Refused(f"comment {comment} is not on pull request {number} of {repo}")
    return _comment(raw)


def approvals(http: Http, repo: Repository, number: int) -> tuple[Approval, ...]:
    """GET /pulls/{number}/reviews, oldest first; each person's last one counts, and a mere comment changes nothing."""
    last: dict[str, _Review] = {}
    for review in _pages(http, f"{_repo(repo)}/pulls/{number}/reviews", _Review):
        if review.user and review.state not in ("COMMENTED", "PENDING"):
            last[review.user.login] = review
    return tuple(
        Approval(author=login, author_name=login, commit=review.commit_id or "", url=review.html_url)
        for login, review in last.items()
        if review.state == "APPROVED"
    )


def upsert_comment(http: Http, repo: Repository, number: int, marker: str, compose: Compose) -> str:
    """PATCH /issues/comments/{id}, or POST /issues/{number}/comments."""
    raw = tuple(_raw_comments(http, repo, number))
    login = _login(http, repo)
    if login is None:
        # The token is an app's, which has no user of its own: ours is among those that an app wrote.
        raw = tuple(item for item in raw if _by_app(item))
        login = next((item.user.login for item in raw if item.user and marker in item.body), "")

    def create(body: str) -> str:
        url = f"{_repo(repo)}/issues/{number}/comments"
        return http.request("POST", url, json={"body": body}).decode(_Comment).html_url

    def update(comment: str, body: str) -> None:
        url = f"{_repo(repo)}/issues/comments/{comment}"
        http.request("PATCH", url, json={"body": body}, idempotent=True)

    return upsert(sticky(map(_comment, raw), marker, login), compose, create, update)


def react(http: Http, repo: Repository, number: int, comment: str, reaction: Reaction) -> None:
    """POST /issues/comments/{id}/reactions; the same reaction twice is one."""
    url = f"{_repo(repo)}/issues/comments/{number_of(comment, 'GitHub')}/reactions"
    http.request("POST", url, json={"content": EMOJI[reaction]}, idempotent=True)


def role(http: Http, repo: Repository, user: str) -> Role:
    """GET /collaborators/{user}/permission; a custom role counts as the basic one it is made from."""
    url = f"{_repo(repo)}/collaborators/{quote(user, safe='')}/permission"
    response = http.get(url, accept=(200, 404))
    if response.status == 404:
        return Role.NONE
    answer = response.decode(_Permission)
    return ROLES.get(answer.role_name, ROLES.get(answer.permission, Role.NONE))


def in_team(http: Http, repo: Repository, team: str, user: str) -> bool:
    """GET /orgs/{org}/teams/{team}/memberships/{user}; the token needs to read the organisation's members."""
    org, _, name = team.rpartition("/")
    members = f"{repo.url}/orgs/{quote(org or repo.owner, safe='')}/teams/{quote(name, safe='')}/memberships"
    response = http.get(f"{members}/{quote(user, safe='')}", accept=(200, 404))
    return response.status == 200 and response.decode(_Membership).state == "active"


def merge(http: Http, repo: Repository, number: int, head: str, title: str) -> str:
    """PUT /pulls/{number}/merge with the head's SHA; 409 says that it moved."""
    body = {"sha": head, "commit_title": title}
    url = f"{_repo(repo)}/pulls/{number}/merge"
    response = http.request("PUT", url, json=body, accept=(200, 409), idempotent=False)
    answer = response.decode(_Merge)
    if response.status == 409:
        raise Refused(f"pull request {number} is no longer at {head[:12]}: it is not merged ({answer.message})")
    return answer.sha


def create_branch(http: Http, repo: Repository, branch: str, sha: str) -> None:
    """POST /git/refs; 422 says that it exists."""
    body = {"ref": f"refs/heads/{branch}", "sha": sha}
    response = http.request("POST", f"{_repo(repo)}/git/refs", json=body, accept=(201, 422))
    if response.status == 201:
        return
    there = http.get(f"{_repo(repo)}/git/ref/heads/{quote(branch)}").decode(_Ref).object.sha
    same_branch(repo, branch, there, sha)


def open_pull_request(
    http: Http, repo: Repository, branch: str, base_branch: str, title: str, body: str
) -> PullRequest:
    """POST /pulls, if none is open for the branch."""
    owner = repo.owner
    params = {"state": "open", "head": f"{owner}:{branch}", "base": base_branch}
    found = http.get(f"{_repo(repo)}/pulls", params=params).decode(list[_Pull])
    for pull in map(_pull, found):
        if (pull.head_branch, pull.base_branch, pull.from_fork) == (branch, base_branch, False):
            return pull
    new = {"title": title, "head": branch, "base": base_branch, "body": body}
    return _pull(http.request("POST", f"{_repo(repo)}/pulls", json=new).decode(_Pull))


def close_pull_request(http: Http, repo: Repository, number: int) -> None:
    """PATCH /pulls/{number}."""
    http.request("PATCH", f"{_repo(repo)}/pulls/{number}", json={"state": "closed"}, idempotent=True)


def add_labels(http: Http, repo: Repository, number: int, labels: Sequence[str]) -> None:
    """POST /issues/{number}/labels, which makes those that the repository does not have."""
    if labels:
        url = f"{_repo(repo)}/issues/{number}/labels"
        http.request("POST", url, json={"labels": list(labels)}, idempotent=True)


def set_deployment(http: Http, repo: Repository, deployment: Deployment) -> None:
    """POST /deployments unless the commit has one in the environment, then POST its status."""
    url = f"{_repo(repo)}/deployments"
    params: dict[str, str | int] = {"sha": deployment.sha, "environment": deployment.environment, "per_page": 1}
    found = http.get(url, params=params).decode(list[_Deployment])
    description = shorten(deployment.description, DESCRIPTION_LIMIT)
    if found:
        number = found[0].id
    elif deployment.state is DeploymentState.INACTIVE:
        return
    else:
        new = {
            "ref": deployment.sha,
            "environment": deployment.environment,
            "description": description,
            # GitHub's default would merge the base branch into what was reviewed.
            "auto_merge": False,
            "required_contexts": list(deployment.contexts),
            "transient_environment": not deployment.production,
            "production_environment": deployment.production,
        }
        number = http.request("POST", url, json=new).decode(_Deployment).id
    status = {
        "state": deployment.state.value,
        "description": description,
        "environment_url": deployment.url,
        "log_url": deployment.log_url,
        "auto_inactive": False,
    }
    http.request("POST", f"{url}/{number}/statuses", json={k: v for k, v in status.items() if v != ""})


def _repo(repo: Repository) -> str:
    return f"{repo.url}/repos/{quote(repo.owner, safe='')}/{quote(repo.name, safe='')}"


def _pages(http: Http, url: str, item: type[T]) -> Iterator[T]:
    def page(number: int) -> tuple[list[T], int | None]:
        items = http.get(url, params={"per_page": PAGE, "page": number}).decode(list[item])  # type: ignore[valid-type]
        return items, number + 1 if len(items) == PAGE else None

    return every(page, 1)


def _raw_comments(http: Http, repo: Repository, number: int) -> Iterator[_Comment]:
    return _pages(http, f"{_repo(repo)}/issues/{number}/comments", _Comment)


def _comment(raw: _Comment) -> Comment:
    return Comment(
        id=str(raw.id),
        author=raw.user.login if raw.user else "",
        author_name=raw.user.login if raw.user else "",
        body=raw.body,
        created=raw.created_at.timestamp(),
        edited=raw.updated_at != raw.created_at,
        url=raw.html_url,
    )


def _login(http: Http, repo: Repository) -> str | None:
    """The token's own user; None where it belongs to an app."""
    response = http.get(f"{repo.url}/user", accept=(200, 403))
    return response.decode(_User).login if response.status == 200 else None


def _by_app(raw: _Comment) -> bool:
    return raw.user is not None and (raw.user.type == "Bot" or isinstance(raw.performed_via_github_app, dict))
