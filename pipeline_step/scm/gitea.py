"""Gitea, and Forgejo, which kept its API.

Source: the API description that each server shows at /api/swagger; tests/scm/test_gitea_server.py runs a real one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from msgspec import Struct, field

from pipeline_step.errors import HttpError, Refused
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

COMMENT_LIMIT = 65_535
RENDERS_HTML = True
DESCRIPTION_LIMIT = 255
PAGE = 50
LABEL_COLOUR = "#00aabb"
CHECKS = 10  # seconds that a merge is asked for again while Gitea still checks the head

STATES: Mapping[State, str] = {
    State.PENDING: "pending",
    State.SUCCESS: "success",
    State.FAILURE: "failure",
    State.ERROR: "error",
}
ROLES: Mapping[str, Role] = {
    "none": Role.NONE,
    "read": Role.READ,
    "write": Role.WRITE,
    "admin": Role.ADMIN,
    "owner": Role.ADMIN,
}


class _User(Struct):
    login: str


class _Named(Struct):
    name: str
    id: int = 0


class _Branch(Struct):
    sha: str
    ref: str
    repo_id: int


class _Pull(Struct):
    number: int
    title: str
    state: str
    user: _User | None
    head: _Branch
    base: _Branch
    html_url: str
    merged: bool
    labels: list[_Named] | None = None
    merge_commit_sha: str | None = None


class _Comment(Struct):
    id: int
    created_at: Time
    updated_at: Time
    html_url: str
    pull_request_url: str = ""
    user: _User | None = None
    body: str = ""


class _Review(Struct):
    state: str
    html_url: str
    user: _User | None = None
    commit_id: str = ""
    dismissed: bool = False


class _File(Struct):
    filename: str
    previous_filename: str | None = None


class _Permission(Struct):
    permission: str


class _Commit(Struct):
    id: str


class _BranchHead(Struct):
    commit: _Commit


class _Team(Struct):
    id: int
    units_map: dict[str, str] = field(default_factory=dict)


class _Teams(Struct):
    data: list[_Named] = field(default_factory=list)


class _Said(Struct):
    message: str = ""


def repository(remote: Remote) -> Repository:
    """The API is under /api/v1 of the same server."""
    return owner_and_name(remote, f"{remote.server}/api/v1")


def credentials(repo: Repository, token: str) -> Mapping[str, Mapping[str, str]]:
    """Gitea's own word for a bearer is `token`."""
    return {repo.url: {"Authorization": f"token {token}"} if token else {}}


def pull_request(http: Http, repo: Repository, number: int) -> PullRequest:
    """GET /pulls/{number}."""
    return _pull(http.get(f"{_repo(repo)}/pulls/{number}").decode(_Pull))


def _pull(pull: _Pull) -> PullRequest:
    return PullRequest(
        number=pull.number,
        head=pull.head.sha,
        base=pull.base.sha,
        base_branch=pull.base.ref,
        author=pull.user.login if pull.user else "",
        open=pull.state == "open",
        # A deleted fork has the id -1.
        from_fork=pull.head.repo_id != pull.base.repo_id,
        labels=tuple(label.name for label in pull.labels or ()),
        url=pull.html_url,
        title=pull.title,
        head_branch=pull.head.ref,
        merged=pull.merged,
        merge_commit=(pull.merge_commit_sha or "") if pull.merged else "",
    )


def changed_files(http: Http, repo: Repository, number: int) -> tuple[str, ...]:
    """GET /pulls/{number}/files."""
    files = _pages(http, f"{_repo(repo)}/pulls/{number}/files", _File)
    return names((file.filename, file.previous_filename) for file in files)


def read_file(http: Http, repo: Repository, path: str, ref: str) -> bytes | None:
    """GET /raw/{path}."""
    response = http.get(f"{_repo(repo)}/raw/{quote(path)}", params={"ref": ref}, accept=(200, 404))
    return response.body if response.status == 200 else None


def set_status(http: Http, repo: Repository, sha: str, status: Status) -> None:
    """POST /statuses/{sha}."""
    body = {
        "state": STATES[status.state],
        "context": status.context,
        "description": shorten(status.description, DESCRIPTION_LIMIT),
        "target_url": status.url,
    }
    http.request("POST", f"{_repo(repo)}/statuses/{quote(sha, safe='')}", json=body)


def comments(http: Http, repo: Repository, number: int) -> tuple[Comment, ...]:
    """GET /issues/{number}/comments, which has all of them on one page."""
    answer = http.get(f"{_repo(repo)}/issues/{number}/comments").decode(list[_Comment])
    return tuple(_comment(raw) for raw in answer)


def comment(http: Http, repo: Repository, number: int, comment: str) -> Comment:
    """GET /issues/comments/{id}."""
    response = http.get(f"{_repo(repo)}/issues/comments/{number_of(comment, 'Gitea')}", accept=(200, 204))
    raw = response.decode(_Comment) if response.status == 200 else None
    if raw is None or raw.pull_request_url.rpartition("/")[2] != str(number):
        raise Refused(f"comment {comment} is not on pull request {number} of {repo}")
    return _comment(raw)


def approvals(http: Http, repo: Repository, number: int) -> tuple[Approval, ...]:
    """GET /pulls/{number}/reviews, oldest first; each person's last one counts, and a mere comment changes nothing."""
    last: dict[str, _Review] = {}
    for review in _pages(http, f"{_repo(repo)}/pulls/{number}/reviews", _Review):
        if review.user and review.state in ("APPROVED", "REQUEST_CHANGES"):
            last[review.user.login] = review
    return tuple(
        Approval(author=login, author_name=login, commit=review.commit_id, url=review.html_url)
        for login, review in last.items()
        if review.state == "APPROVED" and not review.dismissed
    )


def upsert_comment(http: Http, repo: Repository, number: int, marker: str, compose: Compose) -> str:
    """PATCH /issues/comments/{id}, or POST /issues/{number}/comments."""
    login = http.get(f"{repo.url}/user").decode(_User).login

    def create(body: str) -> str:
        url = f"{_repo(repo)}/issues/{number}/comments"
        return http.request("POST", url, json={"body": body}).decode(_Comment).html_url

    def update(comment: str, body: str) -> None:
        http.request("PATCH", f"{_repo(repo)}/issues/comments/{comment}", json={"body": body}, idempotent=True)

    return upsert(sticky(comments(http, repo, number), marker, login), compose, create, update)


def react(http: Http, repo: Repository, number: int, comment: str, reaction: Reaction) -> None:
    """POST /issues/comments/{id}/reactions; the same reaction twice is one."""
    url = f"{_repo(repo)}/issues/comments/{number_of(comment, 'Gitea')}/reactions"
    http.request("POST", url, json={"content": EMOJI[reaction]}, idempotent=True)


def role(http: Http, repo: Repository, user: str) -> Role:
    """GET /collaborators/{user}/permission; the token's user needs to be an administrator of the repository.

    Gitea counts there no team that has its rights by units, which is most teams, so those are asked as well; only
    an owner of the organisation gets an answer about teams that it is not in itself.
    """
    response = http.get(f"{_repo(repo)}/collaborators/{quote(user, safe='')}/permission", accept=(200, 404))
    if response.status == 404:
        return Role.NONE
    role = ROLES.get(response.decode(_Permission).permission, Role.NONE)
    if role >= Role.WRITE:
        return role
    # A repository of a user, unlike one of an organisation, has no teams: 405.
    answer = http.get(f"{_repo(repo)}/teams", accept=(200, 405))
    for team in answer.decode(list[_Team]) if answer.status == 200 else ():
        theirs = ROLES.get(team.units_map.get("repo.code", ""), Role.NONE)
        if theirs > role and _is_member(http, repo, team.id, user):
            role = theirs
    return role


def _is_member(http: Http, repo: Repository, team: int, user: str) -> bool:
    response = http.get(f"{repo.url}/teams/{team}/members/{quote(user, safe='')}", accept=(200, 404))
    return response.status == 200


def in_team(http: Http, repo: Repository, team: str, user: str) -> bool:
    """GET /orgs/{org}/teams/search, then /teams/{id}/members/{user}."""
    org, _, name = team.rpartition("/")
    url = f"{repo.url}/orgs/{quote(org or repo.owner, safe='')}/teams/search"
    found = http.get(url, params={"q": name, "limit": PAGE}, accept=(200, 404))
    teams = found.decode(_Teams).data if found.status == 200 else []
    for item in teams:
        if item.name.lower() == name.lower():
            return _is_member(http, repo, item.id, user)
    return False


def merge(http: Http, repo: Repository, number: int, head: str, title: str) -> str:
    """POST /pulls/{number}/merge with the head's SHA; 409 says that it moved, or that there is a conflict."""
    body = {"Do": "merge", "head_commit_id": head, "MergeTitleField": title}
    for left in range(CHECKS, -1, -1):
        try:
            response = http.request("POST", f"{_repo(repo)}/pulls/{number}/merge", json=body, accept=(200, 409))
            break
        except HttpError as error:
            # While Gitea still checks whether a new head can be merged, it answers 405 and asks to try again later.
            if not left or error.status != 405 or "try again" not in str(error):
                raise
            time.sleep(1)
    if response.status == 409:
        why = response.decode(_Said).message or "conflict"
        raise Refused(f"pull request {number} can't be merged at {head[:12]} any more: {why}")
    return pull_request(http, repo, number).merge_commit


def create_branch(http: Http, repo: Repository, branch: str, sha: str) -> None:
    """POST /branches; 409 says that it exists."""
    body = {"new_branch_name": branch, "old_ref_name": sha}
    response = http.request("POST", f"{_repo(repo)}/branches", json=body, accept=(201, 409))
    if response.status == 201:
        return
    there = http.get(f"{_repo(repo)}/branches/{quote(branch)}").decode(_BranchHead).commit.id
    same_branch(repo, branch, there, sha)


def open_pull_request(
    http: Http, repo: Repository, branch: str, base_branch: str, title: str, body: str
) -> PullRequest:
    """POST /pulls; 409 says that one is open already."""
    new = {"title": title, "head": branch, "base": base_branch, "body": body}
    response = http.request("POST", f"{_repo(repo)}/pulls", json=new, accept=(201, 409))
    if response.status == 201:
        return _pull(response.decode(_Pull))
    for pull in _pages(http, f"{_repo(repo)}/pulls", _Pull, state="open"):
        if pull.head.ref == branch and pull.base.ref == base_branch and pull.head.repo_id == pull.base.repo_id:
            return _pull(pull)
    raise Refused(f"a pull request of {branch} into {base_branch} of {repo} can't be opened: there is another")


def close_pull_request(http: Http, repo: Repository, number: int) -> None:
    """PATCH /pulls/{number}."""
    url = f"{_repo(repo)}/pulls/{number}"
    http.request("PATCH", url, json={"state": "closed"}, accept=(200, 201), idempotent=True)


def add_labels(http: Http, repo: Repository, number: int, labels: Sequence[str]) -> None:
    """POST /issues/{number}/labels by their ids; those that the repository does not have are made first."""
    known = {label.name: label.id for label in _pages(http, f"{_repo(repo)}/labels", _Named)} if labels else {}
    for name in labels:
        if name not in known:
            new = {"name": name, "color": LABEL_COLOUR}
            known[name] = http.request("POST", f"{_repo(repo)}/labels", json=new).decode(_Named).id
    if labels:
        ids = {"labels": [known[name] for name in labels]}
        http.request("POST", f"{_repo(repo)}/issues/{number}/labels", json=ids, idempotent=True)


def set_deployment(http: Http, repo: Repository, deployment: Deployment) -> None:
    """Gitea has no deployments."""


def _repo(repo: Repository) -> str:
    return f"{repo.url}/repos/{quote(repo.owner, safe='')}/{quote(repo.name, safe='')}"


def _pages(http: Http, url: str, item: type[T], **params: str) -> Iterator[T]:
    seen = 0

    def page(number: int) -> tuple[list[T], int | None]:
        nonlocal seen
        response = http.get(url, params={**params, "limit": PAGE, "page": number})
        items = response.decode(list[item])  # type: ignore[valid-type]
        seen += len(items)
        # The server may give fewer than asked for: its own total says where the end is.
        total = response.headers.get("x-total-count", "")
        more = bool(items) and (seen < int(total) if total.isascii() and total.isdigit() else len(items) == PAGE)
        return items, number + 1 if more else None

    return every(page, 1)


def _comment(raw: _Comment) -> Comment:
    login = raw.user.login if raw.user else ""
    return Comment(
        id=str(raw.id),
        author=login,
        author_name=login,
        body=raw.body,
        created=raw.created_at.timestamp(),
        edited=raw.updated_at != raw.created_at,
        url=raw.html_url,
    )
