"""GitLab, on gitlab.com or one's own server.

Source: https://docs.gitlab.com/api/. A merge request counts as a pull request, by its iid.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from msgspec import Struct, field

from pipeline_step.answer import server_message
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

COMMENT_LIMIT = 1_000_000
RENDERS_HTML = True
DESCRIPTION_LIMIT = 255
URL_LIMIT = 255
PAGE = 100

STATES: Mapping[State, str] = {
    State.PENDING: "running",
    State.SUCCESS: "success",
    State.FAILURE: "failed",
    State.ERROR: "failed",
}
DEPLOYMENT_STATES: Mapping[DeploymentState, str] = {
    DeploymentState.QUEUED: "created",
    DeploymentState.IN_PROGRESS: "running",
    DeploymentState.SUCCESS: "success",
    DeploymentState.FAILURE: "failed",
    DeploymentState.ERROR: "failed",
    DeploymentState.INACTIVE: "canceled",
}
LEVELS: tuple[tuple[int, Role], ...] = (
    (50, Role.ADMIN),
    (40, Role.MAINTAIN),
    (30, Role.WRITE),
    (20, Role.TRIAGE),
    (10, Role.READ),
)
"""The least access level of each role: Owner, Maintainer, Developer, Reporter, Guest."""


class _User(Struct):
    username: str


class _DiffRefs(Struct):
    start_sha: str | None = None


class _Merge(Struct):
    iid: int
    title: str
    state: str
    sha: str | None
    source_branch: str
    target_branch: str
    source_project_id: int | None
    target_project_id: int
    web_url: str
    author: _User | None = None
    labels: list[str] = field(default_factory=list)
    diff_refs: _DiffRefs | None = None
    merge_commit_sha: str | None = None
    squash_commit_sha: str | None = None
    changes_count: str | None = None


class _Note(Struct):
    id: int
    body: str
    created_at: Time
    updated_at: Time
    author: _User | None = None
    system: bool = False


class _Approved(Struct):
    user: _User


class _Approvals(Struct):
    approved_by: list[_Approved] = field(default_factory=list)


class _Diff(Struct):
    old_path: str
    new_path: str


class _File(Struct):
    content: str


class _Member(Struct):
    username: str
    access_level: int
    state: str = "active"


class _Commit(Struct):
    id: str


class _Branch(Struct):
    commit: _Commit


class _Environment(Struct):
    id: int
    name: str
    external_url: str | None = None


class _Deployment(Struct):
    id: int
    sha: str
    status: str


def repository(remote: Remote) -> Repository:
    """The API is under /api/v4 of the same server; groups may be nested."""
    return owner_and_name(remote, f"{remote.server}/api/v4", groups=True)


def credentials(repo: Repository, token: str) -> Mapping[str, Mapping[str, str]]:
    """Personal, project and group tokens work as a bearer, as OAuth's do."""
    return {repo.url: {"Authorization": f"Bearer {token}"} if token else {}}


def pull_request(http: Http, repo: Repository, number: int) -> PullRequest:
    """GET /merge_requests/{iid}."""
    return _pull(_merge_request(http, repo, number))


def _merge_request(http: Http, repo: Repository, number: int) -> _Merge:
    return http.get(f"{_project(repo)}/merge_requests/{number}").decode(_Merge)


def _pull(merge: _Merge) -> PullRequest:
    return PullRequest(
        number=merge.iid,
        head=merge.sha or "",
        base=(merge.diff_refs.start_sha or "") if merge.diff_refs else "",
        base_branch=merge.target_branch,
        author=merge.author.username if merge.author else "",
        open=merge.state == "opened",
        from_fork=merge.source_project_id != merge.target_project_id,
        labels=tuple(merge.labels),
        url=merge.web_url,
        title=merge.title,
        head_branch=merge.source_branch,
        merged=merge.state == "merged",
        merge_commit=(merge.merge_commit_sha or merge.squash_commit_sha or "") if merge.state == "merged" else "",
    )


def changed_files(http: Http, repo: Repository, number: int) -> tuple[str, ...]:
    """GET /merge_requests/{iid}/diffs; GitLab counts `1000+` where it does not keep them all."""
    if (_merge_request(http, repo, number).changes_count or "").endswith("+"):
        raise HttpError(f"GitLab does not list all the files that merge request {number} changes")
    diffs = _pages(http, f"{_project(repo)}/merge_requests/{number}/diffs", _Diff)
    return names((diff.new_path, diff.old_path) for diff in diffs)


def read_file(http: Http, repo: Repository, path: str, ref: str) -> bytes | None:
    """GET /repository/files/{path}."""
    url = f"{_project(repo)}/repository/files/{quote(path, safe='')}"
    response = http.get(url, params={"ref": ref}, accept=(200, 404))
    if response.status == 404:
        return None
    try:
        return base64.b64decode(response.decode(_File).content)
    except binascii.Error:
        raise HttpError(f"{response.url} holds no file in base64") from None


def set_status(http: Http, repo: Repository, sha: str, status: Status) -> None:
    """POST /statuses/{sha}; GitLab refuses a state that the commit has already."""
    state = STATES[status.state]
    body = {
        "state": state,
        "name": status.context,
        "description": shorten(status.description, DESCRIPTION_LIMIT),
    }
    if status.url and len(status.url) <= URL_LIMIT:
        body["target_url"] = status.url
    url = f"{_project(repo)}/statuses/{quote(sha, safe='')}"
    _transition(http, "POST", url, body, state)


def _transition(http: Http, method: str, url: str, body: Mapping[str, object], state: str) -> None:
    response = http.request(method, url, json=body, accept=(200, 201, 400))
    if response.status == 400:
        said = server_message(response)
        if "Cannot transition" not in said or f"from :{state}" not in said:
            raise HttpError(f"{method} {response.url} answered 400 ({said})", 400)


def comments(http: Http, repo: Repository, number: int) -> tuple[Comment, ...]:
    """GET /merge_requests/{iid}/notes, every page, without those that GitLab itself wrote."""
    url = f"{_project(repo)}/merge_requests/{number}/notes"
    notes = _pages(http, url, _Note, sort="asc", order_by="created_at")
    return tuple(_comment(repo, number, note) for note in notes if not note.system)


def comment(http: Http, repo: Repository, number: int, comment: str) -> Comment:
    """GET /merge_requests/{iid}/notes/{id}."""
    url = f"{_project(repo)}/merge_requests/{number}/notes/{number_of(comment, 'GitLab')}"
    response = http.get(url, accept=(200, 404))
    note = response.decode(_Note) if response.status == 200 else None
    if note is None or note.system:
        raise Refused(f"comment {comment} is not on merge request {number} of {repo}")
    return _comment(repo, number, note, edited=note.updated_at != note.created_at and _was_edited(http, repo, note.id))


def _was_edited(http: Http, repo: Repository, note: int) -> bool:
    """Ask GraphQL: a reaction changes a note's `updated_at` as well. What can't be told counts as edited."""
    query = "query($id: NoteID!) { note(id: $id) { id lastEditedAt } }"
    body = {"query": query, "variables": {"id": f"gid://gitlab/Note/{note}"}}
    url = f"{repo.url.removesuffix('/v4')}/graphql"
    answer = http.request("POST", url, json=body, idempotent=True).json()
    found = answer.get("data") if isinstance(answer, dict) else None
    told = found.get("note") if isinstance(found, dict) else None
    return not isinstance(told, dict) or told.get("lastEditedAt", "unknown") is not None


def approvals(http: Http, repo: Repository, number: int) -> tuple[Approval, ...]:
    """GET /merge_requests/{iid}/approvals; whether a push takes them back is a setting of the project."""
    found = http.get(f"{_project(repo)}/merge_requests/{number}/approvals").decode(_Approvals).approved_by
    page = f"{repo.url.removesuffix('/api/v4')}/{repo.owner}/{repo.name}/-/merge_requests/{number}"
    names = [one.user.username for one in found]
    return tuple(Approval(author=name, author_name=name, commit="", url=page) for name in names)


def upsert_comment(http: Http, repo: Repository, number: int, marker: str, compose: Compose) -> str:
    """PUT /merge_requests/{iid}/notes/{id}, or POST /merge_requests/{iid}/notes."""
    url = f"{_project(repo)}/merge_requests/{number}/notes"
    login = http.get(f"{repo.url}/user").decode(_User).username

    def create(body: str) -> str:
        return _comment(repo, number, http.request("POST", url, json={"body": body}).decode(_Note)).url

    def update(comment: str, body: str) -> None:
        http.request("PUT", f"{url}/{comment}", json={"body": body})

    return upsert(sticky(comments(http, repo, number), marker, login), compose, create, update)


def react(http: Http, repo: Repository, number: int, comment: str, reaction: Reaction) -> None:
    """POST /notes/{id}/award_emoji; 404 also says that it is there already."""
    url = f"{_project(repo)}/merge_requests/{number}/notes/{number_of(comment, 'GitLab')}/award_emoji"
    response = http.request("POST", url, json={"name": EMOJI[reaction]}, accept=(201, 404))
    if response.status == 404 and "already been taken" not in response.text:
        raise HttpError(f"POST {response.url} answered 404 ({server_message(response)})", 404)


def role(http: Http, repo: Repository, user: str) -> Role:
    """GET /members/all, which counts groups, projects and invitations."""
    level = _level(http, f"{_project(repo)}/members/all", user)
    return next((role for least, role in LEVELS if level >= least), Role.NONE)


def in_team(http: Http, repo: Repository, team: str, user: str) -> bool:
    """GET /groups/{group}/members/all; the team is a group's full path."""
    return _level(http, f"{repo.url}/groups/{quote(team, safe='')}/members/all", user) >= LEVELS[-1][0]


def _level(http: Http, url: str, user: str) -> int:
    members = _pages(http, url, _Member, query=user)
    return max((m.access_level for m in members if m.username == user and m.state == "active"), default=0)


def merge(http: Http, repo: Repository, number: int, head: str, title: str) -> str:
    """PUT /merge_requests/{iid}/merge with the head's SHA; 409 says that it moved."""
    url = f"{_project(repo)}/merge_requests/{number}/merge"
    body = {"sha": head, "merge_commit_message": title}
    response = http.request("PUT", url, json=body, accept=(200, 409), idempotent=False)
    if response.status == 409:
        raise Refused(f"merge request {number} is no longer at {head[:12]}: {server_message(response)}")
    merged = _pull(response.decode(_Merge))
    if not merged.merged:
        raise HttpError(f"GitLab took the merge of merge request {number}, but it is not merged yet")
    return merged.merge_commit


def create_branch(http: Http, repo: Repository, branch: str, sha: str) -> None:
    """POST /repository/branches; 400 says that it exists."""
    url = f"{_project(repo)}/repository/branches"
    response = http.request("POST", url, json={"branch": branch, "ref": sha}, accept=(201, 400))
    if response.status == 201:
        return
    if "already exists" not in response.text:
        raise HttpError(f"POST {response.url} answered 400 ({server_message(response)})", 400)
    there = http.get(f"{url}/{quote(branch, safe='')}").decode(_Branch).commit.id
    same_branch(repo, branch, there, sha)


def open_pull_request(
    http: Http, repo: Repository, branch: str, base_branch: str, title: str, body: str
) -> PullRequest:
    """POST /merge_requests, if none is open for the branch."""
    url = f"{_project(repo)}/merge_requests"
    params = {"state": "opened", "source_branch": branch, "target_branch": base_branch}
    for found in http.get(url, params=params).decode(list[_Merge]):
        if found.source_project_id == found.target_project_id:
            return _pull(found)
    new = {"source_branch": branch, "target_branch": base_branch, "title": title, "description": body}
    return _pull(http.request("POST", url, json=new).decode(_Merge))


def close_pull_request(http: Http, repo: Repository, number: int) -> None:
    """PUT /merge_requests/{iid}."""
    http.request("PUT", f"{_project(repo)}/merge_requests/{number}", json={"state_event": "close"})


def add_labels(http: Http, repo: Repository, number: int, labels: Sequence[str]) -> None:
    """PUT /merge_requests/{iid}, which makes those that the project does not have."""
    if labels:
        http.request("PUT", f"{_project(repo)}/merge_requests/{number}", json={"add_labels": ",".join(labels)})


def set_deployment(http: Http, repo: Repository, deployment: Deployment) -> None:
    """POST or PUT /deployments, and the environment's own URL; a preview that is gone stops its environment."""
    project, name = _project(repo), deployment.environment
    environment = _environment(http, repo, name)
    if deployment.state is DeploymentState.INACTIVE and not deployment.production:
        if environment is not None:
            http.request("POST", f"{project}/environments/{environment.id}/stop")
        return
    state = DEPLOYMENT_STATES[deployment.state]
    params: dict[str, str | int] = {"environment": name, "order_by": "id", "sort": "desc", "per_page": PAGE}
    found = http.get(f"{project}/deployments", params=params).decode(list[_Deployment])
    same = next((item for item in found if item.sha == deployment.sha), None)
    if same is None and deployment.state is DeploymentState.INACTIVE:
        return
    if same is None:
        new = {"environment": name, "sha": deployment.sha, "ref": deployment.sha, "tag": False, "status": state}
        http.request("POST", f"{project}/deployments", json=new)
    elif same.status != state:
        _transition(http, "PUT", f"{project}/deployments/{same.id}", {"status": state}, state)
    environment = environment or _environment(http, repo, name)
    if environment is not None and deployment.url and environment.external_url != deployment.url:
        http.request("PUT", f"{project}/environments/{environment.id}", json={"external_url": deployment.url})


def _environment(http: Http, repo: Repository, name: str) -> _Environment | None:
    found = http.get(f"{_project(repo)}/environments", params={"name": name}).decode(list[_Environment])
    return next((item for item in found if item.name == name), None)


def _project(repo: Repository) -> str:
    return f"{repo.url}/projects/{quote(f'{repo.owner}/{repo.name}', safe='')}"


def _pages(http: Http, url: str, item: type[T], **params: str) -> Iterator[T]:
    def page(number: int) -> tuple[list[T], int | None]:
        response = http.get(url, params={**params, "per_page": PAGE, "page": number})
        after = response.headers.get("x-next-page", "")
        return response.decode(list[item]), int(after) if after.isascii() and after.isdigit() else None  # type: ignore[valid-type]

    return every(page, 1)


def _comment(repo: Repository, number: int, note: _Note, *, edited: bool | None = None) -> Comment:
    author = note.author.username if note.author else ""
    server = repo.url.removesuffix("/api/v4")
    return Comment(
        id=str(note.id),
        author=author,
        author_name=author,
        body=note.body,
        created=note.created_at.timestamp(),
        edited=note.updated_at != note.created_at if edited is None else edited,
        url=f"{server}/{repo.owner}/{repo.name}/-/merge_requests/{number}#note_{note.id}",
    )
